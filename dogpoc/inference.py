"""The one way from photos to logits: what evaluation stores, the upload page shows and an explanation explains."""

import io
import json
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors
import timm
import torch
from PIL import Image
from safetensors.numpy import save
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from dogpoc import DogpocError, artifacts, dataset, doubt, embedding, metrics, networks
from dogpoc.methods import VIEWS, Backbone, Method, Preprocessing
from dogpoc.photo import read_photo
from dogpoc.translation import _

BATCH_SIZE = 32
BATCHES_AHEAD = 3  # decoded while the model works
EMBEDDING_SEED = 0  # of t-SNE
IMAGENET_CLASSES = 1000
AGREEMENT_PHOTOS = 256  # on which a runtime is compared with eager float32


class ModelError(DogpocError):
    """A model cannot be built or its weights cannot be had."""


# -- pixels -------------------------------------------------------------------------------------------------------


def crop_box(width: int, height: int, preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """The part of an upright photo that the model sees: (left, top, right, bottom) in its pixels."""
    side = min(width, height) * preprocessing.crop
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """An upright RGB photo as the model sees it: (size, size, 3) uint8. Crop and resize are one step."""
    size = (preprocessing.size, preprocessing.size)
    resample = Image.Resampling[preprocessing.interpolation.upper()]
    box = crop_box(*image.size, preprocessing)
    return np.asarray(image.resize(size, resample, box=box))


def views_of(image: Image.Image, kind: str, preprocessing: Preprocessing) -> list[np.ndarray]:
    """What a model sees of one photo: (size, size, 3) uint8 each.

    kind: "centre" (one), "flip" (with its mirror image), "ten-crop" (the four corners and the centre, each with its
    mirror image; Krizhevsky et al. 2012).
    """
    if kind == "ten-crop":
        side = round(preprocessing.crop * min(image.size))
        lefts, tops = (0, image.width - side), (0, image.height - side)
        corners = [(left, top, left + side, top + side) for left in lefts for top in tops]
        whole = replace(preprocessing, crop=1.0)
        seen = [preprocess(image.crop(box), whole) for box in corners]
        seen.append(preprocess(image, preprocessing))
    else:
        seen = [preprocess(image, preprocessing)]
    return seen if kind == "centre" else [*seen, *(np.ascontiguousarray(pixels[:, ::-1]) for pixels in seen)]


def to_tensor(pixels: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    """(n, H, W, 3) uint8 -> (n, 3, H, W) float32, normalised as the backbone was trained."""
    return normalise(torch.from_numpy(np.ascontiguousarray(pixels)), preprocessing)


def normalise(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """(n, H, W, 3) uint8 tensor -> (n, 3, H, W) float32."""
    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(preprocessing.std, device=pixels.device).view(1, 3, 1, 1) * 255
    return (pixels.permute(0, 3, 1, 2).float() - mean) / std


# -- models -------------------------------------------------------------------------------------------------------


class HubClassifier(nn.Module):
    """An image classifier of transformers behind the few methods of timm's models that this project uses."""

    def __init__(self, config, classes: int):
        super().__init__()
        from transformers import AutoModelForImageClassification

        config.num_labels = classes
        self.model = AutoModelForImageClassification.from_config(config)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.base_model(x).last_hidden_state  # (n, tokens, width)

    def forward_head(self, tokens: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return tokens[:, 0] if pre_logits else self.model.classifier(tokens[:, 0])

    def get_classifier(self) -> nn.Module:
        return self.model.classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


class PixelModel(nn.Module):
    """A network with its normalisation: (n, H, W, 3) uint8 -> logits (n, C) and the features (n, D) before the head."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing):
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = normalise(pixels, self.preprocessing)
        features = self.network.forward_head(self.network.forward_features(x), pre_logits=True)
        return self.network.get_classifier()(features), features


def build(backbone: Backbone, classes: int, hidden: Sequence[int] = (), dropout: float = 0.0, **kwargs) -> nn.Module:
    """The network of `backbone` with random weights and a head of `classes` outputs, in eval mode.

    hidden, dropout: see Method; without hidden layers the head is the network's own, linear in most.
    """
    network = _build(backbone, classes, {**backbone.kwargs, **kwargs})
    if hidden:
        sizes = (network.get_classifier().in_features, *hidden, classes)
        network.set_submodule(_head_name(network).rstrip("."), networks.mlp(sizes, dropout=dropout))
    return network.eval()


def _build(backbone: Backbone, classes: int, kwargs: dict) -> nn.Module:
    if backbone.library == "transformers":
        from transformers import AutoConfig

        made = AutoConfig.for_model(**kwargs) if kwargs else None
        return HubClassifier(made or _from_hub(lambda: AutoConfig.from_pretrained(backbone.hub)), classes)
    if backbone.library == "dogpoc":
        return networks.build(backbone.model, classes, **kwargs)
    return timm.create_model(backbone.model, pretrained=False, num_classes=classes, **kwargs)


def count_parameters(method: Method, breeds: int | None = None) -> tuple[int, int]:
    """How many parameters `method` has with `breeds` breeds (by default its study's), and how many it trains.

    Nothing is downloaded, and the weights take no memory.
    """
    with torch.device("meta"):
        network = build(method.backbones[0], breeds or method.breeds, method.hidden)
    parts = {"nothing": nn.Module(), "head": network.get_classifier(), "everything": network}
    total, trained = (sum(p.numel() for p in part.parameters()) for part in (network, parts[method.trained]))
    return total, trained


def describe(method: Method) -> dict:
    """A method as plain data for a list: its fields but recipes and networks, its input's size in pixels, and its
    numbers of parameters with as many breeds as its study had."""
    total, trained = count_parameters(method)
    told = ("name", "summary", "study", "source", "breeds", "published", "choices", "stands_for")
    return {
        **{name: value for name, value in as_plain(method).items() if name in told},
        "size": method.backbones[0].preprocessing.size,
        "pretrained": method.backbones[0].pretrained,
        "parameters": total,
        "trained_parameters": trained,
    }


def choose_backbone(backbones: Sequence[Backbone]) -> Backbone:
    """The first backbone whose weights are at hand as a file or that needs none, else the first that the hub has."""
    at_hand = [b for b in backbones if not b.pretrained or (b.weights and _weights_file(b))]
    on_hub = [b for b in backbones if b.hub]
    if not at_hand and not on_hub:
        raise ModelError(
            _("no weights for {model}: put {file} into weights/ or a folder named by DOGPOC_WEIGHTS").format(
                model=backbones[0].model, file=f"{backbones[0].weights}.safetensors"
            )
        )
    return (at_hand or on_hub)[0]


def load_backbone(network: nn.Module, backbone: Backbone, breeds: Sequence[str] = ()) -> dict[str, str] | None:
    """Fill `network`, all but its head, with pretrained weights; returns {"file", "sha256"}, or None from the hub.

    A network from scratch stays as it is.
    breeds: if given, what the head's outputs stand for: they start as the backbone's own ImageNet-1k classifier has
    them. ModelError where it has none, or does not know one of them.
    """
    if not backbone.pretrained:
        return None
    path = _weights_file(backbone)
    if path:
        state = _read_weights(path)
    elif backbone.library == "transformers":
        from transformers import AutoModel

        pretrained = _from_hub(lambda: AutoModel.from_pretrained(backbone.hub, use_safetensors=True)).state_dict()
        kept = network.model.base_model.state_dict()  # has no pooling layer
        prefix = f"model.{network.model.base_model_prefix}."
        state = {f"{prefix}{key}": value for key, value in pretrained.items() if key in kept}
    else:
        state = _from_hub(lambda: timm.create_model(backbone.hub, pretrained=True)).state_dict()
    if backbone.library == "dogpoc":  # has not all layers of the network that the weights are of
        kept = network.state_dict()
        state = {key: value for key, value in state.items() if key in kept}
    head = _head_name(network)
    if breeds:
        rows = imagenet_rows(breeds)
        own = {key.removeprefix(head): value for key, value in state.items() if key.startswith(head)}
        if any(len(value) != IMAGENET_CLASSES for value in own.values()) or not own:
            raise ModelError(_("{model} has no ImageNet-1k classifier to start from").format(model=backbone.model))
        _load(network.get_classifier(), {key: value[rows] for key, value in own.items()})
    _load(network, state, without=head)
    return {"file": path.name, "sha256": artifacts.sha256_of(path)} if path else None


def _weights_file(backbone: Backbone) -> Path | None:
    return artifacts.find_weights(f"{backbone.weights}.safetensors") if backbone.weights else None


def imagenet_rows(breeds: Sequence[str]) -> list[int]:
    """Index among ImageNet-1k's classes of each breed, by name. ModelError naming the first that is none of them."""
    from timm.data import ImageNetInfo

    def plain(name: str) -> str:
        return name.replace("_", " ").replace("-", " ").strip()

    rows: dict[str, set[int]] = {}
    for row, names in enumerate(ImageNetInfo("imagenet-1k").label_descriptions()):
        for name in names.split(","):
            for written in {plain(name), plain(name).casefold()}:
                rows.setdefault(written, set()).add(row)
    # as written first: a Cardigan is a dog, a cardigan is not
    found = [rows.get(plain(breed)) or rows.get(plain(breed).casefold(), set()) for breed in breeds]
    for breed, these in zip(breeds, found, strict=True):
        if len(these) != 1:
            raise ModelError(_("'{breed}' is not one of ImageNet-1k's classes").format(breed=breed))
    return [next(iter(these)) for these in found]


def _from_hub(load: Callable):
    try:
        return load()
    except (OSError, RuntimeError, ValueError) as error:  # what huggingface_hub raises offline, and for unknown names
        raise ModelError(
            _("the model hub did not give the weights ({reason}); connect, or put the file into weights/").format(
                reason=str(error).strip().splitlines()[0][:150]
            )
        ) from None


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            _("{path} is not a complete safetensors file ({reason}); restore it").format(path=path, reason=error)
        ) from None


def _load(module: nn.Module, state: dict[str, torch.Tensor], *, without: str = "") -> None:
    """Fill `module` with weights; those whose names start with `without`, if given, neither needed nor used."""
    state = {key: value.float() for key, value in state.items() if not (without and key.startswith(without))}
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes that differ
        missing, unexpected = [str(error).splitlines()[-1].strip()], []
    problems = [*(key for key in missing if not (without and key.startswith(without))), *unexpected]
    if problems:
        raise ModelError(_("the weights do not fit the network: {problems}").format(problems=", ".join(problems[:3])))


def _head_name(network: nn.Module) -> str:
    head = network.get_classifier()
    return next(f"{name}." for name, module in network.named_modules() if module is head)


# -- classifiers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Classifier:
    """A network ready to answer.

    model: eager torch, eval mode, for gradients and explanations.   runtime: name of what runs the forward pass.
    forward: (n, H, W, 3) uint8 -> (logits (n, C), features (n, D)), both float32, and what else `around` gives (see
    compile_classifier).   info: run.json, {} if untrained.
    """

    info: dict
    breeds: list[str]
    preprocessing: Preprocessing
    model: nn.Module
    runtime: str
    forward: Callable[[np.ndarray], tuple[np.ndarray, ...]]

    def logits(self, images: Iterable[Image.Image]) -> np.ndarray:
        """Logits (n, C) float32 of upright RGB photos."""
        pixels = np.stack([preprocess(image, self.preprocessing) for image in images])
        return self.forward(pixels)[0]


def load_classifier(
    dataset_name: str, run: str, *, runtime: str | None = None, around: type[PixelModel] = PixelModel
) -> Classifier:
    """The trained model of a run. `runtime`: "eager" for plain torch; by default the fastest one for this machine.
    `around`: see compile_classifier."""
    asked = artifacts.read_run(dataset_name, run)
    info = artifacts.trained_run(asked)
    if "views" in asked:
        raise ModelError(
            _("run '{run}' is run '{other}' with several views of each photo: choose '{other}'").format(
                run=run, other=info["run"]
            )
        )
    missing = artifacts.missing_weights(info)
    if missing:
        message = _("run '{run}' needs {file}, which does not come with the repository: {remedy}")
        raise ModelError(message.format(run=run, file=missing[0], remedy=missing[1]))
    backbone = Backbone(**{**info["method"]["backbone"], "preprocessing": _preprocessing(info)})
    network = build(backbone, len(info["breeds"]), info["method"].get("hidden", ()))
    if info["method"]["trained"] != "everything":
        untrained = info["method"]["trained"] == "nothing"
        used = load_backbone(network, backbone, info["breeds"] if untrained else ())
        if used != info["backbone"]:
            raise ModelError(
                _("{file} is not the backbone that run '{run}' was trained on: its SHA-256 differs").format(
                    file=(used or {}).get("file"), run=run
                )
            )
        if not untrained:
            _load(network.get_classifier(), _read_weights(artifacts.run_file(info, artifacts.WEIGHTS)))
    else:
        _load(network, _read_weights(artifacts.run_file(info, artifacts.WEIGHTS)))
    return compile_classifier(
        network, backbone.preprocessing, breeds=info["breeds"], info=info, runtime=runtime, around=around
    )


def _preprocessing(info: dict) -> Preprocessing:
    return Preprocessing(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in info["preprocessing"].items()}
    )


def compile_classifier(
    network: nn.Module,
    preprocessing: Preprocessing,
    *,
    breeds: Sequence[str],
    info: dict | None = None,
    runtime: str | None = None,
    around: type[PixelModel] = PixelModel,
) -> Classifier:
    """`network` on a runtime: CUDA where there is a GPU, else OpenVINO in float32, else eager torch.

    around: what gives pixels to the network; one that returns more than a PixelModel makes `forward` return it too.
    """
    model = around(network, preprocessing).eval()
    if torch.cuda.is_available() and runtime is None:
        name, forward = f"torch {torch.__version__} {torch.cuda.get_device_name()}", _eager(model.cuda(), "cuda")
    elif runtime == "eager" or (openvino := _openvino(model)) is None:
        name, forward = f"torch {torch.__version__} eager", _eager(model, "cpu")
    else:
        name, forward = openvino
    return Classifier(info or {}, list(breeds), preprocessing, network, name, forward)


def _eager(model: PixelModel, device: str) -> Callable:
    @torch.inference_mode()
    def forward(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = model(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
        return tuple(output.float().cpu().numpy() for output in outputs)

    return forward


def _openvino(model: PixelModel) -> tuple[str, Callable] | None:
    sys.modules.setdefault("openvino_telemetry", None)  # else its converter sends statistics to another host
    try:
        import openvino
    except ImportError:  # no wheel for this platform
        return None
    import warnings

    size = model.preprocessing.size
    with warnings.catch_warnings():  # deprecations of torch.jit inside openvino
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(model, example_input=torch.zeros(2, size, size, 3, dtype=torch.uint8))
    graph.reshape([-1, size, size, 3])
    # float32 as in training: half precision would give other numbers on other machines
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    # OpenVINO gives the compiling thread a stack for signals and frees it with the model, from any thread: the main
    # thread would then die of the next signal with a handler (SIGCHLD of a DataLoader's worker, Ctrl+C).
    with ThreadPoolExecutor(1, "compile") as thread:
        compiled = thread.submit(openvino.Core().compile_model, graph, "CPU", options).result()

    def forward(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        answer = compiled.create_infer_request().infer({0: np.ascontiguousarray(pixels)})
        return answer.to_tuple()

    return f"OpenVINO {version('openvino')}", forward


def stream(
    classifier: Classifier,
    paths: Sequence[Path],
    *,
    views: str = "centre",
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logits and features of photos on disk, batch by batch: decoding runs ahead of the forward pass, and memory
    does not grow with the number of photos. PhotoError of dogpoc.photo for a file that is not a photo.

    views: see VIEWS; of several, the logits are those of the mean probability, and the features the mean.
    """
    passes = VIEWS[views]
    at_once = max(1, batch_size // passes)

    def decode(batch: Sequence[Path]) -> np.ndarray:
        photos = (read_photo(path.read_bytes()) for path in batch)
        return np.stack([seen for photo in photos for seen in views_of(photo, views, classifier.preprocessing)])

    batches = (paths[start : start + at_once] for start in range(0, len(paths), at_once))
    with ThreadPoolExecutor(1, "decode") as pool, tqdm(total=len(paths), unit=" photos", disable=not progress) as bar:
        ahead = deque(pool.submit(decode, batch) for batch in islice(batches, BATCHES_AHEAD))
        while ahead:
            pixels = ahead.popleft().result()
            ahead.extend(pool.submit(decode, batch) for batch in islice(batches, 1))
            answers = classifier.forward(pixels)
            yield answers if passes == 1 else _mean_of_views(*answers, passes)
            bar.update(len(pixels) // passes)


def _mean_of_views(logits: np.ndarray, features: np.ndarray, passes: int) -> tuple[np.ndarray, np.ndarray]:
    probs = metrics.softmax(logits).reshape(-1, passes, logits.shape[1]).mean(axis=1)
    smallest = np.finfo(np.float32).tiny
    return np.log(np.maximum(probs, smallest)), features.reshape(-1, passes, features.shape[1]).mean(axis=1)


# -- evaluation ---------------------------------------------------------------------------------------------------


def evaluate(run: str, dataset_name: str, *, command: str, views: str | None = None, progress: bool = False) -> dict:
    """Store the logits of `run` for every validation and test photo of `dataset_name` that shows one of its breeds.

    views: see VIEWS; with several of each photo it is a run of its own, "{run}-{views}", that compares with the others.
    Resumes where a killed evaluation stopped. Returns run.json. Errors: ArtifactError, ModelError, DatasetError.
    """
    found = find_trained(run, dataset_name)
    trained, views = artifacts.trained_run(found), views or artifacts.kind_of_views(found) or "centre"
    name = trained["run"] if views == "centre" else f"{trained['run']}-{views}"
    seen = {} if views == "centre" else {"views": {"kind": views, "of": trained["run"]}}
    if seen:
        _require_place_for(name, seen, trained, dataset_name)
    digest = artifacts.read_dataset(dataset_name)["digest"]
    photos = artifacts.scored_photos(artifacts.read_photos(dataset_name), trained["breeds"])
    if not len(photos):
        raise ModelError(
            _("dataset '{dataset}' has no validation or test photo of a breed that run '{run}' knows").format(
                dataset=dataset_name, run=run
            )
        )
    paths = dataset.require_photos(photos)
    classifier = load_classifier(trained["dataset"], trained["run"])
    partial = _PartialLogits(dataset_name, name, trained, digest, len(photos))
    start = time.perf_counter()
    for logits, _features in stream(classifier, paths[partial.done :], views=views, progress=progress):
        partial.append(logits, time.perf_counter() - start)
    seconds = partial.finish()

    shown = set(photos["breed"])
    own = trained["dataset"] == dataset_name and views == "centre"
    info = {
        **{key: value for key, value in trained.items() if own or key != "embedding"},
        **seen,
        "dataset": dataset_name,
        "run": name,
        "files": {key: value for key, value in trained["files"].items() if own and key != "logits.npy"},
        "scored_breeds": [breed for breed in trained["breeds"] if breed in shown],
        "photos_digest": digest,
        "commands": {**trained["commands"], "evaluate": command},
        "evaluation_seconds": round(seconds, 3),
        "photos_per_second": round(len(photos) / seconds, 1),
        "hardware": {**trained["hardware"], "evaluate": hardware(_usable_cores())},
        "versions": {**trained["versions"], "evaluate": versions()},
        "runtime": classifier.runtime,
        "eager_agreement": _eager_agreement(trained, paths, partial.path, views),
    }
    stored = np.load(partial.path, mmap_mode="r")
    if seen:  # what it makes of unknown breeds was measured with one view
        info.pop("unknown", None)
        info["commands"].pop("unknown", None)
    info["temperature"] = artifacts.temperature(info, photos, stored)
    info["doubt"] = artifacts.doubt(info, photos, stored)
    info["metrics"] = artifacts.measure(info, photos, stored)
    return artifacts.write_run(info, {"logits.npy": partial.path})


def _require_place_for(name: str, seen: dict, trained: dict, dataset_name: str) -> None:
    """Raise ModelError where `name` is another run's, or where photos from elsewhere would come before those at home,
    which the temperature is from."""
    if name in artifacts.all_runs(dataset_name):
        stored = artifacts.read_run(dataset_name, name)
        if (stored.get("views"), stored["trained_on"]) != (seen["views"], trained["dataset"]):
            raise ModelError(_("'{run}' is the name of another run: rename that one").format(run=name))
    if dataset_name != trained["dataset"] and name not in artifacts.all_runs(trained["dataset"]):
        command = f"{artifacts.evaluate_command(trained['dataset'], trained['run'])} --views {seen['views']['kind']}"
        raise ModelError(_("'{run}' has no temperature yet. First run: {command}").format(run=name, command=command))


def find_trained(run: str, dataset_name: str) -> dict:
    """run.json of a trained run, by its name or by dataset/name, `dataset_name`'s own first."""
    home, _slash, name = run.rpartition("/")
    homes = [home] if home else sorted(artifacts.datasets(), key=lambda d: d != dataset_name)
    found = [artifacts.read_run(h, name) for h in homes if name in artifacts.all_runs(h)]
    found = [info for info in found if info["trained_on"] == info["dataset"]]
    if not found:
        known = sorted({name for home in artifacts.datasets() for name in artifacts.all_runs(home)})
        raise ModelError(
            _("no trained run '{run}'; found: {found}. Run: python -m dogpoc train METHOD --data {dataset}").format(
                run=run, found=", ".join(known) or _("none"), dataset=dataset_name
            )
        )
    if len(found) > 1 and found[0]["dataset"] != dataset_name:
        names = ", ".join(f"{info['dataset']}/{name}" for info in found)
        raise ModelError(_("several runs are called '{run}'; say which one: {names}").format(run=run, names=names))
    return found[0]


class _PartialLogits:
    """Logits on disk while an evaluation runs: a memory-mapped file, and how far it is filled."""

    SAVE_EVERY = 64  # batches

    def __init__(self, dataset_name: str, run: str, trained: dict, photos_digest: str, n: int):
        folder = artifacts.run_folder(dataset_name, run)
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.note = folder / ".partial-logits.npy", folder / ".partial-logits.json"
        self.key = {"weights": trained["files"].get(artifacts.WEIGHTS), "photos": photos_digest, "n": n}
        self.done, self.seconds, self.batches = 0, 0.0, 0
        shape = (n, len(trained["breeds"]))
        try:
            note = json.loads(self.note.read_bytes())
            if note["key"] == self.key:
                self.logits = np.lib.format.open_memmap(self.path, mode="r+")
                if self.logits.shape == shape:
                    self.done, self.seconds = note["done"], note["seconds"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing to resume
        if not self.done:
            self.logits = np.lib.format.open_memmap(self.path, mode="w+", dtype=np.float32, shape=shape)
            _reserve(self.path)
        self.before = self.seconds

    def append(self, logits: np.ndarray, seconds: float) -> None:
        self.logits[self.done : self.done + len(logits)] = logits
        self.done, self.seconds, self.batches = self.done + len(logits), self.before + seconds, self.batches + 1
        if self.batches % self.SAVE_EVERY == 0:
            self.logits.flush()
            note = {"key": self.key, "done": self.done, "seconds": self.seconds}
            artifacts.write_atomically(self.note, json.dumps(note).encode())

    def finish(self) -> float:
        """Flush; returns the seconds that decoding and the forward passes took, over all attempts."""
        self.logits.flush()
        del self.logits
        self.note.unlink(missing_ok=True)
        return self.seconds


def _reserve(path: Path) -> None:
    """Take a mapped file's space now, so that a full disk is an OSError here and not a crash in the middle."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _eager_agreement(trained: dict, paths: Sequence[Path], stored: Path, views: str) -> dict:
    """How the stored logits compare with eager float32 torch on evenly spaced photos."""
    rows = np.unique(np.linspace(0, len(paths) - 1, AGREEMENT_PHOTOS).astype(int))
    eager = load_classifier(trained["dataset"], trained["run"], runtime="eager")
    logits = np.concatenate([batch for batch, _f in stream(eager, [paths[row] for row in rows], views=views)])
    kept = np.load(stored, mmap_mode="r")[rows]
    return {
        "photos": len(rows),
        "top1": float((logits.argmax(axis=1) == kept.argmax(axis=1)).mean()),
        "largest_logit_difference": float(np.abs(logits - kept).max()),
    }


# -- features -----------------------------------------------------------------------------------------------------


def embed(run: str, dataset_name: str, *, command: str, progress: bool = False) -> dict:
    """Store the features of `run` for every photo of `dataset_name`, whatever its split and breed: their principal
    components, a t-SNE map, and the projection that brings new photos among them. See artifacts.read_features.

    Returns run.json, at once where the features of these weights and photos are stored already.
    Errors: ArtifactError (no such run, or not evaluated on this dataset), ModelError, DatasetError, PhotoError.
    """
    info = artifacts.read_run(dataset_name, run)
    home = artifacts.trained_run(info)
    photos = artifacts.read_photos(dataset_name)
    key = {
        "photos_digest": artifacts.read_dataset(dataset_name)["digest"],
        "weights": home["files"].get(artifacts.WEIGHTS),
        "seed": EMBEDDING_SEED,
    }
    if key.items() <= info.get("embedding", {}).items() and _is_embedded(info):
        return info
    paths = dataset.require_photos(photos)
    classifier = load_classifier(dataset_name, run)
    features = np.concatenate([batch for _logits, batch in stream(classifier, paths, progress=progress)])
    components, mean, basis = (np.ascontiguousarray(part, np.float16) for part in embedding.reduce(features))
    files = {
        "features.npy": _npy(components),
        "map.npy": _npy(embedding.project_tsne(components, EMBEDDING_SEED).astype(np.float16)),
        artifacts.PROJECTION: save({"mean": mean, "basis": basis}),
    }
    kept, whole = (float(np.var(part, axis=0, dtype=np.float64).sum()) for part in (components, features))
    made = {
        **key,
        "command": command,
        "dimensions": components.shape[1],
        "kept_variance": round(min(kept / whole, 1), 4) if whole else 1,
        "runtime": classifier.runtime,
    }
    return artifacts.write_run({**info, "embedding": made}, files)


def meet_unknown(run: str, dataset_name: str, photos: str, *, command: str, progress: bool = False) -> dict:
    """Measure how well `run` notices what it was not taught: the photos of a folder of other breeds, and noise.

    photos: name or path of a dataset none of whose breeds the run knows. Stores the strangeness of each (unknown.csv)
    and doubt.detection of each source. Returns run.json. Errors: ArtifactError, ModelError, DatasetError.
    """
    info = artifacts.read_run(dataset_name, run)
    if not info.get("doubt"):
        raise ModelError(
            _("run '{run}' has no thresholds: it was not validated. Run: {command}").format(
                run=run, command=artifacts.evaluate_command(dataset_name, run)
            )
        )
    paths = dataset.photos_in(photos)
    breeds = {dataset.breed_of(path.parent.name) for path in paths}
    if known := sorted(breeds & set(info["breeds"])):
        raise ModelError(
            _("run '{run}' knows {breeds}: choose photos of other breeds").format(run=run, breeds=known[0])
        )
    classifier = load_classifier(dataset_name, run)
    logits = {
        Path(photos).name: np.concatenate([batch for batch, _f in stream(classifier, paths, progress=progress)]),
        "noise": classifier.logits(noise()),
    }
    temperature = info["doubt"]["temperature"]
    parts = {source: doubt.strangeness(part, temperature).round(6) for source, part in logits.items()}
    table = pd.concat(pd.DataFrame({"source": source, "strangeness": part}) for source, part in parts.items())
    commands = {**info["commands"], "unknown": command}
    info = {**info, "commands": commands, "unknown": artifacts.measure_unknown(info, table)}
    return artifacts.write_run(info, {"unknown.csv": table.to_csv(index=False, lineterminator="\n").encode()})


def noise(pictures: int = 60, seed: int = 0) -> list[Image.Image]:
    """Pictures of nothing: a third grains, a third soft blotches, a third one colour."""
    rng, size = np.random.default_rng(seed), (224, 224)
    made = []
    for k in range(pictures):
        side = (224, 8, 1)[k % 3]
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        made.append(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    return made


def _is_embedded(info: dict) -> bool:
    try:
        return all(read(info) is not None for read in artifacts.EMBEDDING_READERS)
    except artifacts.ArtifactError:
        return False  # damaged: made again


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


# -- this machine -----------------------------------------------------------------------------------------------


def use_threads(n: int) -> None:
    """Let eager torch compute on `n` threads in this process; other runtimes have their own."""
    torch.set_num_threads(n)


def hardware(threads: int | None = None) -> str:
    """The machine's name as numbers need it: processor and threads (by default those of eager torch), or GPU."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    processor = torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    threads = threads or torch.get_num_threads()
    return f"{processor}, {threads} {'thread' if threads == 1 else 'threads'}"


def _usable_cores() -> int:
    """What reading photos and OpenVINO spread over, whatever the threads of eager torch."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    names = ("torch", "timm", "transformers", "numpy", "pillow", "openvino")
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "absent"


def as_plain(value) -> dict:
    """A method, backbone or preprocessing as plain data for run.json."""
    return json.loads(json.dumps(asdict(value)))
