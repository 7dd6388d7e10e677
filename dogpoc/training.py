"""A method and a dataset become a run: a linear head on frozen features, then, if the method says so, everything."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import timm.optim
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import v2
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from dogpoc import artifacts, dataset, inference, metrics
from dogpoc.inference import ModelError
from dogpoc.methods import Backbone, Method, Preprocessing, Recipe, record
from dogpoc.photo import read_photo
from dogpoc.translation import _, number, percent

HISTORY = ("epoch", "phase", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds")
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the way from a phase's first weights to its last
KEPT_BYTES = 1_000_000_000  # of pixels that are decoded once and not at each epoch
BILINEAR = v2.InterpolationMode.BILINEAR
TURN, ZOOM = 0.02 * 360, 0.2  # degrees and share, to either side, of photos that are augmented so


def train(
    method: Method,
    dataset_name: str,
    *,
    name: str,
    command: str,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
) -> dict:
    """Train `method` on the train photos of `dataset_name` and store the run `name`; returns its run.json.

    Checkpoints lie beside the run until it is done: `resume` goes on from the last one, `force` starts over.
    Choices (best epoch, early stop) are made on the validation photos; test photos are not read.
    Errors: ArtifactError, DatasetError, ModelError.
    """
    checkpoints = _checkpoints(dataset_name, name, resume=resume, force=force)
    table = artifacts.read_photos(dataset_name)
    breeds, paths, labels = _taught(table, dataset_name)

    set_seed(method.seed)
    start = time.perf_counter()
    backbone = inference.choose_backbone(method.backbones)
    drop_path = method.finetune.drop_path if method.finetune else 0.0
    options = {"drop_path_rate": drop_path} if drop_path else {}
    network = inference.build(backbone, len(breeds), method.hidden, method.dropout, **options)
    source = inference.load_backbone(network, backbone, breeds if method.head == "imagenet" else ())
    history, share = [], None
    if method.probe:
        history.append(_probe(network, backbone.preprocessing, method, paths, labels, checkpoints / "probe", progress))
    if method.finetune:
        before = {key: value.clone() for key, value in network.state_dict().items()}
        history.append(_finetune(network, backbone, method, paths, labels, checkpoints / "finetune", progress))
        if method.finetune.interpolated:
            share = _interpolate(network, before, backbone.preprocessing, paths[1], labels[1])
    seconds = time.perf_counter() - start

    kept = {"nothing": nn.Module(), "head": network.get_classifier(), "everything": network}[method.trained]
    files = {}
    if kept.state_dict():
        files[artifacts.WEIGHTS] = save({k: value.half().contiguous() for k, value in kept.state_dict().items()})
    if history:
        epochs = pd.concat(history, ignore_index=True)
        seconds = max(seconds, float(epochs["seconds"].sum()))  # of a resumed run at least all its epochs
        files["history.csv"] = epochs.to_csv(index=False, lineterminator="\n").encode()
    info = {
        "dataset": dataset_name,
        "run": name,
        "trained_on": dataset_name,
        **_record(method, backbone, network, kept),
        "backbone": source,
        "commands": {"train": command},
        "breeds": breeds,
        "photos_digest": artifacts.photos_digest(table),
        "train_photos": len(paths[0]),
        "train_seconds": round(seconds, 1),
        "interpolated_share": share,
        "weights_bytes": len(files.get(artifacts.WEIGHTS, b"")),
        "files": {},
    }
    if int(os.environ.get("RANK", "0")) == 0:  # several processes by accelerate launch: the first one writes
        info = artifacts.write_run(info, files)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return info


def _taught(table: pd.DataFrame, dataset_name: str) -> tuple[list[str], list[list[Path]], list[np.ndarray]]:
    """The breeds that are taught, and the paths and labels of the train and of the validation photos.
    Errors: DatasetError (photos are not here), ModelError (nothing to learn, or nothing to choose by)."""
    parts = [table[table["split"] == split].reset_index(drop=True) for split in ("train", "validation")]
    breeds = sorted(parts[0]["breed"].unique())
    if len(breeds) < 2 or not len(parts[1]):
        raise ModelError(
            _(
                "dataset '{dataset}' cannot be trained on: {breeds} breeds in train, {photos} photos in validation"
            ).format(dataset=dataset_name, breeds=len(breeds), photos=len(parts[1]))
        )
    paths = [dataset.require_photos(part) for part in parts]
    return breeds, paths, [pd.Index(breeds).get_indexer(part["breed"]) for part in parts]


def _record(method: Method, backbone: Backbone, network: nn.Module, kept: nn.Module) -> dict:
    """What run.json says of the method and of the machine that trained it; kept: the part that was trained."""
    return {
        "method": record(method, backbone),
        "preprocessing": inference.as_plain(backbone.preprocessing),
        "seed": method.seed,
        "parameters": sum(p.numel() for p in network.parameters()),
        "trained_parameters": sum(p.numel() for p in kept.parameters()),
        "precision": _precision(),
        "hardware": {"train": inference.hardware()},
        "versions": {"train": inference.versions()},
    }


def _checkpoints(dataset_name: str, name: str, *, resume: bool, force: bool) -> Path:
    folder = artifacts.run_folder(dataset_name, name)
    checkpoints = folder / ".checkpoints"
    if force:
        shutil.rmtree(checkpoints, ignore_errors=True)
    elif (folder / "run.json").exists():
        raise ModelError(
            _("run '{run}' exists for dataset '{dataset}'; choose another --name, or --force to train it anew").format(
                run=name, dataset=dataset_name
            )
        )
    elif checkpoints.exists() and not resume:
        raise ModelError(
            _("run '{run}' was begun and not finished; --resume goes on with it, --force starts over").format(run=name)
        )
    return checkpoints


# -- the two phases -----------------------------------------------------------------------------------------------


def _probe(
    network: nn.Module,
    preprocessing: Preprocessing,
    method: Method,
    paths: list[list[Path]],
    labels: list[np.ndarray],
    checkpoints: Path,
    progress: bool,
) -> pd.DataFrame:
    """Train the head of `network`, in place: on features that are computed once, where no photo is augmented."""
    head, recipe = network.get_classifier(), method.probe
    if method.head == "new":
        make_new(head)
    if recipe.augmentation != "none":
        parts = _photo_parts(paths, labels, preprocessing, recipe, method.seed)
        network.requires_grad_(False)
        head.requires_grad_(True)
        model = inference.PixelModel(network, preprocessing)
        history = _fit(model, "probe", recipe, method.seed, parts, checkpoints, learning=head, progress=progress)
        network.requires_grad_(True)
        return history
    features = features_of(network, (_for_training(preprocessing, recipe), preprocessing), paths, progress)
    return fit_head(head, recipe, method.seed, features, labels, checkpoints, progress=progress)


def make_new(head: nn.Module) -> None:
    """Zeros in the last layer of a head: every breed is equally likely."""
    last = head[-1] if isinstance(head, nn.Sequential) else head
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


def fit_head(
    head: nn.Module,
    recipe: Recipe,
    seed: int,
    features: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    checkpoints: Path,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    progress: bool = False,
) -> pd.DataFrame:
    """Train a head, in place, on what it reads of the train and of the validation photos; returns its history.

    features: (n, D) float32 of each part, or what else the head reads.   labels: (n,) breed indices of each.
    callbacks: told of every epoch.
    """
    parts = [_Features(f, y) for f, y in zip(features, labels, strict=True)]
    return _fit(head, "probe", recipe, seed, parts, checkpoints, learning=head, callbacks=callbacks, progress=progress)


def _for_training(preprocessing: Preprocessing, recipe: Recipe) -> Preprocessing:
    return replace(preprocessing, size=recipe.size or preprocessing.size)


def features_of(
    network: nn.Module, seen: Sequence[Preprocessing], paths: Sequence[Sequence[Path]], progress: bool
) -> list[np.ndarray]:
    """(n, D) float32 for each part of the photos: what the head of `network` reads of them, seen as said."""
    classifiers = {each: inference.compile_classifier(network, each, breeds=()) for each in set(seen)}
    features = [
        np.concatenate([batch for _logits, batch in inference.stream(classifiers[each], part, progress=progress)])
        for each, part in zip(seen, paths, strict=True)
    ]
    network.cpu()
    return features


def _finetune(
    network: nn.Module,
    backbone: Backbone,
    method: Method,
    paths: list[list[Path]],
    labels: list[np.ndarray],
    checkpoints: Path,
    progress: bool,
) -> pd.DataFrame:
    """Train all weights of `network`, in place."""
    parts = _photo_parts(paths, labels, backbone.preprocessing, method.finetune, method.seed)
    model = inference.PixelModel(network, backbone.preprocessing)
    return _fit(
        model,
        "finetune",
        method.finetune,
        method.seed,
        parts,
        checkpoints,
        learning=model,
        statistics=not backbone.pretrained,
        progress=progress,
    )


def _photo_parts(
    paths: list[list[Path]], labels: list[np.ndarray], preprocessing: Preprocessing, recipe: Recipe, seed: int
) -> list["_Photos"]:
    """The photos to train on, augmented, and those to validate on."""
    return [
        _Photos(paths[0], labels[0], _for_training(preprocessing, recipe), recipe.augmentation, seed),
        _Photos(paths[1], labels[1], preprocessing, "none", seed),
    ]


def _interpolate(
    network: nn.Module,
    before: dict[str, torch.Tensor],
    preprocessing: Preprocessing,
    paths: Sequence[Path],
    labels: np.ndarray,
) -> float:
    """Move `network` back towards its weights `before` fine-tuning; returns the share of the way that is kept.

    Of SHARES, the one with the least log loss on the validation photos (Wortsman et al. 2022).
    """
    after = {key: value.clone() for key, value in network.state_dict().items()}

    def loss(share: float) -> float:
        _blend(network, before, after, share)
        classifier = inference.compile_classifier(network, preprocessing, breeds=())
        logits = np.concatenate([logits for logits, _features in inference.stream(classifier, paths)])
        network.cpu()
        return float(metrics.losses(logits, labels).mean())

    best = min(SHARES, key=loss)
    _blend(network, before, after, best)
    return best


def _blend(network: nn.Module, before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], share: float) -> None:
    moved = {key: torch.lerp(before[key], value, share) for key, value in after.items() if value.is_floating_point()}
    network.load_state_dict({**after, **moved})


def _fit(
    model: nn.Module,
    phase: str,
    recipe: Recipe,
    seed: int,
    parts: Sequence[torch.utils.data.Dataset],
    checkpoints: Path,
    *,
    learning: nn.Module,
    statistics: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    progress: bool,
) -> pd.DataFrame:
    """Run one recipe with transformers.Trainer; leaves the best weights (by validation loss) in `model`.

    learning: the part of `model` that is trained.   statistics: whether batch normalisation learns them.
    """
    on_photos = isinstance(parts[0], _Photos)
    fitted = _Fitted(model, recipe, learning, statistics)
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=2 * recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="no",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,
        bf16=_precision() == "bf16" and on_photos,
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=min(8, max(1, torch.get_num_threads() - 1)) if on_photos else 0,
        ddp_find_unused_parameters=False,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        seed=seed,
        data_seed=seed,
        disable_tqdm=True,
    )
    epochs = _Epochs(parts[0])
    epochs.trainer = trainer = _Trainer(
        model=fitted,
        args=arguments,
        train_dataset=parts[0],
        eval_dataset=parts[1],
        optimizers=(_optimizer(fitted.model, recipe), None),
        compute_metrics=_accuracy,
        callbacks=[epochs, EarlyStoppingCallback(recipe.patience), *callbacks, *([_Progress()] if progress else [])],
    )
    trainer.remove_callback(PrinterCallback)
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None
    trainer.train(resume_from_checkpoint=last)
    fitted.keep_average()
    model.cpu().eval()
    return _history(trainer.state.log_history, phase)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's, without weight decay on biases and norms, and with smaller rates for the layers nearer to the
    pixels."""
    network = getattr(model, "network", model)
    if recipe.layer_decay == 1.0 or not hasattr(network, "group_matcher"):
        return timm.optim.create_optimizer_v2(
            network, recipe.optimizer, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, momentum=0.0
        )
    groups = timm.optim.param_groups_layer_decay(network, recipe.weight_decay, layer_decay=recipe.layer_decay)
    groups = [{**group, "lr": recipe.learning_rate * group["lr_scale"]} for group in groups]
    return timm.optim.create_optimizer_v2(groups, recipe.optimizer, lr=recipe.learning_rate, weight_decay=0.0)


