"""The benchmark of explanations: every method on the same seeded test photos of a run, photo by photo, resumable.

What is stored in explanations.json are the numbers of each photo; the table is faithfulness.summarise of them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from dogpoc import artifacts, dataset, explanation, faithfulness, inference
from dogpoc.inference import Classifier
from dogpoc.photo import read_photo

SEED = 0
PHOTOS = 240
PHOTOS_OF_NORM = 32  # from which a shuffled network's batch normalisation learns
PHOTOS_PER_MOSAIC = 10  # one mosaic, and one photo with randomised weights, for so many photos


def explain_benchmark(
    dataset_name: str, run: str, *, photos: int = PHOTOS, command: str, progress: bool = False
) -> dict:
    """Measure the explanations of `run` on `photos` test photos and store them beside it; returns explanations.json.

    Resumes where it was stopped; returns at once where these weights and photos were measured already.
    Errors: ArtifactError, ModelError, DatasetError, PhotoError.
    """
    info = artifacts.read_run(dataset_name, run)
    evaluation = artifacts.read_evaluation(dataset_name, run)
    rows = _sample(len(evaluation.true), photos)
    key = {
        "photos_digest": info["photos_digest"],
        "weights": artifacts.weights_digest(info),
        "seed": SEED,
        "steps": faithfulness.STEPS,
        "asked": photos,
    }
    stored = artifacts.read_explanations(info)
    if stored and key.items() <= stored.items():
        return stored
    chosen = evaluation.photos.iloc[rows]
    paths = dataset.require_photos(chosen)
    inference.use_threads(1)  # eager torch: a second thread saves little, and waits long where others work
    classifier = inference.load_classifier(dataset_name, run)
    methods = _methods(classifier)
    seen = [lambda path=path: _pixels(classifier, path) for path in paths]  # read when needed
    tasks: list[tuple[str, Callable[[], dict]]] = [
        ("photos", lambda row=row, read=read: _measure(classifier, read(), methods, chosen.iloc[row]))
        for row, read in enumerate(seen)
    ]
    tasks += [
        ("mosaics", lambda four=four: _measure_mosaic(classifier, [seen[i]() for i in four], methods, chosen, four))
        for four in _fours(evaluation, rows)
    ]
    shuffled = _Once(lambda: _shuffled(classifier, np.stack([read() for read in seen[:PHOTOS_OF_NORM]])))
    tasks += [
        ("randomised", lambda read=read: _measure_randomised(classifier, shuffled(), read(), methods))
        for read in seen[:: max(1, PHOTOS_PER_MOSAIC)]
    ]
    partial = artifacts.run_folder(dataset_name, run) / ".partial-explanations.jsonl"
    record = {**key, "command": command, "runtime": classifier.runtime, "photos": [], "mosaics": [], "randomised": []}
    for kind, found in _resumed(partial, key, tasks, progress):
        record[kind].append(found)
    data = json.dumps(record, allow_nan=False, separators=(",", ":")).encode()
    artifacts.write_run(artifacts.read_run(dataset_name, run), {artifacts.EXPLANATIONS: data})
    partial.unlink(missing_ok=True)
    return record


def _sample(n: int, photos: int) -> np.ndarray:
    """Rows of the photos that are measured, in table order: the same for all runs on the same photos."""
    return np.sort(np.random.default_rng(SEED).choice(n, min(n, photos), replace=False))


def _resumed(
    path: Path, key: dict, tasks: Sequence[tuple[str, Callable]], progress: bool
) -> Iterator[tuple[str, dict]]:
    """The results of all tasks in order, each kept as a line of `path` as soon as it is there."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    except (OSError, ValueError):
        lines = []
    if not lines or lines[0] != key:
        lines = [key]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with path.open("a") as file:
        for place, (kind, measure) in enumerate(tqdm(tasks, unit=" steps", disable=not progress), start=1):
            if place >= len(lines):
                lines.append(measure())
                file.write(json.dumps(lines[-1], allow_nan=False) + "\n")
                file.flush()
            yield kind, lines[place]


class _Once:
    """The result of a function, computed when it is first asked for."""

    def __init__(self, make: Callable):
        self.make, self.made = make, None

    def __call__(self):
        if self.made is None:
            self.made = self.make()
        return self.made


def _pixels(classifier: Classifier, path: Path) -> np.ndarray:
    return inference.preprocess(read_photo(path.read_bytes()), classifier.preprocessing)


def _methods(classifier: Classifier) -> list[str]:
    """The methods that make sense for this model, tried on a grey photo."""
    size, found = classifier.preprocessing.size, []
    for method in explanation.METHODS:
        try:
            explanation.explain_pixels(classifier, np.full((size, size, 3), 128, np.uint8), method, 0)
        except explanation.ExplanationError:
            continue
        found.append(method)
    return found


def _maps(
    classifier: Classifier, pixels: np.ndarray, methods: Sequence[str], breed: int, against: int | None = None
) -> dict[str, np.ndarray]:
    return {method: explanation.explain_pixels(classifier, pixels, method, breed, against) for method in methods}


