"""What in a photo speaks for a breed to each run, each map with its licence."""

import io

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from dogpoc import faithfulness, figures
from dogpoc.translation import _, breed_label, percent
from pages import shared
from pages.live import answering
from pages.live.seeing import Seen, answer_sentence, curves, explain, kept, see
from pages.sections.explanation_benchmark import method_name

SEED = 0  # of the random maps


def choose_explanation(breeds: list[str]) -> tuple[str, str, str]:
    """Method ("" for each network's own), breed ("" for each run's own answer) and the one against it ("" for none)."""
    columns = st.columns(3)
    usual = _("relevance or Grad-CAM, as the network allows")
    names = {"": usual} | {
        method: method_name(method) for method in ("integrated-gradients", "occlusion", "rollout", "attention")
    }
    labels = {breed: breed_label(breed) for breed in sorted(breeds, key=str.casefold)}
    method = shared.choice(columns[0].selectbox, "method", _("Method"), names, "")
    breed = shared.choice(columns[1].selectbox, "breed", _("Why"), {"": _("each run's own answer")} | labels, "")
    against = shared.choice(columns[2].selectbox, "against", _("and not"), {"": _("any other breed")} | labels, "")
    return method, breed, against


def show(asked: tuple, able: dict[str, str], data: bytes, true_breed: str | None) -> None:
    """Both runs' maps of what speaks for a breed, side by side, each with its licence."""
    seen = {role: kept(asked, ("seen", run), lambda run=run: see(run, data)) for role, run in able.items()}
    method, breed, against = choose_explanation(sorted({name for each in seen.values() for name in each.breeds}))
    for column, (role, each) in zip(st.columns(2, gap="large"), seen.items(), strict=False):
        with column:
            show_reason(asked, role, each, method, breed, against, true_breed)


def show_reason(
    asked: tuple, role: str, seen: Seen, method: str, breed: str, against: str, true_breed: str | None
) -> None:
    """One run's map, or one line why it has none."""
    st.markdown(f"#### {shared.MARK[role]} {answer_sentence(seen, true_breed)}")
    unknown = [name for name in (breed, against) if name and name not in seen.breeds]
    chosen = breed or seen.breeds[seen.order[0]]
    if unknown:
        st.info(_("{run} does not know {breed}.").format(run=seen.run, breed=breed_label(unknown[0])))
        return
    if against == chosen:
        st.info(_("{breed} is its own answer: choose another breed on one side.").format(breed=breed_label(chosen)))
        return
    method = method or seen.usual
    index, rival = (name and seen.breeds.index(name) for name in (chosen, against or None))
    values = kept(asked, ("map", seen.run, method, index, rival), lambda: explain(seen, method, index, rival))
    if isinstance(values, str):
        st.info(f"{seen.run}: {values}", icon=":material/visibility_off:")
        return
    licence = licence_of(asked, seen, values, method, index, rival)
    from dogpoc.explanation import SAME_FOR_ALL_BREEDS, overlay

    if method in SAME_FOR_ALL_BREEDS:
        words = _("The same for every breed: {method} explains no breed.").format(method=method_name(method))
    else:
        words = f"**{_why(chosen, against)}** ({method_name(method)})"
    st.markdown(words)
    picture = overlay(seen.shown, values, faded=not licence.beats_random)
    st.image(answering.jpeg(picture), alt=words, width="stretch")
    show_licence(licence, role, seen.run, method, chosen, against)
    offer_downloads(picture, values, f"{seen.run}-{method}-{chosen}{'-' + against if against else ''}", role)


def _why(breed: str, against: str) -> str:
    if against:
        return _("Why {breed} and not {other}?").format(breed=breed_label(breed), other=breed_label(against))
    return _("Why {breed}?").format(breed=breed_label(breed))


def licence_of(
    asked: tuple, seen: Seen, values: np.ndarray, method: str, breed: int, against: int | None
) -> faithfulness.Licence:
    """How faithful the map is. The reference maps run once for a photo and run, whatever is explained."""
    what = ("references", seen.run, values.shape)
    random = faithfulness.random_maps(values.shape, faithfulness.RANDOM_MAPS, SEED)
    references = [*random, faithfulness.centre_blob(values.shape)]
    others = kept(asked, what, lambda: curves(seen, references))
    own = kept(asked, ("curves", seen.run, method, breed, against), lambda: curves(seen, [values])[0])
    return faithfulness.licence(own, others[:-1], others[-1], breed, against)


def show_licence(licence: faithfulness.Licence, role: str, run: str, method: str, breed: str, against: str) -> None:
    """Whether the map may be believed, in words and as curves."""
    insertion, deletion = faithfulness.area(licence.insertion), faithfulness.area(licence.deletion)
    numbers = _(
        "Area under the curve: shown {insertion} (random {random_insertion}, blob {blob_insertion}), "
        "hidden {deletion} (random {random_deletion}, blob {blob_deletion})."
    ).format(
        insertion=percent(float(insertion), 0),
        deletion=percent(float(deletion), 0),
        random_insertion=percent(float(faithfulness.area(licence.random[0])), 0),
        random_deletion=percent(float(faithfulness.area(licence.random[1])), 0),
        blob_insertion=percent(float(faithfulness.area(licence.blob[0])), 0),
        blob_deletion=percent(float(faithfulness.area(licence.blob[1])), 0),
    )
    if not licence.beats_random:
        st.warning(_("On this photo the map is no better than a random one: it is drawn in grey, and says nothing."))
    elif licence.gain <= licence.blob_gain:
        st.info(_("The map beats random ones, but not a blob in the middle of the photo."))
    else:
        st.success(_("The map beats random ones, and a blob in the middle of the photo."))
    own = np.stack([licence.insertion, licence.deletion])
    title = _("probability of {breed}").format(breed=breed_label(breed))
    colour = shared.ROLE[role] if licence.beats_random else figures.GREY
    drawn = figures.faithfulness_curves(
        own, licence.random, licence.blob, colour=colour, name=method_name(method), title=title
    )
    steps = np.linspace(0, 1, own.shape[1])
    table = pd.DataFrame(
        {
            _("share of the photo"): steps.round(4),
            **{
                f"{kind}, {way}": curve[place].round(4)
                for kind, curve in (
                    (method_name(method), own),
                    (_("random maps"), licence.random),
                    (_("centred blob"), licence.blob),
                )
                for place, way in enumerate((_("shown"), _("hidden")))
            },
        }
    )
    shared.figure(drawn, numbers, table, f"faithfulness-{role}")


def offer_downloads(picture: np.ndarray, values: np.ndarray, name: str, role: str) -> None:
    """The overlay as PNG, and the map in its own grid as a NumPy file."""

    def png() -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        return file.getvalue()

    def npy() -> bytes:
        file = io.BytesIO()
        np.save(file, values, allow_pickle=False)
        return file.getvalue()

    with st.container(horizontal=True):
        for label, make, suffix, mime in (
            (_("Overlay (PNG)"), png, "png", "image/png"),
            (_("Map (NumPy)"), npy, "npy", "application/octet-stream"),
        ):
            st.download_button(
                label,
                make,
                file_name=f"{name}.{suffix}",
                mime=mime,
                icon=":material/download:",
                key=f"{suffix}-{role}",
                on_click="ignore",
            )
