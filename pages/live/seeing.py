"""A photo as a run sees it, and what the run's model computes for it: kept while the photo is on show.

What is kept lies under what was asked: every layer, head, patch and opacity is drawn from it without the model.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image

from dogpoc import faithfulness
from dogpoc.metrics import softmax
from dogpoc.photo import read_photo
from dogpoc.translation import _, breed_label, percent
from pages import shared
from pages.live import answering

if TYPE_CHECKING:
    from dogpoc.explanation import Attention


@dataclass(frozen=True)
class Seen:
    """A photo as a run sees it, and the run's answer.

    pixels: (S, S, 3) uint8, the model's own.   shown: the same, sharper.   logits: (C,).   usual: the method for it.
    """

    run: str
    pixels: np.ndarray
    shown: np.ndarray
    breeds: list[str]
    logits: np.ndarray
    usual: str

    @property
    def order(self) -> np.ndarray:
        """Breeds, most probable first."""
        return np.argsort(-self.logits, kind="stable")

    @property
    def probs(self) -> np.ndarray:
        return softmax(self.logits[None])[0]


def kept(asked: tuple, what: tuple, make: Callable):
    """What make() returns, worked out once for the photo `asked` for and kept while that is on show."""
    if st.session_state.get("attention-kept", (None,))[0] != asked:
        st.session_state["attention-kept"] = (asked, {})
    found = st.session_state["attention-kept"][1]
    if what not in found:
        with st.spinner(_("Looking …")):
            found[what] = make()
    return found[what]


def see(run: str, data: bytes) -> Seen:
    """The photo in a file's bytes as `run` sees it. Raises PhotoError, ModelError, ArtifactError."""
    image = answering.in_turn(read_photo, data)
    model = answering.classifier(shared.dataset(), run)
    return answering.in_turn(_see, run, model, image)


def _see(run: str, model, image: Image.Image) -> Seen:
    from dogpoc.explanation import usual_method
    from dogpoc.inference import preprocess

    pixels = preprocess(image, model.preprocessing)
    logits = model.forward(np.stack([pixels]))[0][0]
    return Seen(run, pixels, answering.seen(model, image), model.breeds, logits, usual_method(model.model))


def look(seen: Seen) -> "Attention | str":
    """The attention of a run's model for the photo, or one line why there is none."""
    model = answering.classifier(shared.dataset(), seen.run)
    from dogpoc.explanation import ExplanationError, attention_maps
    from dogpoc.inference import to_tensor

    try:
        found = answering.in_turn(
            lambda: attention_maps(model.model, to_tensor(np.stack([seen.pixels]), model.preprocessing))
        )
    except ExplanationError as error:
        return str(error)
    return replace(found, maps=found.maps.astype(np.float16))


def explain(seen: Seen, method: str, breed: int, against: int | None) -> np.ndarray | str:
    """A map of what speaks for the breed to a run, or one line why there is none."""
    model = answering.classifier(shared.dataset(), seen.run)
    from dogpoc.explanation import ExplanationError, explain_pixels

    try:
        return answering.in_turn(explain_pixels, model, seen.pixels, method, breed, against)
    except ExplanationError as error:
        return str(error)


def curves(seen: Seen, maps: np.ndarray) -> np.ndarray:
    """Logits of insertion and deletion for each of `maps`, (n, 2, S + 1, C); other visitors' photos go in between."""
    model = answering.classifier(shared.dataset(), seen.run)

    def forward(frames: np.ndarray) -> np.ndarray:
        return answering.in_turn(model.forward, frames)[0]

    return np.stack([faithfulness.insertion_deletion(forward, seen.pixels, values) for values in maps])


def answer_sentence(seen: Seen, true_breed: str | None) -> str:
    """What the run says, and for a test photo whether that is right."""
    breed = seen.breeds[seen.order[0]]
    sentence = _("To {run} it looks like **{breed}** ({prob}).").format(
        run=seen.run, breed=breed_label(breed), prob=percent(float(seen.probs.max()), 0)
    )
    if true_breed == breed:
        sentence += " " + _("That is right.")
    elif true_breed:
        sentence += " " + _("In truth: **{breed}**.").format(breed=breed_label(true_breed))
    return sentence