def _precision() -> str:
    """bf16 where the processor or the GPU computes in it, else fp32."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    abilities = torch.cpu.get_capabilities()
    return "bf16" if abilities.get("avx512_bf16") or abilities.get("amx_bf16") else "fp32"


class _Fitted(nn.Module):
    """What the Trainer sees: loss and logits, and a moving average of the weights that is validated and kept."""

    def __init__(self, model: nn.Module, recipe: Recipe, learning: nn.Module, statistics: bool):
        super().__init__()
        self.model, self.smoothing, self.statistics = model, recipe.smoothing, statistics
        self.learning = (learning,)  # in a tuple: its weights are the model's already
        self.average = None
        if recipe.averaging:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging))
            self.average.requires_grad_(False)

    def train(self, mode: bool = True) -> "_Fitted":
        super().train(mode)
        self.model.eval()  # a frozen backbone answers as it will later: without dropout
        self.learning[0].train(mode)
        for module in [] if self.statistics else self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()  # pretrained batch statistics stay: batches of one breed set would ruin them
        return self

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        averaged = self.average is not None and not self.training
        logits = (self.average if averaged else self.model)(pixels)
        logits = (logits[0] if isinstance(logits, tuple) else logits).float()
        smoothing = self.smoothing if self.training else 0.0
        return {"loss": F.cross_entropy(logits, labels, label_smoothing=smoothing), "logits": logits}

    def update_average(self) -> None:
        if self.average is not None:
            self.average.update_parameters(self.model)

    def keep_average(self) -> None:
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())


class _Trainer(Trainer):
    """Trainer that also counts the loss and accuracy of the batches it trains on."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        if model.training:
            right = (outputs["logits"].argmax(dim=1) == inputs["labels"]).sum()
            self.seen = self.seen + np.array(
                [len(inputs["labels"]), outputs["loss"].item() * len(inputs["labels"]), right.item()]
            )
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]


