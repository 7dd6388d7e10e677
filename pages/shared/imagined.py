"""The pictures that runs made of the breeds themselves; they stand where photos would on a machine without photos."""

import io
from collections.abc import Iterable, Mapping

import numpy as np
import streamlit as st
from PIL import Image

from dogpoc import artifacts
from dogpoc.translation import _, breed_label

SIDE = 112  # pixels, in place of a photo
MOST = 6  # breeds at once


def picture(info: Mapping, breed: str, side: int = SIDE) -> bytes | None:
    """A run's own picture of a breed as a PNG of `side` pixels; None where it made none. Raises ArtifactError."""
    pictures = _pictures(info["dataset"], info["run"], artifacts.trained_run(info)["sha256"])
    if pictures is None or breed not in info["breeds"]:
        return None
    file = io.BytesIO()
    drawn = Image.fromarray(pictures[info["breeds"].index(breed)])
    drawn.resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


@st.cache_resource(max_entries=4, show_spinner=False)
def _pictures(dataset: str, run: str, sha256: str) -> np.ndarray | None:  # the digest is part of the key
    return artifacts.read_pictures(artifacts.read_run(dataset, run))


def caption(run: str, breed: str) -> str:
    """What such a picture is."""
    return _("{run}'s idea of a dog of the breed {breed}; made by the model, not a photograph").format(
        run=run, breed=breed_label(breed)
    )


def show(infos: Mapping[str, Mapping], breeds: Iterable[str]) -> None:
    """Each run's pictures of some breeds in a row, clearly labelled; nothing where the runs made none.

    infos: what stands before each run's pictures (the mark of its role) -> run.json.
    """
    found = {
        breed: {mark: data for mark, info in infos.items() if (data := picture(info, breed))}
        for breed in list(dict.fromkeys(breeds))[:MOST]
    }
    if not any(found.values()):
        return
    st.caption(_("In place of photos: what the models expect to see. The models made these pictures themselves."))
    with st.container(horizontal=True, gap="small"):
        for breed, pictures in found.items():
            for mark, data in pictures.items():
                with st.container(width=SIDE, gap="xxsmall"):
                    st.image(data, width=SIDE, alt=caption(infos[mark]["run"], breed))
                    st.caption(f"{mark} {breed_label(breed)}")
