"""Train resolution and test resolution apart, and a photo seen several times (Touvron et al. 2019, FixRes).

Networks see a dog larger or smaller when photos come in at another size than in training. The grid has a head trained
at each size and tested at each size: on its diagonal the classifier fits the test resolution. FixRes trains the last
normalisation as well: so it is done once for each size, at which both are tested too, where the network ends in one.
Its scale and shift are trained; the statistics of batch normalisation stay, because weights may come with those folded
into the layer before (mean 0, variance 1: anew, they would be those of another function). The position embeddings of a
ViT are interpolated. The rest of the network stays as the run trained it.
"""

import json
import shutil
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_hook

from dogpoc import artifacts, dataset, inference, training
from dogpoc.inference import Classifier, ModelError, PixelModel
from dogpoc.methods import PROBE, VIEWS, Preprocessing, Recipe
from dogpoc.translation import _

SIZES = (128, 160, 192, 224, 256, 320)  # pixels; multiples of 32 suit patches and strides
SPLITS = ("train", "validation", "test")
NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
BATCH_SIZE = 128  # of what trained layers answer to


def fill_grid(
    dataset_name: str, run: str, sizes: Sequence[int] = SIZES, *, command: str, progress: bool = False
) -> dict:
    """Measure `run` at each pair of train and test size, and with several views of each photo; returns fixres.json.

    Resumes where it was stopped. Counted are right answers on the test photos of the dataset that it was trained on.
    "with_norm", where the network ends in a normalisation: of this and the head, trained and tested at each size.
    Errors: ArtifactError, ModelError, DatasetError, PhotoError.
    """
    info = artifacts.read_run(dataset_name, run)
    key = {
        "photos_digest": info["photos_digest"],
        "weights": artifacts.weights_digest(info),
        "sizes": sorted(set(sizes)),
    }
    stored = artifacts.read_fixres(info) or {}
    measured = stored if key.items() <= stored.items() else {}
    if "with_norm" in measured:
        return measured
    if info["trained_on"] != dataset_name:
        raise ModelError(
            _("{run} was trained on {home}: its heads are trained anew there; choose --data {home}").format(
                run=run, home=info["trained_on"]
            )
        )
    table = artifacts.read_photos(dataset_name)
    parts = {split: table[table["split"] == split] for split in SPLITS}
    paths = {split: dataset.require_photos(part) for split, part in parts.items()}
    labels = {
        split: np.array([info["breeds"].index(breed) for breed in part["breed"]]) for split, part in parts.items()
    }
    classifier = inference.load_classifier(dataset_name, run)
    place = artifacts.run_folder(dataset_name, run) / f".fixres-{key['weights'][:16]}-{key['photos_digest'][:16]}"
    place.mkdir(exist_ok=True)
    asked = (classifier, key["sizes"], paths, labels, place, progress)
    if not measured:
        measured = {**key, "command": command, **_measure_grid(*asked)}
        _store(info, measured)
    record = {**measured, "with_norm": _measure_with_norm(*asked)}
    _store(info, record)
    shutil.rmtree(place, ignore_errors=True)  # Windows keeps a file that is still mapped
    return record


def _store(info: dict, record: dict) -> None:
    data = json.dumps(record, allow_nan=False).encode()
    artifacts.write_run(artifacts.read_run(info["dataset"], info["run"]), {artifacts.FIXRES: data})


def at_size(classifier: Classifier, size: int, around: type[PixelModel] = PixelModel) -> Classifier:
    """The same network for photos of `size` x `size` pixels; raises ModelError where it takes no other size.
    `around`: see inference.compile_classifier."""
    network = deepcopy(classifier.model)
    try:
        if hasattr(network, "set_input_size"):
            network.set_input_size(img_size=(size, size))
        preprocessing = replace(classifier.preprocessing, size=size)
        made = inference.compile_classifier(
            network, preprocessing, breeds=classifier.breeds, info=classifier.info, around=around
        )
        made.forward(np.zeros((1, size, size, 3), np.uint8))
    except (AssertionError, RuntimeError, ValueError):
        raise ModelError(
            _("this network takes no photos of {size} x {size} pixels: choose other --sizes").format(size=size)
        ) from None
    return made


def _fitted(model: nn.Module, info: dict, seen: dict[str, np.ndarray], labels: dict, place: Path) -> nn.Module:
    """`model`, trained in place by the run's own recipe for heads on what it sees of photos of one size."""
    probe, seed = info["method"].get("probe"), info["seed"]
    recipe = Recipe(**probe) if probe else PROBE
    torch.manual_seed(seed)
    checkpoints = place / "checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)
    parts = [[part[split] for split in ("train", "validation")] for part in (seen, labels)]
    training.fit_head(model, recipe, seed, *parts, checkpoints)
    return model


def _first_head(classifier: Classifier) -> nn.Module:
    """The head to train from: a new one where the run trained a head alone, else the run's."""
    head, method = deepcopy(classifier.model.get_classifier()).cpu(), classifier.info["method"]
    if method["trained"] == "head" and method.get("head", "new") == "new":
        training.make_new(head)
    return head


@torch.inference_mode()
def _right(model: nn.Module, seen: np.ndarray, true: np.ndarray) -> int:
    """How many photos `model` names rightly."""
    answers = [model(batch).argmax(dim=1) for batch in torch.from_numpy(seen).split(BATCH_SIZE)]
    return int((torch.cat(answers).numpy() == true).sum())