class _Epochs(TrainerCallback):
    """At each epoch: new augmentation, counters, and the training part of the history."""

    def __init__(self, photos: torch.utils.data.Dataset):
        self.photos, self.trainer = photos, None

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.photos.epoch = round(state.epoch or 0)
        self.trainer.seen = np.zeros(3)
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, model=None, **kwargs):
        model.update_average()

    def on_epoch_end(self, args, state, control, **kwargs):
        photos, loss, right = self.trainer.seen
        seconds = time.perf_counter() - self.start
        self.trainer.log({"train_loss": loss / photos, "train_accuracy": right / photos, "train_seconds": seconds})


class _Progress(ProgressCallback):
    """The Trainer's progress bar, with a line for each epoch instead of its raw records."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero and "eval_loss" in logs:
            before = state.log_history[-2]  # the training part of the same epoch
            line = _("epoch {epoch}: {accuracy} right in validation (training {learnt}), log loss {loss} ({fitted})")
            self.training_bar.write(
                line.format(
                    epoch=number(round(logs["epoch"])),
                    accuracy=percent(logs["eval_accuracy"]),
                    loss=number(logs["eval_loss"], 3),
                    learnt=percent(before["train_accuracy"]),
                    fitted=number(before["train_loss"], 3),
                ),
                file=sys.stderr,
            )


def _accuracy(prediction) -> dict[str, float]:
    logits, labels = prediction.predictions, prediction.label_ids
    return {"accuracy": float((logits.argmax(axis=1) == labels).mean())}


def _history(log: list[dict], phase: str) -> pd.DataFrame:
    """The Trainer's log, one row an epoch, with the columns of HISTORY."""
    rows: dict[int, dict] = {}
    for entry in log:
        if "train_accuracy" in entry or "eval_loss" in entry:
            rows.setdefault(round(entry["epoch"]), {}).update(entry)
    table = [
        {
            "epoch": epoch,
            "phase": phase,
            "train_loss": entry["train_loss"],
            "train_accuracy": entry["train_accuracy"],
            "validation_loss": entry["eval_loss"],
            "validation_accuracy": entry["eval_accuracy"],
            "seconds": round(entry["train_seconds"], 2),
        }
        for epoch, entry in sorted(rows.items())
    ]
    return pd.DataFrame(table, columns=list(HISTORY))


