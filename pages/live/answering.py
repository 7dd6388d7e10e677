"""A run's model and its answer to one photo, for the pages that take photos; torch is imported with the first one."""

import atexit
import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock

import numpy as np
import streamlit as st
from PIL import Image

from dogpoc import artifacts, doubt
from dogpoc.photo import thumbnail
from dogpoc.translation import _, ngettext, number

SHOWN = 448  # pixels, both sides, of the part of a photo that a model sees
# One forward pass uses all cores, so visitors at the same moment wait for each other; and in one thread: torch keeps
# worker threads, and the C library memory, for every thread that ever computed. Each visitor has one place in the line
# at a time and goes to its end for the next photo: many photos of one visitor do not hold up the others.
WORKER = ThreadPoolExecutor(1, "photos")
LINE: list[Future] = []  # what is computed, first, and what waits
LINING_UP = Lock()
PATIENCE = 0.25  # seconds between two looks at the line


@dataclass(frozen=True)
class Answer:
    """What a run says about one photo.

    breeds, probs: (C,), most probable first, at the run's temperature.   likely: confidence -> how many of the first
    breeds form the set that holds the true one with that confidence; empty for a run without thresholds.
    strange: unlike the photos that the run was taught, None if it has no threshold.
    seconds: from the decoded photo to the answer.
    features: (D,) float32, what the model's head read.
    picture: JPEG of the part of the photo that the model sees, under the map of `method` ("rollout", or "gradcam" or
    "relevance" of the most probable breed); None where nothing speaks for it.
    """

    run: str
    breeds: list[str]
    probs: np.ndarray
    likely: dict[float, int]
    strange: bool | None
    seconds: float
    features: np.ndarray
    picture: bytes
    method: str | None


def able_run(dataset: str, run: str) -> tuple[str | None, str]:
    """The run that answers new photos for `run`, and one line that says so where it is another one or none.

    Frozen backbones and the largest weights do not come with the repository; without them a complete run of the same
    network answers. For a run of several views of each photo, that of one view does.
    Raises ArtifactError.
    """
    info = artifacts.read_run(dataset, run)
    if "views" in info:
        answering, line = able_run(dataset, info["views"]["of"])
        words = _("{run} looks at several views of each photo; new photos are answered by {other}, which looks once.")
        return answering, " ".join(filter(None, (words.format(run=run, other=info["views"]["of"]), line)))
    missing = artifacts.missing_weights(info)
    if missing is None:
        return run, ""
    other = artifacts.stand_in(info)
    if other:
        line = _("{run} needs {file}, which is not on this machine: {other}, the same network, answers in its place.")
    else:
        line = _("{run} needs {file}, which is not on this machine, and gives no answer: {remedy}.")
    return other, line.format(run=run, file=missing[0], remedy=missing[1], other=other)


def classifier(dataset: str, run: str):
    """The model of a run (a dogpoc.inference.Classifier), loaded once for all visitors.

    Raises ModelError, ArtifactError.
    """
    with st.spinner(_("Loading {run} …").format(run=run)):
        return _classifier(dataset, run, artifacts.read_run(dataset, run)["sha256"])


@st.cache_resource(max_entries=4, show_spinner=False)
def _classifier(dataset: str, run: str, sha256: str):
    return _line_up(_loaded, dataset, run).result()  # says nothing: what a cached function shows is shown every time


def _loaded(dataset: str, run: str):
    from dogpoc.explanation import ExplainedModel
    from dogpoc.inference import load_classifier, use_threads

    # For the attention, which runs in eager torch. Where other work shares the cores, its threads wait for each other:
    # 30 ms become seconds (measured: up to 12), against the 10 ms that a second thread saves on an idle machine.
    use_threads(1)
    loaded = load_classifier(dataset, run, around=ExplainedModel)
    size = loaded.preprocessing.size
    loaded.forward(np.zeros((1, size, size, 3), np.uint8))  # the slow first
    if not gc.get_freeze_count():
        # Streamlit collects garbage after every run of every page, while nothing else can run. Through all that torch
        # and its like brought this takes 0.3 s each time; what is frozen is not gone through again (measured: 0 ms).
        gc.collect()
        gc.freeze()
        atexit.register(gc.unfreeze)  # else libraries complain at the end that theirs was not collected
    return loaded


