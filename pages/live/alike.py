"""What a photo reminds a run of: the training photos nearest to it, and a typical photo of each likely breed."""

from collections.abc import Iterable

import numpy as np
import streamlit as st

from dogpoc import artifacts, embedding
from dogpoc.dataset import photo_paths
from dogpoc.translation import _, breed_label
from pages import shared
from pages.live.answering import Answer
from pages.shared import embedded, imagined

NEAREST = 3  # training photos
TYPICAL = 3  # breeds
SIDE = 112  # pixels, longer side of a small photo


def nearest_training(home: str, run: str, features: np.ndarray) -> list[int]:
    """Rows in the photo table of the NEAREST training photos by the features (D,) of a new photo, nearest first.

    home: the dataset that the run was trained on.   Empty without stored features. Raises ArtifactError.
    """
    info = artifacts.read_run(home, run)
    stored, projection = artifacts.read_features(info), artifacts.read_projection(info)
    if stored is None or projection is None:
        return []
    taught = np.flatnonzero(artifacts.read_photos(home)["split"] == "train")
    found = embedding.nearest(stored[taught], embedding.project(features[None], *projection), NEAREST)
    return taught[found[0]].tolist()


def show(kept: dict) -> None:
    """For each run the nearest training photos, and a typical one of each of the likeliest breeds.

    kept: what the session keeps of the photo; the rows that are found here become part of it.
    """
    st.subheader(_("What it reminds them of"))
    answers: dict[str, Answer] = kept["answers"]
    for column, (role, answer) in zip(st.columns(2, gap="large"), answers.items(), strict=False):
        home = artifacts.read_run(shared.dataset(), answer.run)["trained_on"]
        with column:
            st.markdown(f"**{shared.MARK[role]} {shared.role_name(role)}**")
            embedded.warn_of_missing(home, [answer.run], _("look-alikes"))
            found = kept.setdefault("alike", {})
            if role not in found:
                found[role] = nearest_training(home, answer.run, answer.features)
            if found[role]:
                st.caption(_("The training photos that are most alike to it:"))
                _show_photos(home, found[role])
            breeds = answer.breeds[:TYPICAL]
            typical = [row for breed in breeds for row in embedded.typical_photos(home, answer.run, breed)]
            if typical:
                st.caption(_("A typical photo of each breed that it finds likely:"))
                _show_photos(home, typical, artifacts.read_run(home, answer.run), breeds)


def _show_photos(home: str, rows: list[int], info: dict | None = None, breeds: Iterable[str] = ()) -> None:
    """Photos of a table with their breeds; without any of them on this machine their names, and, given a run's info,
    its own pictures of `breeds`."""
    table = artifacts.read_photos(home)
    if not photo_paths(table["sha256"].iloc[rows], table["bytes"]):
        names = (f"- **{breed_label(table['breed'][row])}** · {shared.plain(table['id'][row])}" for row in rows)
        st.markdown("\n".join(names))
        if info:
            imagined.show({"": info}, breeds)
        return
    with st.container(horizontal=True, gap="small"):
        for row in rows:
            label = breed_label(table["breed"][row])
            with st.container(width=SIDE, gap="xxsmall"):
                picture = shared.photo_bytes(table, row)
                if picture:
                    st.image(picture, width=SIDE, alt=_("{breed}, photo {id}").format(breed=label, id=table["id"][row]))
                st.caption(label if picture else f"{label} · {shared.plain(table['id'][row])}")