# -- what the Trainer is fed --------------------------------------------------------------------------------------


class _Features(torch.utils.data.Dataset):
    epoch = 0

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        self.features, self.labels = torch.from_numpy(features), torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"pixels": self.features[i], "labels": self.labels[i]}


class _Photos(torch.utils.data.Dataset):
    """Photos on disk, augmented as a function of (seed, epoch, index) alone: resuming and workers change nothing."""

    def __init__(
        self, paths: Sequence[Path], labels: np.ndarray, preprocessing: Preprocessing, augmentation: str, seed: int
    ):
        self.paths, self.labels, self.preprocessing, self.seed, self.epoch = paths, labels, preprocessing, seed, 0
        self.augment = _augmentation(augmentation, preprocessing.size)
        self.whole = augmentation == "crop-flip-colour"  # which crops the photo as it is on disk
        kept = not self.whole and len(paths) * 3 * preprocessing.size**2 <= KEPT_BYTES
        self.kept = torch.from_numpy(_decode(paths, preprocessing)) if kept else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"pixels": torch.from_numpy(self._pixels(i).copy()), "labels": int(self.labels[i])}

    def _pixels(self, i: int) -> np.ndarray:
        image = Image.fromarray(self._seen(i)) if not self.whole else read_photo(self.paths[i].read_bytes())
        if self.augment is None:
            return np.asarray(image)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence((self.seed, self.epoch, i)).generate_state(1)[0]))
            return np.asarray(self.augment(image))

    def _seen(self, i: int) -> np.ndarray:
        if self.kept is not None:
            return self.kept[i].numpy()
        return inference.preprocess(read_photo(self.paths[i].read_bytes()), self.preprocessing)