# -- the head -----------------------------------------------------------------------------------------------------


def _measure_grid(
    classifier: Classifier, sizes: Sequence[int], paths: dict, labels: dict, place: Path, progress: bool
) -> dict:
    """Right answers of heads trained at each size, and of the run's, tested at each size; and of several views."""
    features = {size: _features(classifier, size, paths, place, progress) for size in sizes}
    heads = [_fitted(_first_head(classifier), classifier.info, features[size], labels, place) for size in sizes]
    own = deepcopy(classifier.model.get_classifier()).cpu()
    as_trained, *grid = [
        [_right(head, features[size]["test"], labels["test"]) for size in sizes] for head in (own, *heads)
    ]
    return {
        "runtime": classifier.runtime,
        "photos": len(labels["test"]),
        "own_size": classifier.preprocessing.size,
        "grid": grid,
        "as_trained": as_trained,
        "views": _measure_views(classifier, paths["test"], labels["test"], progress),
    }


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


# -- the last normalisation and the head --------------------------------------------------------------------------


@torch.no_grad()
def last_norm(network: nn.Module, size: int) -> str | None:
    """Name of the normalisation that makes what `network.forward_features` returns of photos of `size` x `size`
    pixels; None where another layer does, also where one writes into it, as ResNet adds its shortcut."""
    outputs = []

    def keep(module, _inputs, output):
        if isinstance(module, NORMS):
            outputs.append((module, output, output._version))

    with register_module_forward_hook(keep):
        last = network.forward_features(torch.zeros(1, 3, size, size, device=next(network.parameters()).device))
    found = [module for module, output, version in outputs if output is last and last._version == version]
    return next((name for name, module in network.named_modules() if module in found), None)


class BeforeNorm(PixelModel):
    """A PixelModel whose features are what enters the network's last normalisation, as far as its head needs it:
    the class token (n, 1, D), or maps (n, D, h, w), or all tokens (n, T, D)."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing):
        super().__init__(network, preprocessing)
        self.norm = last_norm(network, preprocessing.size)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        entered = []
        norm = self.network.get_submodule(self.norm)
        with norm.register_forward_pre_hook(lambda _norm, inputs: entered.append(inputs[0])):
            logits = super().forward(pixels)[0]
        (x,) = entered
        return logits, x[:, :1] if getattr(self.network, "global_pool", None) == "token" else x


class Tail(nn.Module):
    """The normalisation `norm` of a network and all that comes after it, with another head: what a BeforeNorm gives,
    in float16 or float32, -> logits (n, C)."""

    def __init__(self, network: nn.Module, norm: str, head: nn.Module):
        super().__init__()
        network = deepcopy(network).cpu()
        self.norm, self.head = network.get_submodule(norm), head
        self.read = partial(network.forward_head, pre_logits=True)  # stays as it is: no module of this one

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.read(self.norm(x.float())))


def _measure_with_norm(
    classifier: Classifier, sizes: Sequence[int], paths: dict, labels: dict, place: Path, progress: bool
) -> list[int] | None:
    """Right answers of last normalisation and head, trained together and tested at each size; None without one."""
    norm = last_norm(classifier.model, classifier.preprocessing.size)
    if norm is None:
        return None
    right = []
    for size in sizes:
        done, scratch = place / f"with-norm-{size}.json", place / f"with-norm-{size}"
        if not done.is_file():
            entering = _entering(classifier, size, paths, scratch, progress)
            tail = Tail(classifier.model, norm, _first_head(classifier))
            _fitted(tail, classifier.info, entering, labels, scratch)
            artifacts.write_atomically(done, str(_right(tail, entering["test"], labels["test"])).encode())
            shutil.rmtree(scratch, ignore_errors=True)  # as large as all photos' maps
        right.append(json.loads(done.read_bytes()))
    return right


def _entering(classifier: Classifier, size: int, paths: dict, place: Path, progress: bool) -> dict[str, np.ndarray]:
    """split -> (n, ...) float16 on disk: what enters the last normalisation at `size`; kept in `place`."""
    path = place / "entering.npy"
    files = [file for part in paths.values() for file in part]
    if not path.is_file():
        place.mkdir(exist_ok=True)
        part, sized = path.with_suffix(".part.npy"), at_size(classifier, size, BeforeNorm)
        _logits, one = sized.forward(np.zeros((1, size, size, 3), np.uint8))
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(files), *one.shape[1:])}
        with part.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for _logits, x in inference.stream(sized, files, progress=progress):
                file.write(x.astype("<f2").tobytes())
        part.replace(path)
    ends = np.cumsum([len(part) for part in paths.values()])[:-1]
    return dict(zip(paths, np.split(np.load(path, mmap_mode="c"), ends), strict=True))  # "c": torch wants it writable


# -- several views of a photo -------------------------------------------------------------------------------------


def _measure_views(classifier: Classifier, paths: Sequence[Path], true: np.ndarray, progress: bool) -> dict[str, dict]:
    """kind -> right answers, forward passes a photo, and photos a second from file to answer."""
    found = {}
    for kind, passes in VIEWS.items():
        start = time.perf_counter()
        batches = inference.stream(classifier, paths, views=kind, progress=progress)
        right = int((np.concatenate([logits for logits, _f in batches]).argmax(axis=1) == true).sum())
        seconds = time.perf_counter() - start
        found[kind] = {"right": right, "passes": passes, "photos_per_second": round(len(paths) / seconds, 1)}
    return found