def in_turn(function: Callable, *args):
    """What `function` returns, computed in the visitor's language when all photos that came before are done.

    Meanwhile one line says how many those are. A visitor who clicks on, or leaves, while waiting gives up the place.
    """
    job = _line_up(function, *args)
    try:
        _wait_for_turn(job)
        return job.result()
    finally:
        job.cancel()


def _line_up(function: Callable, *args) -> Future:
    with LINING_UP:  # so that LINE has the worker's order
        job = WORKER.submit(copy_context().run, function, *args)
        LINE.append(job)
    job.add_done_callback(LINE.remove)
    return job


def _wait_for_turn(job: Future) -> None:
    line = None
    while not wait([job], PATIENCE).done and (ahead := _ahead(job)):
        line = line or st.empty()
        # A run that is to stop does so here, where it shows something: streamlit raises, and in_turn cancels the job.
        line.caption(ngettext("{n} ahead of you", "{n} ahead of you", ahead).format(n=number(ahead)))
    if line:
        line.empty()


def _ahead(job: Future) -> int:
    line = LINE.copy()
    return line.index(job) if job in line else 0


def answer(run: str, model, image: Image.Image) -> Answer:
    """What the model of `run` says about an upright RGB photo, and why; to be called in turn."""
    from dogpoc.inference import preprocess

    start = time.perf_counter()
    pixels = preprocess(image, model.preprocessing)
    logits, features, *maps = (part[0] for part in model.forward(pixels[None]))
    seconds = time.perf_counter() - start
    picture, method = _picture(model, image, pixels, int(logits.argmax()), maps[0] if maps else ())
    found, likely = opinion(model, logits)
    breeds = [model.breeds[i] for i in found.breeds]
    return Answer(run, breeds, found.probs, likely, found.strange, seconds, features, picture, method)


def opinion(model, logits: np.ndarray) -> tuple[doubt.Opinion, dict[float, int]]:
    """What follows from a model's logits (C,): its opinion, and confidence -> size of the set (see Answer.likely)."""
    fitted = doubt.from_plain(model.info["doubt"]) if model.info.get("doubt") else None
    likely = {share: doubt.opinion(logits, fitted, share).likely for share in doubt.CONFIDENCES} if fitted else {}
    return doubt.opinion(logits, fitted), likely


def tops(model, images: Sequence[Image.Image]) -> list[tuple[str, float]]:
    """The likeliest breed of each photo and its probability, all in one forward pass; to be called in turn."""
    found = [opinion(model, logits)[0] for logits in model.logits(images)]
    return [(model.breeds[first.breeds[0]], float(first.probs[0])) for first in found]


def _picture(model, image: Image.Image, pixels: np.ndarray, breed: int, maps: np.ndarray) -> tuple[bytes, str | None]:
    from dogpoc.explanation import ExplanationError, map_of_answer, overlay

    shown = seen(model, image)
    try:
        method, values = map_of_answer(model, pixels, breed, maps)
    except ExplanationError:
        return jpeg(shown), None
    return (jpeg(overlay(shown, values)), method) if np.ptp(values) > 0 else (jpeg(shown), None)


def seen(model, image: Image.Image) -> np.ndarray:
    """The part of a photo that a run's model sees, sharper than it sees it: (S, S, 3) uint8, S at most SHOWN."""
    from dogpoc.inference import crop_box

    box = crop_box(*image.size, model.preprocessing)
    side = max(1, min(SHOWN, round(box[2] - box[0])))  # the browser enlarges what is smaller
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box, reducing_gap=1))


def jpeg(pixels: np.ndarray, side: int = SHOWN) -> bytes:
    """(H, W, 3) uint8 as a JPEG, its longer side at most `side` pixels."""
    return thumbnail(Image.fromarray(pixels), side)
