"""A run's model and its answer to one photo, for the pages that take photos; torch is imported with the first one."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st
from PIL import Image

from dogpoc import artifacts, doubt
from dogpoc.photo import thumbnail
from dogpoc.translation import _

SHOWN = 448  # pixels, both sides, of the part of a photo that a model sees
# One forward pass uses all cores, so visitors at the same moment wait for each other; and in one thread: torch keeps
# worker threads, and the C library memory, for every thread that ever computed.
WORKER = ThreadPoolExecutor(1, "photos")


@dataclass(frozen=True)
class Answer:
    """What a run says about one photo.

    breeds, probs: (C,), most probable first, at the run's temperature.   likely: confidence -> how many of the first
    breeds form the set that holds the true one with that confidence; empty for a run without thresholds.
    strange: unlike the photos that the run was taught, None if it has no threshold.
    seconds: from the decoded photo to the answer.
    picture: JPEG of the part of the photo that the model sees, under its attention rollout where it has attention.
    """

    run: str
    breeds: list[str]
    probs: np.ndarray
    likely: dict[float, int]
    strange: bool | None
    seconds: float
    picture: bytes
    attention: bool


def able_run(dataset: str, run: str) -> tuple[str | None, str]:
    """The run that answers new photos for `run`, and one line that says so where it is another one or none.

    A frozen backbone does not come with the repository; without its file a complete run of the same network answers.
    Raises ArtifactError.
    """
    info = artifacts.read_run(dataset, run)
    missing = artifacts.missing_backbone(info)
    if missing is None:
        return run, ""
    other = artifacts.stand_in(info)
    if other:
        line = _("{run} needs {file}, which is not on this machine: {other}, the same network, answers in its place.")
    else:
        line = _("{run} needs {file}, which is not on this machine, and gives no answer: put the file into weights/.")
    return other, line.format(run=run, file=missing, other=other)


def classifier(dataset: str, run: str):
    """The model of a run (a dogpoc.inference.Classifier), loaded once for all visitors.

    Raises ModelError, ArtifactError.
    """
    with st.spinner(_("Loading {run} …").format(run=run)):
        return _classifier(dataset, run, artifacts.read_run(dataset, run)["sha256"])


@st.cache_resource(max_entries=4, show_spinner=False)
def _classifier(dataset: str, run: str, sha256: str):
    from dogpoc.inference import load_classifier, use_threads

    # For the attention, which runs in eager torch. Where other work shares the cores, its threads wait for each other:
    # 30 ms become seconds (measured: up to 12), against the 10 ms that a second thread saves on an idle machine.
    in_turn(use_threads, 1)
    loaded = in_turn(load_classifier, dataset, run)  # torch traces one model at a time: two at once fail
    size = loaded.preprocessing.size
    in_turn(loaded.forward, np.zeros((1, size, size, 3), np.uint8))  # the slow first
    return loaded


def in_turn(function: Callable, *args):
    """What `function` returns, computed when all photos that came before are done, in the visitor's language."""
    return WORKER.submit(copy_context().run, function, *args).result()


def answer(run: str, model, image: Image.Image) -> Answer:
    """What the model of `run` says about an upright RGB photo; to be called in turn."""
    start = time.perf_counter()
    logits = model.logits([image])[0]
    seconds = time.perf_counter() - start
    picture, attention = _picture(model, image)
    fitted = model.info.get("doubt") and doubt.from_plain(model.info["doubt"])
    found = doubt.opinion(logits, fitted)
    likely = {share: doubt.opinion(logits, fitted, share).likely for share in doubt.CONFIDENCES} if fitted else {}
    breeds = [model.breeds[i] for i in found.breeds]
    return Answer(run, breeds, found.probs, likely, found.strange, seconds, picture, attention)


def _picture(model, image: Image.Image) -> tuple[bytes, bool]:
    from dogpoc import explanation

    shown = seen(model, image)
    try:
        looks = explanation.rollout(attention(model, image))
    except explanation.ExplanationError:
        return jpeg(shown), False
    return jpeg(explanation.overlay(shown, looks)), True


def attention(model, image: Image.Image):
    """The attention of a run's model for a photo (dogpoc.explanation.Attention). Raises ExplanationError."""
    from dogpoc.explanation import attention_maps
    from dogpoc.inference import preprocess, to_tensor

    pixels = preprocess(image, model.preprocessing)
    return attention_maps(model.model, to_tensor(np.stack([pixels]), model.preprocessing))


def seen(model, image: Image.Image) -> np.ndarray:
    """The part of a photo that a run's model sees, sharper than it sees it: (SHOWN, SHOWN, 3) uint8."""
    from dogpoc.inference import preprocess

    return preprocess(image, replace(model.preprocessing, size=SHOWN))


def jpeg(pixels: np.ndarray, side: int = SHOWN) -> bytes:
    """(H, W, 3) uint8 as a JPEG, its longer side at most `side` pixels."""
    return thumbnail(Image.fromarray(pixels), side)