def _decode(paths: Sequence[Path], preprocessing: Preprocessing) -> np.ndarray:
    """(n, size, size, 3) uint8: all photos as the model sees them."""
    pixels = np.empty((len(paths), preprocessing.size, preprocessing.size, 3), np.uint8)
    for i, path in enumerate(paths):
        pixels[i] = inference.preprocess(read_photo(path.read_bytes()), preprocessing)
    return pixels


def _augmentation(name: str, size: int) -> v2.Transform | None:
    """What happens to a photo in training; its sides are `size` pixels afterwards."""
    margin = size // 4  # mirrored around the photo, so that turning and zooming out show no black
    known = {
        "none": (),
        "crop-flip-colour": (
            v2.RandomResizedCrop(size, (0.5, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.3),
        ),
        "flip-rotation": (v2.RandomHorizontalFlip(), *_moved(margin, size, v2.RandomRotation(TURN, BILINEAR))),
        "zoom-flip-rotation": (
            v2.RandomHorizontalFlip(),
            *_moved(margin, size, v2.RandomAffine(TURN, scale=(1 - ZOOM, 1 + ZOOM), interpolation=BILINEAR)),
        ),
    }
    return v2.Compose(known[name]) if known[name] else None


def _moved(margin: int, size: int, movement: v2.Transform) -> tuple[v2.Transform, ...]:
    return v2.Pad(margin, padding_mode="reflect"), movement, v2.CenterCrop(size)


def with_seed(method: Method, seed: int | None) -> Method:
    """`method` with another seed; as it is for None."""
    return method if seed is None else replace(method, seed=seed)