def _measure(classifier: Classifier, pixels: np.ndarray, methods: Sequence[str], photo) -> dict:
    """Insertion and deletion area, and energy in the dog's box, of every method's map of the run's own answer."""
    breed = int(classifier.forward(pixels[None])[0][0].argmax())
    maps = _maps(classifier, pixels, methods, breed)
    grid = next(iter(maps.values())).shape
    maps["random"] = faithfulness.random_maps(grid, 1, int(photo["sha256"][:8], 16))[0]
    maps["centre"] = faithfulness.centre_blob(grid)
    inside, found = _box(classifier, photo), {}
    for method, values in maps.items():
        logits = faithfulness.insertion_deletion(lambda frames: classifier.forward(frames)[0], pixels, values)
        insertion, deletion = faithfulness.area(faithfulness.support(logits, breed))
        found[method] = {"insertion": round(float(insertion), 5), "deletion": round(float(deletion), 5)}
        if inside is not None and np.isfinite(energy := faithfulness.energy_in_box(values, inside)):
            found[method]["energy"] = round(energy, 4)
    return {"id": photo["id"], "breed": classifier.breeds[breed], "maps": found}


def _box(classifier: Classifier, photo) -> np.ndarray | None:
    """(S, S) bool, where the dog is; None where nobody said."""
    path = dataset.photo_paths([photo["sha256"]], [photo["bytes"]])[photo["sha256"]]
    folder = path.parents[len(Path(photo["id"]).parts)] if path.as_posix().endswith(photo["id"]) else None
    boxes = dataset.boxes(folder, photo["id"]) if folder else []
    if not boxes:
        return None
    preprocessing = classifier.preprocessing
    crop = inference.crop_box(photo["width"], photo["height"], preprocessing)
    return faithfulness.seen_boxes(boxes, crop, preprocessing.size)


def _fours(evaluation: artifacts.Evaluation, rows: np.ndarray) -> list[list[int]]:
    """Places (among `rows`) of four photos each, of four breeds, all named rightly by the run."""
    right = evaluation.logits[rows].argmax(axis=1) == evaluation.true[rows]
    left = list(np.random.default_rng(SEED).permutation(np.flatnonzero(right)))
    fours = []
    while len(fours) < max(1, len(rows) // PHOTOS_PER_MOSAIC):
        four, breeds = [], set()
        for place in left:
            if len(four) < 4 and evaluation.true[rows[place]] not in breeds:
                four.append(int(place))
                breeds.add(evaluation.true[rows[place]])
        if len(four) < 4:
            break
        fours.append(four)
        left = [place for place in left if place not in four]
    return fours


def _measure_mosaic(
    classifier: Classifier, photos: Sequence[np.ndarray], methods: Sequence[str], chosen, four: Sequence[int]
) -> dict:
    """Shares of the four tiles in the evidence for each of the four breeds, that breed's own tile first."""
    tiled, shares = faithfulness.mosaic(photos), {}
    breeds = [classifier.breeds.index(chosen["breed"].iloc[i]) for i in four]
    for method in methods:
        once = method in explanation.SAME_FOR_ALL_BREEDS
        maps = [explanation.explain_pixels(classifier, tiled, method, breed) for breed in breeds[: 1 if once else 4]]
        tiles = [faithfulness.tile_shares(values) for values in maps * (4 if once else 1)]
        own_first = [[part[k], *np.delete(part, k)] for k, part in enumerate(tiles)]
        shares[method] = np.round(np.array(own_first, float), 4).tolist()
    return {"ids": [chosen["id"].iloc[i] for i in four], "shares": shares}


def _shuffled(classifier: Classifier, photos: np.ndarray) -> Classifier:
    """The same network with each weight tensor's numbers in random order (Adebayo et al. 2018: all layers at once).

    photos: (n, H, W, 3) uint8. Batch normalisation starts anew and takes its mean and variance from these: with those
    of the old weights all activations run to their ends, and every map of such a network is flat.
    """
    model: nn.Module = deepcopy(classifier.model)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.reset_parameters()
    update_bn([inference.to_tensor(photos, classifier.preprocessing)], model)
    made = inference.compile_classifier(model, classifier.preprocessing, breeds=classifier.breeds)
    return replace(made, info=classifier.info)


def _measure_randomised(
    classifier: Classifier, shuffled: Classifier, pixels: np.ndarray, methods: Sequence[str]
) -> dict:
    """Rank correlation of each method's map with that of the network with shuffled weights; None for a flat map.

    Each network explains its first answer against its second: what is positive of a logit alone is an empty map where
    all that the network has to say of the breed is negative, as with shuffled weights it mostly is.
    """
    before, after = (_first_against_second(each, pixels, methods) for each in (classifier, shuffled))
    found = {method: faithfulness.rank_correlation(before[method], after[method]) for method in methods}
    return {method: round(r, 4) if np.isfinite(r) else None for method, r in found.items()}


def _first_against_second(classifier: Classifier, pixels: np.ndarray, methods: Sequence[str]) -> dict[str, np.ndarray]:
    first, second = np.argsort(-classifier.forward(pixels[None])[0][0])[:2]
    return _maps(classifier, pixels, methods, int(first), int(second))
