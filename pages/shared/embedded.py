"""What pages take from a run's features (python -m dogpoc embed): typical photos, and a line where there are none."""

from collections.abc import Iterable

import numpy as np
import streamlit as st

from dogpoc import artifacts, embedding
from dogpoc.artifacts import ArtifactError
from dogpoc.translation import _


def features(dataset: str, run: str) -> np.ndarray | None:
    """(N, d) float16 features of all photos of the photo table, or None where they are missing or damaged."""
    try:
        return artifacts.read_features(artifacts.read_run(dataset, run))
    except ArtifactError:
        return None


def warn_of_missing(dataset: str, runs: Iterable[str], what: str) -> None:
    """One line for each run whose features cannot be read, with the command that makes them.

    what: that is not shown, e.g. "typical photos".
    """
    for run in dict.fromkeys(runs):
        try:
            info = artifacts.read_run(dataset, run)
            if artifacts.read_features(info) is None:
                message = _("{run} has no stored features, which {what} need. To make them, run: `{command}`")
                st.caption(message.format(run=run, what=what, command=artifacts.embed_command(info)))
        except ArtifactError as error:
            st.caption(str(error))


def typical_photos(dataset: str, run: str, breed: str, k: int = 1) -> list[int]:
    """Rows in the photo table of up to `k` photos of `breed` (its name) nearest to the mean of its training photos in
    the features of `run`; of all its photos where none is for training. Empty without features or photos."""
    stored = features(dataset, run)
    if stored is None:
        return []
    info = artifacts.read_run(dataset, run)
    return _typical(dataset, run, breed, k, info["files"]["features.npy"])


@st.cache_data(max_entries=2000, show_spinner=False)
def _typical(dataset: str, run: str, breed: str, k: int, sha256: str) -> list[int]:
    table = artifacts.read_photos(dataset)
    of_breed = np.flatnonzero(table["breed"] == breed)
    for_training = of_breed[table["split"].to_numpy()[of_breed] == "train"]
    rows = for_training if len(for_training) else of_breed
    chosen = embedding.typical(features(dataset, run)[rows], np.zeros(len(rows), int), 0, k)
    return rows[chosen].tolist()
