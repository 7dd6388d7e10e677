"""Pictures to try without one of one's own: a photo of the test set, or one that a model made where there is none."""

from dataclasses import dataclass

import streamlit as st

from dogpoc import DogpocError, artifacts
from dogpoc.dataset import photo_paths
from dogpoc.translation import _, breed_label
from pages import shared
from pages.shared import imagined

MADE = 224  # pixels, both sides, of a picture that a model made
NOTHING = "upload-no-sample"  # in the session: neither photos nor pictures are there to try


@dataclass(frozen=True)
class Sample:
    """key: what the session knows it by.   data: a file's bytes.   words: what it is.   photo: id of a test photo."""

    key: str
    data: bytes
    words: str
    photo: str | None


def asked() -> Sample | None:
    """What the URL or the button asks for, None without it; one line where it cannot be had."""
    st.button(_("Try a test photo"), on_click=choose, icon=":material/casino:")
    if st.session_state.pop(NOTHING, False):
        shared.photos_found(artifacts.read_photos(shared.dataset()))
    try:
        if "photo" in st.query_params:
            return _test_photo(st.query_params["photo"])
        if "picture" in st.query_params:
            return _picture(st.query_params["picture"])
    except DogpocError as error:
        st.error(str(error))
    return None


def choose() -> None:
    """Put a test photo that is on this machine into the URL, another one each time; without photos, a made picture."""
    table = artifacts.read_photos(shared.dataset())
    table = table[table["split"] == "test"]
    found = photo_paths(table["sha256"], table["bytes"])
    here = table[table["sha256"].isin(found)]
    if len(here):
        st.query_params.pop("picture", None)
        st.query_params["photo"] = here["id"].sample(1).iloc[0]
        return
    run = _painter()
    if run is None:
        st.session_state[NOTHING] = True
        return
    st.query_params.pop("photo", None)
    breeds = artifacts.read_run(shared.dataset(), run)["breeds"]
    st.query_params["picture"] = table.loc[table["breed"].isin(breeds), "breed"].sample(1).iloc[0]


def _painter() -> str | None:
    """The run that has made pictures: the new one, else the baseline, else none. Raises ArtifactError."""
    for run in (shared.new(), shared.baseline()):
        info = artifacts.read_run(shared.dataset(), run)
        if imagined.picture(info, info["breeds"][0], 1):
            return run
    return None


def _test_photo(photo: str) -> Sample | None:
    table = artifacts.read_photos(shared.dataset())
    row = table[(table["id"] == photo) & (table["split"] == "test")]
    if not len(row):
        st.warning(_("There is no test photo '{photo}' here.").format(photo=shared.plain(photo)))
        return None
    path = photo_paths(row["sha256"], row["bytes"]).get(row["sha256"].iloc[0])
    try:
        data = path.read_bytes() if path else None
    except OSError:
        data = None
    if data is None:
        st.info(_("This test photo is not on this machine: upload one instead."))
        return None
    words = _("A test photo; its label says {breed}.").format(breed=breed_label(row["breed"].iloc[0]))
    return Sample(photo, data, words, photo)


def _picture(breed: str) -> Sample | None:
    run = _painter()
    data = imagined.picture(artifacts.read_run(shared.dataset(), run), breed, MADE) if run else None
    if data is None:
        st.warning(_("There is no picture of '{breed}' here.").format(breed=shared.plain(breed)))
        return None
    return Sample(f"picture-{run}-{breed}", data, imagined.caption(run, breed), None)
