"""What each run expects to see of a breed: pictures made by the model itself."""

import streamlit as st

from dogpoc import artifacts
from dogpoc.translation import _, breed_label
from pages import shared
from pages.shared import imagined

SIDE = 448  # pixels of a picture as it is shown


def show() -> None:
    """Both runs' own pictures of a breed, side by side."""
    st.write(
        _(
            "These are not photographs: each picture was made by the model itself, "
            "changed little by little until it saw the breed."
        )
    )
    infos = {}
    for role in shared.ROLE:
        info = artifacts.read_run(shared.dataset(), shared.run(role))
        if info["run"] not in [each["run"] for each in infos.values()]:
            infos[role] = info
    breeds = sorted({breed for info in infos.values() for breed in info["scored_breeds"]}, key=str.casefold)
    labels = {breed: breed_label(breed) for breed in breeds}
    breed = shared.choice(st.selectbox, "breed", _("Breed"), labels, breeds[0])
    for column, (role, info) in zip(st.columns(2, gap="large"), infos.items(), strict=False):
        with column:
            show_expectation(role, info, breed)


def show_expectation(role: str, info: dict, breed: str) -> None:
    """One run's picture of a breed, or one line why there is none."""
    st.markdown(f"#### {shared.MARK[role]} {info['run']}")
    if breed not in info["breeds"]:
        st.info(_("{run} does not know {breed}.").format(run=info["run"], breed=breed_label(breed)))
        return
    picture = imagined.picture(info, breed, SIDE)
    if picture is None:
        st.info(_("No pictures of this run yet. Run: `{command}`").format(command=artifacts.imagine_command(info)))
        return
    said = imagined.caption(info["run"], breed)
    st.image(picture, caption=said, alt=said, width="stretch")
    st.download_button(
        _("Picture (PNG), to try on the upload page"),
        picture,
        file_name=f"{info['run']}-{breed}.png",
        mime="image/png",
        icon=":material/download:",
        key=f"picture-{role}",
        on_click="ignore",
    )
