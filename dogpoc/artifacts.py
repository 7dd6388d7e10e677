"""The only reader and writer of artifacts/: photo tables, and runs with their logits, weights and numbers.

    artifacts/<dataset>/photos.json               how the photo table was made; SHA-256 of the file beside it
    artifacts/<dataset>/photos.parquet            one row a photo, shared by every run on the dataset
    artifacts/<dataset>/<run>/run.json            what was run, how, and its numbers; SHA-256 of the files beside it
    artifacts/<dataset>/<run>/logits.npy          (n, C) float32, opened by memory mapping
    artifacts/<dataset>/<run>/history.csv         training, epoch by epoch     (only in the dataset it was trained on)
    artifacts/<dataset>/<run>/weights.safetensors what training changed, fp16  (only in the dataset it was trained on)
    artifacts/<dataset>/<run>/features.npy        (N, d) fp16 principal components of all photos' features; optional,
                                                  with map.npy, (N, 2) t-SNE, and projection.safetensors (mean, basis)
    artifacts/<dataset>/tuning-<method>.json      search for the recipe of a method's head; optional
    artifacts/<dataset>/<run>/fixres.json         right answers by train and test resolution, and by views; optional
    artifacts/<dataset>/<run>/explanations.json   how faithful the run's explanations are, photo by photo; optional
    artifacts/<dataset>/<run>/pictures.png        what the run expects each breed to look like; one below the other,
                                                  made by the model (only in the dataset it was trained on); optional

Files are never trusted: run.json and photos.json carry a digest of their own content, everything else is known by its
SHA-256 in them. Every write leaves the old artifact or the new one: new files are staged beside the old ones under
names that hold their SHA-256, and replacing the JSON file is the one moment at which they become valid.
"""

import hashlib
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dogpoc import DogpocError, metrics
from dogpoc import doubt as doubts
from dogpoc.translation import _

FORMAT = 1  # of run.json; raised when an old reader would misread a new file
PHOTO_COLUMNS = ("id", "breed", "split", "group", "sha256", "width", "height", "bytes")
SPLITS = ("train", "validation", "test")
SCORED_SPLITS = ("validation", "test")
EXPLANATIONS = "explanations.json"
FIXRES = "fixres.json"
WEIGHTS = "weights.safetensors"
PROJECTION = "projection.safetensors"
EMBEDDING_FILES = ("features.npy", "map.npy", PROJECTION)
SHIPPED_BYTES = 16_000_000  # of one file at most
PICTURES = "pictures.png"
BASELINE, NEW = "mobilenetv2-frozen", "vit-tiny-finetuned"  # the default roles
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


class ArtifactError(DogpocError):
    """An artifact is missing, damaged, or does not fit the others."""


@dataclass(frozen=True)
class Evaluation:
    """What one run answered for one split of a dataset's photos.

    photos: n rows of the photo table, in table order.   breeds: the C breeds scored, the run's and the dataset's both.
    logits: (n, C) float32.   true: (n,) int64, indices into breeds.   info: run.json.
    """

    dataset: str
    run: str
    split: str
    info: dict
    photos: pd.DataFrame
    breeds: list[str]
    logits: np.ndarray
    true: np.ndarray


# -- names and places ---------------------------------------------------------------------------------------------


def root() -> Path:
    """The folder of all artifacts: DOGPOC_ARTIFACTS, else artifacts/ in the checkout."""
    return Path(os.environ.get("DOGPOC_ARTIFACTS") or Path(__file__).parents[1] / "artifacts")


def datasets() -> list[str]:
    """Names of the datasets that have a photo table."""
    return sorted(path.parent.name for path in root().glob("*/photos.json"))


def runs(dataset: str) -> list[str]:
    """Names of the runs whose logits on `dataset` are stored."""
    return [
        name
        for name in all_runs(dataset)
        if any(any(run_folder(dataset, name).glob(pattern)) for pattern in ("logits.npy", ".logits.npy.*"))
    ]


def all_runs(dataset: str) -> list[str]:
    """Names of all runs of `dataset`, those that are trained and not yet evaluated too."""
    return sorted(path.parent.name for path in (root() / check_name(dataset)).glob("*/run.json"))


def check_name(name: str) -> str:
    """`name` itself if it can name a dataset or a run; names come from URLs and must not leave the folder."""
    if not _NAME.fullmatch(name):
        raise ArtifactError(
            _("'{name}' cannot be a name: letters, digits, '.', '_', '+' and '-' only.").format(name=name[:100])
        )
    return name


