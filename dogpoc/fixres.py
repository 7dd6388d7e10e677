"""Train resolution and test resolution apart, and a photo seen several times (Touvron et al. 2019, FixRes).

Networks see a dog larger or smaller when photos come in at another size than in training. The grid has a head trained
at each size and tested at each size: on its diagonal the classifier fits the test resolution, as FixRes has it. The
position embeddings of a ViT are interpolated. The rest of the network stays as the run trained it.
"""

import json
import shutil
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dogpoc import artifacts, dataset, inference, training
from dogpoc.inference import Classifier, ModelError
from dogpoc.methods import PROBE, Recipe
from dogpoc.translation import _

SIZES = (128, 160, 192, 224, 256, 320)  # pixels; multiples of 32 suit patches and strides
SPLITS = ("train", "validation", "test")


def fill_grid(
    dataset_name: str, run: str, sizes: Sequence[int] = SIZES, *, command: str, progress: bool = False
) -> dict:
    """Measure `run` at each pair of train and test size, and with several views of each photo; returns fixres.json.

    Resumes where it was stopped. Counted are right answers on the test photos of the dataset that it was trained on.
    Errors: ArtifactError, ModelError, DatasetError, PhotoError.
    """
    info = artifacts.read_run(dataset_name, run)
    key = {
        "photos_digest": info["photos_digest"],
        "weights": artifacts.weights_digest(info),
        "sizes": sorted(set(sizes)),
    }
    stored = artifacts.read_fixres(info)
    if stored and key.items() <= stored.items():
        return stored
    table = artifacts.read_photos(dataset_name)
    if info["trained_on"] != dataset_name:
        raise ModelError(
            _("{run} was trained on {home}: its heads are trained anew there; choose --data {home}").format(
                run=run, home=info["trained_on"]
            )
        )
    parts = {split: table[table["split"] == split] for split in SPLITS}
    paths = {split: dataset.require_photos(part) for split, part in parts.items()}
    labels = {
        split: np.array([info["breeds"].index(breed) for breed in part["breed"]]) for split, part in parts.items()
    }
    classifier = inference.load_classifier(dataset_name, run)
    place = artifacts.run_folder(dataset_name, run) / f".fixres-{key['weights'][:16]}-{key['photos_digest'][:16]}"
    place.mkdir(exist_ok=True)
    features = {size: _features(classifier, size, paths, place, progress) for size in key["sizes"]}
    heads = {size: _fitted(classifier, info, found, labels, place) for size, found in features.items()}
    record = {
        **key,
        "command": command,
        "runtime": classifier.runtime,
        "photos": len(labels["test"]),
        "own_size": classifier.preprocessing.size,
        "grid": [_right(heads[size], features, labels["test"]) for size in key["sizes"]],
        "as_trained": _right(classifier.model.get_classifier(), features, labels["test"]),
        "views": _measure_views(classifier, paths["test"], labels["test"], progress),
    }
    data = json.dumps(record, allow_nan=False).encode()
    artifacts.write_run(artifacts.read_run(dataset_name, run), {artifacts.FIXRES: data})
    shutil.rmtree(place)
    return record


def at_size(classifier: Classifier, size: int) -> Classifier:
    """The same network for photos of `size` x `size` pixels; raises ModelError where it takes no other size."""
    network = deepcopy(classifier.model)
    try:
        if hasattr(network, "set_input_size"):
            network.set_input_size(img_size=(size, size))
        preprocessing = replace(classifier.preprocessing, size=size)
        made = inference.compile_classifier(network, preprocessing, breeds=classifier.breeds, info=classifier.info)
        made.forward(np.zeros((1, size, size, 3), np.uint8))
    except (AssertionError, RuntimeError, ValueError):
        raise ModelError(
            _("this network takes no photos of {size} x {size} pixels: choose other --sizes").format(size=size)
        ) from None
    return made


def _features(classifier: Classifier, size: int, paths: dict, place: Path, progress: bool) -> dict[str, np.ndarray]:
    """split -> (n, D) features at `size`, kept in `place` so that a stopped measurement goes on."""
    path = place / f"{size}.npz"
    if not path.is_file():
        sized, found = at_size(classifier, size), {}
        for split, files in paths.items():
            batches = inference.stream(sized, files, progress=progress)
            found[split] = np.concatenate([features for _logits, features in batches])
        part = path.with_suffix(".part.npz")
        np.savez(part, **found)
        part.replace(path)
    with np.load(path, allow_pickle=False) as stored:
        return {split: stored[split] for split in paths}


def _fitted(
    classifier: Classifier, info: dict, features: dict[str, np.ndarray], labels: dict[str, np.ndarray], place: Path
) -> nn.Module:
    """The run's head trained on photos of one size, by the run's own recipe: anew where the run trained a head alone,
    else going on from the run's head."""
    head = deepcopy(classifier.model.get_classifier()).cpu()
    if info["method"]["trained"] == "head" and info["method"].get("head", "new") == "new":
        training.make_new(head)
    probe, seed = info["method"].get("probe"), info["seed"]
    recipe = Recipe(**probe) if probe else PROBE
    torch.manual_seed(seed)
    checkpoints = place / "checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)
    parts = [[part[split] for split in ("train", "validation")] for part in (features, labels)]
    training.fit_head(head, recipe, seed, *parts, checkpoints)
    return head


@torch.inference_mode()
def _right(head: nn.Module, features: dict[int, dict[str, np.ndarray]], true: np.ndarray) -> list[int]:
    """How many test photos the head names rightly at each size."""
    head = deepcopy(head).cpu().eval()
    answers = [head(torch.from_numpy(found["test"]).float()).argmax(dim=1).numpy() for found in features.values()]
    return [int((answer == true).sum()) for answer in answers]


# -- several views of a photo -------------------------------------------------------------------------------------


def _measure_views(classifier: Classifier, paths: Sequence[Path], true: np.ndarray, progress: bool) -> dict[str, dict]:
    """kind -> right answers, forward passes a photo, and photos a second from file to answer."""
    found = {}
    for kind, passes in inference.VIEWS.items():
        start = time.perf_counter()
        batches = inference.stream(classifier, paths, views=kind, progress=progress)
        right = int((np.concatenate([logits for logits, _f in batches]).argmax(axis=1) == true).sum())
        seconds = time.perf_counter() - start
        found[kind] = {"right": right, "passes": passes, "photos_per_second": round(len(paths) / seconds, 1)}
    return found