def run_folder(dataset: str, name: str) -> Path:
    """Where run `name` on `dataset` is stored."""
    return root() / check_name(dataset) / check_name(name)


# -- atomic writes ------------------------------------------------------------------------------------------------


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`; a kill or a full disk at any moment leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes it private
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- records: a JSON file that vouches for the files beside it ----------------------------------------------------


def _content_digest(record: Mapping) -> str:
    content = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _staged(folder: Path, name: str, sha256: str) -> Path:
    return folder / f".{name}.{sha256[:16]}"


def _write_record(path: Path, record: Mapping, files: Mapping[str, bytes | Path]) -> dict:
    """Store `files` (content, or a finished file in the same folder that is moved) and the record that vouches for
    them. Files of record["files"] that are not in `files` stay as they are. Returns the record as stored."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    digests, staged = dict(record.get("files", {})), {}
    for name, content in files.items():
        digests[name] = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256_of(content)
        staged[name] = _staged(folder, name, digests[name])
        if isinstance(content, bytes):
            write_atomically(staged[name], content)
        else:
            content.replace(staged[name])
    record = {**record, "format": FORMAT, "files": digests}
    record["sha256"] = _content_digest(record)
    write_atomically(path, json.dumps(record, indent=1, allow_nan=False).encode() + b"\n")
    for name, file in staged.items():
        file.replace(folder / name)
    for name in digests:
        for leftover in folder.glob(f".{name}.*"):
            leftover.unlink(missing_ok=True)
    return record


def _read_record(path: Path, remedy: str) -> dict:
    """The record at `path`, checked against its own digest. FileNotFoundError if there is none."""
    text = path.read_bytes()
    if not _is_intact(text):
        raise ArtifactError(_damaged(path, remedy))
    record = json.loads(text)
    if record["format"] > FORMAT:
        raise ArtifactError(_("{path} was written by a newer dogpoc; update this one").format(path=path))
    return record


@lru_cache(maxsize=256)
def _is_intact(text: bytes) -> bool:
    try:
        record = json.loads(text)
        return record["sha256"] == _content_digest(record) and record["format"] >= 1
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _damaged(path: Path, remedy: str) -> str:
    message = _("{path} is damaged: its SHA-256 is not the recorded one. Restore it, or run: {command}")
    return message.format(path=path, command=remedy)


def _checked_file(folder: Path, record: Mapping, name: str, remedy: str) -> Path:
    """Path of a file that `record` vouches for, once its SHA-256 is the recorded one."""
    sha256 = record["files"][name]
    staged = _staged(folder, name, sha256)
    path = staged if staged.exists() else folder / name  # a kill between the record and the renames leaves it staged
    try:
        status = path.stat()
    except OSError:
        message = _("{path} is missing. Restore it, or run: {command}")
        raise ArtifactError(message.format(path=path, command=remedy)) from None
    if _sha256_once(path, status.st_mtime_ns, status.st_size) != sha256:
        raise ArtifactError(_damaged(path, remedy))
    return path


@lru_cache(maxsize=256)
def _sha256_once(path: Path, _changed: int, _size: int) -> str:
    return sha256_of(path)


# -- photo tables -------------------------------------------------------------------------------------------------


def photos_digest(table: pd.DataFrame) -> str:
    """SHA-256 of a photo table's content, rows in order: two runs are comparable only if theirs are equal."""
    digest = hashlib.sha256()
    for row in table[list(PHOTO_COLUMNS)].itertuples(index=False, name=None):
        digest.update("\t".join(map(str, row)).encode() + b"\n")
    return digest.hexdigest()


def write_photos(dataset: str, table: pd.DataFrame, about: Mapping | None = None) -> Path:
    """Store the photo table of `dataset`, and in photos.json what is known `about` it; returns the table's path."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table[list(PHOTO_COLUMNS)], preserve_index=False), buffer, compression="zstd")
    folder = root() / check_name(dataset)
    record = {"dataset": dataset, "digest": photos_digest(table), **(about or {})}
    _write_record(folder / "photos.json", record, {"photos.parquet": buffer.getvalue()})
    return folder / "photos.parquet"


def read_dataset(dataset: str) -> dict:
    """photos.json of `dataset`: the digest of its photo table, and how the table was made."""
    try:
        return _read_record(root() / check_name(dataset) / "photos.json", f"python -m dogpoc split {dataset}")
    except OSError:
        message = _("no photo table for dataset '{dataset}'; found: {found}. Run: python -m dogpoc split {dataset}")
        raise ArtifactError(message.format(dataset=dataset, found=", ".join(datasets()) or _("none"))) from None


def read_photos(dataset: str) -> pd.DataFrame:
    """The photo table of `dataset`, one row a photo, with PHOTO_COLUMNS."""
    record = read_dataset(dataset)
    path = _checked_file(root() / dataset, record, "photos.parquet", f"python -m dogpoc split {dataset}")
    return _read_photos(path, record["files"]["photos.parquet"]).copy(deep=False)


@lru_cache(maxsize=16)
def _read_photos(path: Path, _sha256: str) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()[list(PHOTO_COLUMNS)]


def tuning_path(dataset: str, method: str) -> Path:
    """Where a search for the recipe of `method` on `dataset` is stored."""
    return root() / check_name(dataset) / f"tuning-{check_name(method)}.json"


def write_tuning(dataset: str, method: str, record: Mapping) -> None:
    """Store what dogpoc.tuning found."""
    write_atomically(tuning_path(dataset, method), json.dumps(record, indent=1, allow_nan=False).encode())


def read_tunings(dataset: str) -> list[dict]:
    """The searches for recipes on the photos of `dataset`, by method; see dogpoc.tuning. Raises ArtifactError.

    Searches on an earlier photo table are left out.
    """
    found, digest = [], read_dataset(dataset)["digest"]
    for path in sorted((root() / check_name(dataset)).glob("tuning-*.json")):
        try:
            record = json.loads(path.read_bytes())
            needed = {"method", "photos_digest", "epochs", "usual", "best", "importances", "trials"}
            whole = needed <= set(record) and all({"params", "losses", "pruned"} <= set(t) for t in record["trials"])
        except (ValueError, TypeError, OSError):
            whole = False
        if not whole:
            method = path.stem.removeprefix("tuning-")
            command = f"python -m dogpoc tune {method} --data {dataset}"
            raise ArtifactError(
                _("{path} is not a search for a recipe. Run: {command}").format(path=path, command=command)
            )
        if record["photos_digest"] == digest:
            found.append(record)
    return found


def read_examples(dataset: str) -> pd.DataFrame | None:
    """Photos picked by hand to show what makes the dataset hard: columns id, reason; None where there are none."""
    path = root() / check_name(dataset) / "examples.csv"
    if not path.is_file():
        return None
    try:
        return pd.read_csv(path, dtype=str)[["id", "reason"]].dropna()
    except (ValueError, KeyError, OSError):
        message = _("{path} is not a table with columns id and reason; restore it")
        raise ArtifactError(message.format(path=path)) from None


def scored_photos(table: pd.DataFrame, breeds: list[str]) -> pd.DataFrame:
    """The photos that a run which knows `breeds` is scored on, in the order of logits.npy: the validation photos,
    then the test photos, each in table order, so that either part is a slice of the mapped file."""
    parts = [table[(table["split"] == split) & table["breed"].isin(breeds)] for split in SCORED_SPLITS]
    return pd.concat(parts, ignore_index=True)


# -- runs ---------------------------------------------------------------------------------------------------------


def write_run(info: Mapping, files: Mapping[str, bytes | Path]) -> dict:
    """Store a run: `files` (content, or a finished file in the run's folder that is moved) and run.json."""
    return _write_record(run_folder(info["dataset"], info["run"]) / "run.json", info, files)


def read_run(dataset: str, name: str) -> dict:
    """run.json of run `name` on `dataset`, checked against its own digest."""
    path = run_folder(dataset, name) / "run.json"
    try:
        info = _read_record(path, evaluate_command(dataset, name))
    except OSError:
        message = _("no run '{run}' for dataset '{dataset}'; found: {found}. Run: {command}")
        found = ", ".join(all_runs(dataset)) or _("none")
        raise ArtifactError(
            message.format(run=name, dataset=dataset, found=found, command=evaluate_command(dataset, name))
        ) from None
    if (info["dataset"], info["run"]) != (dataset, name):
        raise ArtifactError(_damaged(path, evaluate_command(dataset, name)))
    return info


def evaluate_command(dataset: str, name: str) -> str:
    """The command that makes what is stored of a run, for those who miss it."""
    return f"python -m dogpoc evaluate {name} --data {dataset}"


def run_file(info: Mapping, name: str) -> Path:
    """Path of file `name` of the run described by `info`, once its SHA-256 is the one that run.json holds."""
    if name not in info["files"]:
        message = _("run '{run}' on dataset '{dataset}' has no {file}; found: {found}. Run: {command}")
        raise ArtifactError(
            message.format(
                run=info["run"],
                dataset=info["dataset"],
                file=name,
                found=", ".join(info["files"]) or _("none"),
                command=evaluate_command(info["dataset"], info["run"]),
            )
        )
    folder = run_folder(info["dataset"], info["run"])
    evaluate = evaluate_command(info["dataset"], info["run"])
    return _checked_file(folder, info, name, embed_command(info) if name in EMBEDDING_FILES else evaluate)


def trained_run(info: Mapping) -> dict:
    """run.json of the run that was trained: its weights give the answers of `info`, on whatever photos and by however
    many views of each (python -m dogpoc evaluate --views)."""
    return read_run(info["trained_on"], info["views"]["of"] if "views" in info else info["run"])


def kind_of_views(info: Mapping) -> str | None:
    """The kind of views of each photo that a run's answers are the mean of (dogpoc.methods.VIEWS); None for
    one view."""
    return info["views"]["kind"] if "views" in info else None


def looking_once(info: Mapping) -> Mapping:
    """run.json of the run that gives the same network one view of each photo of the same dataset: what is measured of
    the network's features and maps holds for both. `info` itself where it looks once, or there is no such run."""
    several = "views" in info and info["views"]["of"] in all_runs(info["dataset"])
    return read_run(info["dataset"], info["views"]["of"]) if several else info


def missing_weights(info: Mapping) -> tuple[str, str] | None:
    """The file that a run needs to answer new photos and that this machine lacks, and what to do; else None.

    A frozen backbone is not the project's own and does not ship; a run's own weights do, but the largest.
    """
    trained = trained_run(info)
    backbone = trained.get("backbone") if trained["method"]["trained"] != "everything" else None
    if backbone and not find_weights(backbone["file"]):
        return backbone["file"], _("put the file into weights/ or a folder named by DOGPOC_WEIGHTS")
    if is_left_out(trained, WEIGHTS):
        train = trained["commands"]["train"].removesuffix(" --resume")
        command = f"{train} --force && {evaluate_command(trained['dataset'], trained['run'])}"
        remedy = _("the file is too large to ship; to make it and the numbers that belong to it, run: {command}")
        return f"{trained['run']}/{WEIGHTS}", remedy.format(command=command)
    return None


def is_left_out(info: Mapping, name: str) -> bool:
    """Whether a file of a run is absent because it is too large for the repository, or of use with such a file only."""
    if name not in (WEIGHTS, PROJECTION) or name not in info["files"]:
        return False
    folder = run_folder(info["dataset"], info["run"])
    there = (folder / name).exists() or _staged(folder, name, info["files"][name]).exists()
    return not there and info["weights_bytes"] > SHIPPED_BYTES


def default_pair(dataset: str) -> tuple[str, str]:
    """The runs that take the roles of baseline and new unless the user chooses others: those of these names, or else of
    these methods, once they see each photo in one view. Raises ArtifactError where there are fewer than 2 runs."""
    names = runs(dataset)
    if len(names) < 2:
        raise ArtifactError(
            _(
                "evaluated runs of dataset '{dataset}': {n}; a comparison needs 2. "
                "Run: python -m dogpoc train METHOD --data {dataset}, then evaluate it"
            ).format(dataset=dataset, n=len(names))
        )
    if {BASELINE, NEW} <= set(names):
        return BASELINE, NEW
    facts = {name: _views_and_method(dataset, name) for name in names}

    def fits(role: str, name: str) -> tuple[bool, bool, bool]:  # sorts best first
        views, method = facts[name]
        return views, name != role, method != role

    baseline = min(names, key=lambda name: (*fits(BASELINE, name), NEW in (name, facts[name][1])))
    names.remove(baseline)
    return baseline, min(names, key=lambda name: fits(NEW, name))


def _views_and_method(dataset: str, name: str) -> tuple[bool, str]:
    """Whether a run has several views of each photo, and the name of its method; "" of a run that can't be read."""
    try:
        info = read_run(dataset, name)
    except ArtifactError:
        return False, ""
    return "views" in info, info["method"].get("name", "")


def stand_in(info: Mapping) -> str | None:
    """The run that answers new photos in place of one whose weights this machine lacks: same network, and complete."""
    for name in runs(info["dataset"]):
        try:
            other = read_run(info["dataset"], name)
            able = "views" not in other and missing_weights(other) is None
        except ArtifactError:
            continue
        if able and other["method"]["backbone"]["model"] == info["method"]["backbone"]["model"]:
            return name
    return None


def find_weights(file: str) -> Path | None:
    """A pretrained backbone's file in DOGPOC_WEIGHTS (a list of folders), weights/, or ../shared/weights."""
    checkout = Path(__file__).parents[1]
    named = [Path(name) for name in os.environ.get("DOGPOC_WEIGHTS", "").split(os.pathsep) if name]
    folders = [*named, checkout / "weights", checkout.parent / "shared" / "weights"]
    return next((folder / file for folder in folders if (folder / file).is_file()), None)


# -- logits and what follows from them ----------------------------------------------------------------------------


def read_logits(info: Mapping) -> np.ndarray:
    """(n, C) float32 logits of a run, memory-mapped: rows as scored_photos, columns as info["breeds"]."""
    path = run_file(info, "logits.npy")
    expected = (len(scored_photos(read_photos(info["dataset"]), info["breeds"])), len(info["breeds"]))
    return _read_logits(path, info["files"]["logits.npy"], expected)


@lru_cache(maxsize=64)
def _read_logits(path: Path, _sha256: str, expected: tuple[int, int]) -> np.ndarray:
    try:
        logits = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise ArtifactError(_("{path} is not a NumPy array of logits.").format(path=path)) from None
    if logits.shape != expected or logits.dtype != np.float32:
        raise ArtifactError(
            _(
                "{path} holds {shape} {dtype}; expected {expected} float32 (photos x breeds). Evaluate the run again."
            ).format(path=path, shape=logits.shape, dtype=logits.dtype, expected=expected)
        )
    block = 1 << 16
    if not all(np.isfinite(logits[start : start + block]).all() for start in range(0, len(logits), block)):
        raise ArtifactError(
            _("{path} holds logits that are not finite numbers. Train the run again.").format(path=path)
        )
    return logits


# -- features -----------------------------------------------------------------------------------------------------


def read_features(info: Mapping) -> np.ndarray | None:
    """(N, d) float16 principal components of a run's features, a row for each photo of the photo table, memory-mapped.

    None where `python -m dogpoc embed` has not been run for this run and photo table. Raises ArtifactError.
    """
    return _read_embedding(info, "features.npy")


def read_map(info: Mapping) -> np.ndarray | None:
    """(N, 2) float16 t-SNE of a run's features, rows and errors as read_features."""
    return _read_embedding(info, "map.npy", 2)


def read_projection(info: Mapping) -> tuple[np.ndarray, np.ndarray] | None:
    """What brings a new photo's features among those of read_features, by embedding.project: mean (D,) and basis
    (D, d), float32; None and errors as read_features, and None where it does not ship, as the run's weights."""
    info = _embedded(info)
    if info is None or is_left_out(info, PROJECTION):
        return None
    path = run_file(info, PROJECTION)
    try:
        parts = load_file(path)
        mean, basis = parts["mean"], parts["basis"]
    except (SafetensorError, KeyError) as error:
        message = _("{path} is not a projection ({reason}). Run: {command}")
        raise ArtifactError(message.format(path=path, reason=error, command=embed_command(info))) from None
    _check_half(path, basis, (mean.size, info["embedding"]["dimensions"]), embed_command(info))
    _check_half(path, mean, basis.shape[:1], embed_command(info))
    return mean.astype(np.float32), basis.astype(np.float32)


EMBEDDING_READERS = (read_features, read_map, read_projection)


def _embedded(info: Mapping) -> Mapping | None:
    """run.json of the run with the features of the run's network, if they are stored and for the photo table that
    is."""
    info = looking_once(info)
    made = info.get("embedding")
    return info if made and made["photos_digest"] == read_dataset(info["dataset"])["digest"] else None


def embed_command(info: Mapping) -> str:
    """The command that makes the features of a run, for those who miss them."""
    return f"python -m dogpoc embed {looking_once(info)['run']} --data {info['dataset']}"


def table_rows(evaluation: Evaluation) -> np.ndarray:
    """(n,) places of an evaluation's photos in the photo table: their rows in read_features and read_map."""
    return pd.Index(read_photos(evaluation.dataset)["id"]).get_indexer(evaluation.photos["id"])


def _read_embedding(info: Mapping, name: str, columns: int | None = None) -> np.ndarray | None:
    """File `name` of the features' run, `columns` wide (by default: as the features); None and errors as
    read_features."""
    info = _embedded(info)
    if info is None:
        return None
    expected = (len(read_photos(info["dataset"])), columns or info["embedding"]["dimensions"])
    return _read_half(run_file(info, name), info["files"][name], expected, embed_command(info))


@lru_cache(maxsize=64)
def _read_half(path: Path, _sha256: str, expected: tuple[int, ...], command: str) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise ArtifactError(
            _("{path} is not a NumPy array. Run: {command}").format(path=path, command=command)
        ) from None
    _check_half(path, array, expected, command)
    return array


def _check_half(path: Path, array: np.ndarray, expected: tuple[int, ...], command: str) -> None:
    """Raise ArtifactError unless `array` is float16 of the expected shape, and finite."""
    if array.shape != expected or array.dtype != np.float16 or not np.isfinite(array).all():
        message = _("{path} holds {shape} {dtype}; expected {expected} float16, all finite. Run: {command}")
        raise ArtifactError(
            message.format(path=path, shape=array.shape, dtype=array.dtype, expected=expected, command=command)
        )


# -- measurements of a run ----------------------------------------------------------------------------------------


def read_explanations(info: Mapping) -> dict | None:
    """What `python -m dogpoc explain-benchmark` measured of a run: see dogpoc.faithfulness.summarise.

    None where it was not run for this run's weights and photo table. Raises ArtifactError.
    """
    message = _("{path} is not a benchmark of explanations. Run: {command}")
    return _read_measurement(info, EXPLANATIONS, _are_explanations, message, explain_command(info))


def _are_explanations(record: Mapping) -> bool:
    return all(isinstance(record[part], list) for part in ("photos", "mosaics", "randomised"))


def explain_command(info: Mapping) -> str:
    """The command that measures the explanations of a run, for those who miss it."""
    return f"python -m dogpoc explain-benchmark --runs {looking_once(info)['run']} --data {info['dataset']}"


def read_fixres(info: Mapping) -> dict | None:
    """What `python -m dogpoc fixres` measured of a run: see dogpoc.fixres.fill_grid.

    None where it was not run for this run's weights and photo table. Raises ArtifactError.
    """
    message = _("{path} is not a grid of train and test sizes. Run: {command}")
    return _read_measurement(info, FIXRES, _is_grid, message, fixres_command(info))


def _is_grid(record: Mapping) -> bool:
    sizes = len(record["sizes"])
    with_norm = record.get("with_norm")  # None where the network ends in no norm; earlier records do not have it
    whole = np.shape(record["grid"]) == (sizes, sizes) and len(record["as_trained"]) == sizes
    return whole and isinstance(record["views"], dict) and (with_norm is None or np.shape(with_norm) == (sizes,))


def fixres_command(info: Mapping) -> str:
    """The command that measures a run at each pair of train and test size, for those who miss it."""
    return f"python -m dogpoc fixres {looking_once(info)['run']} --data {info['dataset']}"


def _read_measurement(
    info: Mapping, name: str, is_whole: Callable[[Mapping], bool], message: str, command: str
) -> dict | None:
    """JSON file `name` of the run that looks once; None where there is none of its weights and photo table as they
    are now. Raises ArtifactError(message) with `path` and `command` unless `is_whole` says yes of it."""
    info = looking_once(info)
    if name not in info["files"]:
        return None
    path = run_file(info, name)
    try:
        record = json.loads(path.read_bytes())
        whole, made_now = is_whole(record), _measured_from(info).items() <= record.items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = made_now = False
    if not whole:
        raise ArtifactError(message.format(path=path, command=command))
    return record if made_now else None


def _measured_from(info: Mapping) -> dict[str, str]:
    """What a measurement of a run holds for: its weights and the photo table as they are now."""
    return {"photos_digest": read_dataset(info["dataset"])["digest"], "weights": weights_digest(info)}


def weights_digest(info: Mapping) -> str:
    """SHA-256 of the file with what training changed in a run."""
    return trained_run(info)["files"][WEIGHTS]


def read_pictures(info: Mapping) -> np.ndarray | None:
    """(C, S, S, 3) uint8: for each breed of info["breeds"] a picture that the run made of it (dogpoc.imagination).

    None where `python -m dogpoc imagine` was not run for this run's weights. Raises ArtifactError.
    """
    home = trained_run(info)
    if PICTURES not in home["files"] or home.get("pictures", {}).get("weights") != weights_digest(info):
        return None
    path, breeds = run_file(home, PICTURES), len(home["breeds"])
    try:
        with Image.open(path, formats=["PNG"]) as sheet:
            side, height = sheet.size
            pixels = np.asarray(sheet.convert("RGB")) if height == side * breeds else None
    except (OSError, ValueError, Image.DecompressionBombError):
        pixels = None
    if pixels is None:
        message = _("{path} does not hold a picture for each breed. Run: {command}")
        raise ArtifactError(message.format(path=path, command=imagine_command(home)))
    return pixels.reshape(breeds, side, side, 3)


def imagine_command(info: Mapping) -> str:
    """The command that makes the pictures of a run, for those who miss them."""
    return f"python -m dogpoc imagine {trained_run(info)['run']} --data {info['trained_on']}"


# -- evaluations --------------------------------------------------------------------------------------------------


def read_evaluation(dataset: str, run: str, split: str = "test") -> Evaluation:
    """What `run` answered for the photos of `split` ("validation" or "test") in `dataset`, on the shared breeds."""
    info = read_run(dataset, run)
    table = read_photos(dataset)
    if info["photos_digest"] != read_dataset(dataset)["digest"]:
        raise ArtifactError(
            _(
                "run '{run}' was made on another photo list of '{dataset}' than the one stored; "
                "run: python -m dogpoc evaluate {run} --data {dataset}"
            ).format(run=run, dataset=dataset)
        )
    photos = scored_photos(table, info["breeds"])
    rows = np.flatnonzero(photos["split"] == split)
    return select_rows(info, photos, read_logits(info), rows, split)


def select_rows(info: Mapping, photos: pd.DataFrame, logits: np.ndarray, rows: np.ndarray, split: str) -> Evaluation:
    """The part of a run's logits that belongs to `rows`, with the columns of the scored breeds only."""
    breeds = list(info["scored_breeds"])
    columns = [info["breeds"].index(breed) for breed in breeds]
    if len(rows) and len(rows) == rows[-1] - rows[0] + 1:
        rows = slice(rows[0], rows[-1] + 1)  # stays a view of the mapped file
    part = photos.iloc[rows].reset_index(drop=True)
    chosen = logits[rows] if columns == list(range(logits.shape[1])) else logits[rows][:, columns]
    true = pd.Index(breeds).get_indexer(part["breed"]).astype(np.int64)
    return Evaluation(info["dataset"], info["run"], split, dict(info), part, breeds, chosen, true)


def leave_out(evaluation: Evaluation, ids: Collection[str]) -> Evaluation:
    """An evaluation without some of its photos. info stays that of all. Raises ArtifactError where none is left."""
    kept = ~evaluation.photos["id"].isin(list(ids)).to_numpy()
    if not kept.any():
        message = _("no {split} photo of '{dataset}' is left: the reviewed list calls all of them wrongly labelled")
        raise ArtifactError(message.format(split=evaluation.split, dataset=evaluation.dataset))
    photos = evaluation.photos[kept].reset_index(drop=True)
    return replace(evaluation, photos=photos, logits=evaluation.logits[kept], true=evaluation.true[kept])


def measure(info: Mapping, photos: pd.DataFrame, logits: np.ndarray) -> dict[str, dict[str, float]]:
    """The numbers of run.json's "metrics", by split, from the logits: see measure_part, and for the sets of breeds and
    strange photos, among all breeds that the run knows, doubt.measure."""
    numbers = {}
    for split in SCORED_SPLITS:
        rows = np.flatnonzero(photos["split"] == split)
        if not len(rows):
            continue
        part = select_rows(info, photos, logits, rows, split)
        numbers[split] = measure_part(part)
        if info.get("doubt"):
            numbers[split] |= doubts.measure(logits[rows], _all_breeds(info, part), doubts.from_plain(info["doubt"]))
        if list(info["scored_breeds"]) != list(info["breeds"]):
            right = logits[rows].argmax(axis=1) == _all_breeds(info, part)
            numbers[split]["top1_accuracy_all_breeds"] = float(right.mean())
    return numbers


def _all_breeds(info: Mapping, part: Evaluation) -> np.ndarray:
    """The true breeds of a part's photos, (n,), as indices into all breeds that the run knows."""
    return pd.Index(info["breeds"]).get_indexer(part.photos["breed"]).astype(np.int64)


def measure_unknown(info: Mapping, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The numbers of run.json's "unknown": source -> doubt.detection against the run's test photos.

    table: unknown.csv, columns source and strangeness.
    """
    test = scored_photos(read_photos(info["dataset"]), info["breeds"])["split"].to_numpy() == "test"
    known = doubts.strangeness(read_logits(info)[test], info["doubt"]["temperature"])
    return {
        source: doubts.detection(known, part["strangeness"].to_numpy(), info["doubt"]["strange"])
        for source, part in table.groupby("source")
    }


def measure_part(part: Evaluation) -> dict[str, float]:
    """metrics.summary, the ends of its 95 % intervals as "<name>_low" and "<name>_high", and "scaled_<name>" at the
    run's temperature, if it has one."""
    intervals = metrics.summary_intervals(part.logits, part.true)
    numbers = {
        **metrics.summary(part.logits, part.true),
        **{f"{name}_low": low for name, (low, _high) in intervals.items()},
        **{f"{name}_high": high for name, (_low, high) in intervals.items()},
    }
    if part.info.get("temperature"):
        numbers |= metrics.scaled_summary(part.logits, part.true, part.info["temperature"])
    return numbers


def temperature(info: Mapping, photos: pd.DataFrame, logits: np.ndarray) -> float | None:
    """The temperature of a run, fitted on the validation photos of the dataset that it was trained on; None where
    none can be: see metrics.fit_temperature. On other datasets it is the one from there."""
    if info["dataset"] != info["trained_on"]:
        return read_run(info["trained_on"], info["run"]).get("temperature")
    part = select_rows(info, photos, logits, np.flatnonzero(photos["split"] == "validation"), "validation")
    try:
        return metrics.fit_temperature(part.logits, part.true)
    except metrics.MetricError:
        return None


def doubt(info: Mapping, photos: pd.DataFrame, logits: np.ndarray) -> dict | None:
    """The thresholds of doubt.fit for a run with info["temperature"], as run.json holds them, from the same validation
    photos as the temperature; None where there are none."""
    if info["dataset"] != info["trained_on"]:
        return read_run(info["trained_on"], info["run"]).get("doubt")
    part = select_rows(info, photos, logits, np.flatnonzero(photos["split"] == "validation"), "validation")
    fitted = doubts.fit(part.logits, part.true, info["temperature"])
    return doubts.as_plain(fitted) if fitted else None


def read_history(info: Mapping) -> pd.DataFrame | None:
    """The training history of a run (epoch, phase, losses, accuracies, seconds); None where there is none."""
    trained = trained_run(info)
    return pd.read_csv(run_file(trained, "history.csv")) if "history.csv" in trained["files"] else None


def verify() -> Iterator[tuple[str, str | None]]:
    """Check every stored artifact; yields (what, None) where it is sound and (what, one line) where it differs."""
    for dataset in datasets():
        try:
            read_photos(dataset)
        except ArtifactError as error:
            yield dataset, str(error)
        else:
            yield dataset, None
        for name in all_runs(dataset):
            yield f"{dataset}/{name}", _difference(dataset, name)


def _difference(dataset: str, name: str) -> str | None:
    try:
        info = read_run(dataset, name)
        for file in info["files"]:
            if not is_left_out(info, file):
                run_file(info, file)
        for read in (*EMBEDDING_READERS, read_explanations, read_fixres, read_pictures):
            read(info)
        if "logits.npy" not in info["files"]:
            return None
        read_evaluation(dataset, name)
        photos = scored_photos(read_photos(dataset), info["breeds"])
        fitted = temperature(info, photos, read_logits(info))
        computed = measure(info, photos, read_logits(info))
    except ArtifactError as error:
        return str(error)
    if "unknown.csv" in info["files"]:
        table = pd.read_csv(run_file(info, "unknown.csv"))
        if pd.DataFrame(measure_unknown(info, table)).to_dict() != pd.DataFrame(info.get("unknown", {})).to_dict():
            return _("{path}: what is told of unknown photos is not what unknown.csv gives").format(
                path=run_folder(dataset, name) / "run.json"
            )
    if computed.keys() != info["metrics"].keys():
        return _("{path}: metrics cover {stored}; the logits give {computed}").format(
            path=run_folder(dataset, name) / "run.json", stored=list(info["metrics"]), computed=list(computed)
        )
    if not math.isclose(info.get("temperature") or 0, fitted or 0, rel_tol=1e-4):  # found by a search
        return _("{path}: temperature is {stored}; the validation logits give {value}").format(
            path=run_folder(dataset, name) / "run.json", stored=info.get("temperature"), value=fitted
        )
    thresholds = doubt(info, photos, read_logits(info)) if info.get("doubt") else None
    if thresholds and not math.isclose(info["doubt"]["strange"], thresholds["strange"], rel_tol=1e-6):
        return _("{path}: the threshold of strangeness is {stored}; the validation logits give {value}").format(
            path=run_folder(dataset, name) / "run.json", stored=info["doubt"]["strange"], value=thresholds["strange"]
        )
    for split, numbers in info["metrics"].items():
        for key, stored in numbers.items():
            value = computed[split].get(key, math.nan)
            resampled = key.endswith(("_low", "_high"))  # sums of float32: the last digits differ between processors
            if not math.isclose(stored, value, rel_tol=1e-9, abs_tol=1e-6 if resampled else 1e-12):
                return _("{path}: {split} {key} is {stored}; the logits give {value}").format(
                    path=run_folder(dataset, name) / "run.json", split=split, key=key, stored=stored, value=value
                )
    return None
