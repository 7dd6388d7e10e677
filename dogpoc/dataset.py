"""Photos and breeds on disk -> a table of photos: near-duplicate groups, splits, and where each photo lies.

A dataset is a folder with one folder of photos per breed, as Stanford Dogs has it:

    <dataset>/Images/<wnid>-<Breed>/<photo>.jpg         or any <dataset>/<Breed>/<photo>
    <dataset>/Annotation/<wnid>-<Breed>/<photo>         boxes, optional
    <dataset>/{train,test}_list.mat                     the official split, optional; also in lists/
"""

import contextlib
import difflib
import hashlib
import io
import json
import math
import os
import re
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from platformdirs import user_cache_dir
from scipy.io import loadmat
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from dogpoc import DogpocError, artifacts
from dogpoc.photo import FORMATS, MAX_BYTES, PhotoError, read_photo
from dogpoc.translation import _, breed_label, number, percent

CHECKOUT = Path(__file__).parents[1]
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
SHARES = {"train": 9 / 16, "validation": 3 / 16, "test": 1 / 4}  # of a breed; 3/16 is a quarter of the rest
NEAR = 8  # bits of 64: on 6,477 photos of 47 breeds, 98 % of the pairs so near share their breed; of those at 10, 69 %
MIN_GROUPS = 4  # of a breed; so many always give each split one, three photos never do
MAX_XML = 100_000  # bytes; an annotation of Stanford Dogs has about 500
RESCAN_SECONDS = 60


class DatasetError(DogpocError):
    """A dataset is missing, or cannot be used as it is."""


@dataclass(frozen=True)
class SplitReport:
    """What was done to make a photo table; str() of it is for the user."""

    breeds: int
    breeds_found: int  # in the folder, before any choice of breeds
    photos: dict[str, int]  # by split
    exact: tuple[int, int]  # groups of identical files, and the photos in them
    near: tuple[int, int]  # groups of near-duplicates (identical files too), and the photos in them
    mixed: int  # near-duplicate groups with photos of several breeds
    unreadable: dict[str, str]  # photo id -> why
    skipped: list[str]  # what lies in the folder and is no photo
    official: bool  # split by the dataset's own lists
    unlisted: int = 0  # photos on none of the lists, left out
    dropped: int = 0  # photos of the official training list whose near-duplicate is on the test list, left out
    path: Path | None = None  # of the stored table

    def __str__(self) -> str:
        total = sum(self.photos.values())
        breeds = str(self.breeds)
        if self.breeds < self.breeds_found:
            breeds = _("{chosen} of {found}").format(chosen=self.breeds, found=self.breeds_found)
        parts = ", ".join(f"{name} {number(n)} ({percent(n / total)})" for name, n in self.photos.items())
        more = ", …" if len(self.skipped) > 5 else ""
        groups = _("{title}: {groups}, with {photos} photos")
        lines = [
            _("{photos} photos, breeds: {breeds}; {parts}").format(photos=number(total), breeds=breeds, parts=parts),
            _("split by the dataset's own lists") if self.official else "",
            groups.format(title=_("groups of identical files"), groups=self.exact[0], photos=self.exact[1]),
            groups.format(
                title=_("groups of near-duplicates, those included"), groups=self.near[0], photos=self.near[1]
            ),
            _("groups that span several breeds: {n} (kept together; no group crosses splits)").format(n=self.mixed),
            _("on none of the lists, left out: {n}").format(n=self.unlisted) if self.unlisted else "",
            _("train photos too like a test photo, left out: {n}").format(n=self.dropped) if self.dropped else "",
            _("unreadable, left out: {n}").format(n=len(self.unreadable)),
            *(f"  {name}: {reason}" for name, reason in self.unreadable.items()),
            _("not photos, left aside: {n}").format(n=len(self.skipped)),
            f"  {', '.join(map(ascii, self.skipped[:5]))}{more}" if self.skipped else "",
            str(self.path or ""),
        ]
        return "\n".join(filter(None, lines))


# -- folders ------------------------------------------------------------------------------------------------------


def data_folders() -> list[Path]:
    """Folders where photos may lie, first come first served: DOGPOC_DATA, data/, and ../shared/data."""
    named = [Path(folder) for folder in os.environ.get("DOGPOC_DATA", "").split(os.pathsep) if folder]
    places = [*named, CHECKOUT / "data", CHECKOUT.parent / "shared" / "data"]
    return list(dict.fromkeys(place.resolve() for place in places if place.is_dir()))


def find_dataset(name_or_path: str | Path) -> Path:
    """The folder of a dataset, by its name in data_folders() or by its path."""
    if Path(name_or_path).name == str(name_or_path) != "..":  # a name, then
        for folder in data_folders():
            if (folder / name_or_path).is_dir():
                return folder / name_or_path
            if folder.name == str(name_or_path):
                return folder
    if Path(name_or_path).is_dir():
        return Path(name_or_path).resolve()
    found = {path.name for folder in data_folders() for path in (folder, *_visible(folder)) if _holds_photos(path)}
    raise DatasetError(
        _(
            "no dataset '{name}'; expected a folder with one folder of photos per breed; found: {found}. "
            "Set DOGPOC_DATA to the folder that holds it, or run: python -m dogpoc download stanford-dogs"
        ).format(name=name_or_path, found=", ".join(sorted(found)) or _("none"))
    )


def images_root(folder: Path) -> Path:
    """The folder that holds the breeds' folders; photo ids start there."""
    places = (folder / name for name in ("images/Images", "Images", "images"))
    return next((place for place in places if place.is_dir()), folder)


def photos_in(name_or_path: str | Path) -> list[Path]:
    """Every photo of a dataset's folder, whatever its breed, sorted. DatasetError where there is none."""
    folder = find_dataset(name_or_path)
    files, _skipped = _list_photos(images_root(folder).resolve())
    if not files:
        raise DatasetError(_("no photos in {folder}").format(folder=folder))
    return sorted(path for paths in files.values() for path in paths)


def breed_of(folder_name: str) -> str:
    """The breed that a folder holds.

    >>> breed_of("n02088094-Afghan_hound"), breed_of("soft-coated_wheaten_terrier")
    ('Afghan_hound', 'soft-coated_wheaten_terrier')
    """
    return re.sub(r"^n\d{8}-", "", folder_name)


def _holds_photos(folder: Path) -> bool:
    try:
        inner = [path for path in _visible(images_root(folder)) if path.is_dir()]
        return any(_is_photo(path) for breed in inner for path in _visible(breed))
    except DatasetError:
        return False


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, hidden files apart."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DatasetError(_("{path} cannot be read: {reason}").format(path=folder, reason=error.strerror)) from None


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _list_photos(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Photo files by breed, and the names of what else lies in the folder (hidden files apart)."""
    files, skipped = {}, []
    for folder in _visible(root):
        inner = _visible(folder) if folder.is_dir() and _stays_in(root, folder) else []
        photos = {path: None for path in inner if _is_photo(path) and _stays_in(root, path)}
        if not photos:
            skipped.append(folder.name)
            continue
        skipped += [path.relative_to(root).as_posix() for path in inner if path not in photos]
        same = [breed for breed in files if _key(breed) == _key(breed_of(folder.name))]
        if same:
            raise DatasetError(
                _(
                    "two folders in {root} name the breed '{breed}'; expected one folder per breed. "
                    "Rename one of them, or put their photos together"
                ).format(root=root, breed=same[0])
            )
        files[breed_of(folder.name)] = list(photos)
    return files, skipped


def _stays_in(root: Path, path: Path) -> bool:
    """Whether a path is no link that leads out of `root`, and its name is valid Unicode (on Linux it need not be)."""
    inside = not path.is_symlink() or path.resolve().is_relative_to(root)
    return inside and path.name == path.name.encode(errors="ignore").decode()


# -- breeds -------------------------------------------------------------------------------------------------------


def _key(breed: str) -> str:
    return re.sub(r"[\s_-]+", "_", breed_of(breed.strip()).casefold())


def select_breeds(counts: Mapping[str, int], wanted: str | Sequence[str]) -> list[str]:
    """Breeds chosen from `counts` (breed -> photos), sorted by name.

    wanted: names (a list, or joined by commas; spaces or underscores), or a number of breeds (those with the most
    photos, ties by name), or "=" and a number or range of photos (the breeds that have exactly so many).

    >>> counts = {"beagle": 150, "pug": 200, "Siberian_husky": 152}
    >>> select_breeds(counts, "PUG, siberian husky"), select_breeds(counts, "2"), select_breeds(counts, "=150-152")
    (['Siberian_husky', 'pug'], ['Siberian_husky', 'pug'], ['Siberian_husky', 'beagle'])
    """
    text = wanted.strip() if isinstance(wanted, str) else ",".join(wanted)
    size = re.fullmatch(r"=\s*(\d+)(?:\s*-\s*(\d+))?", text)
    if size:
        low, high = int(size[1]), int(size[2] or size[1])
        chosen = [breed for breed, n in counts.items() if low <= n <= high]
        if not chosen:
            raise DatasetError(
                _("no breed has {wanted} photos; found: {low} to {high}").format(
                    wanted=text[1:], low=min(counts.values()), high=max(counts.values())
                )
            )
        return sorted(chosen)
    if text.isdecimal():
        if not 1 <= int(text) <= len(counts):
            raise DatasetError(_("{n} breeds asked for; found: {found}").format(n=text, found=len(counts)))
        return sorted(sorted(counts, key=lambda breed: (-counts[breed], breed))[: int(text)])
    return sorted({_known_breed(name, counts) for name in text.split(",")})


def _known_breed(name: str, breeds: Collection[str]) -> str:
    by_key = {_key(breed): breed for breed in breeds}
    if _key(name) in by_key:
        return by_key[_key(name)]
    close = [breed_label(by_key[key]) for key in difflib.get_close_matches(_key(name), by_key, n=3)]
    raise DatasetError(
        _("no breed '{name}' in the dataset; close: {close}; {n} breeds in all").format(
            name=name.strip(), close=", ".join(close) or _("none"), n=len(by_key)
        )
    )


# -- near-duplicates ----------------------------------------------------------------------------------------------


def perceptual_hashes(image: Image.Image) -> tuple[int, int]:
    """64-bit pHash (Zauner 2010) of a photo, and of its mirror image, as unsigned integers."""
    small = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)  # what pHash looks at
    return int(str(imagehash.phash(small)), 16), int(str(imagehash.phash(ImageOps.mirror(small))), 16)


def near_duplicate_groups(hashes: np.ndarray, mirrored: np.ndarray, *, block: int = 256) -> np.ndarray:
    """Group number of each photo, (n,) int64, in order of first appearance: photos linked by chains of near pairs.

    hashes, mirrored: (n,) uint64, of the photos and of their mirror images. A pair is near if its hashes differ by at
    most NEAR bits, or if each differs so little from the other's mirror image (in 6,477 photos 4 pairs do, and all show
    one scene mirrored; of the 9 that do one way only, none does). Memory grows with block * n, not n * n.
    """
    both, photos = np.unique(np.stack([hashes, mirrored], axis=1), axis=0, return_inverse=True)
    hashes, mirrored = both.T  # many copies of one photo would make very many pairs
    pairs = []
    for start in range(0, len(hashes), block):
        rows = slice(start, start + block)
        straight = np.bitwise_count(hashes[rows, None] ^ hashes[start:])  # (block, n - start) uint8
        there = np.bitwise_count(hashes[rows, None] ^ mirrored[start:])
        back = np.bitwise_count(mirrored[rows, None] ^ hashes[start:])
        pairs.append(np.argwhere((straight <= NEAR) | (np.maximum(there, back) <= NEAR)) + start)
    rows, columns = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(hashes), len(hashes)))
    labels = connected_components(graph, directed=False)[1]
    return pd.factorize(labels[photos])[0].astype(np.int64)


def _read_file(path: Path) -> dict | str:
    """One photo's row of the table with its two hashes, or why it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        photo = read_photo(data)
    except PhotoError as error:
        return str(error)
    except OSError as error:
        return error.strerror or type(error).__name__
    width, height = _upright_size(data, photo)
    phash, mirrored = perceptual_hashes(photo)
    sha256 = hashlib.sha256(data).hexdigest()
    size = {"width": width, "height": height, "bytes": len(data)}
    return {"sha256": sha256, **size, "hash": phash, "mirrored": mirrored}


def _upright_size(data: bytes, photo: Image.Image) -> tuple[int, int]:
    """Width and height of the upright photo in full; `photo`, as read, may be a half or less of that."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
    lying = (width > height) != (photo.width > photo.height)  # turned by its EXIF orientation
    return (height, width) if lying else (width, height)


# -- the table ----------------------------------------------------------------------------------------------------


def make_table(
    folder: Path, *, seed: int = 0, breeds: str | Sequence[str] | None = None, holdout: bool = False
) -> tuple[pd.DataFrame, SplitReport]:
    """The photo table of the dataset in `folder` (columns: artifacts.PHOTO_COLUMNS, sorted by id), and what was done.

    A quarter of the photos for test and a quarter of the rest for validation, breed by breed, near-duplicates never
    apart; or the official split where the lists are present. The same photos and seed always give the same splits.
    breeds:  see select_breeds.   holdout: every photo for test, nothing to train on.
    Raises DatasetError.
    """
    root = images_root(folder).resolve()
    files, skipped = _list_photos(root)
    if not files:
        raise DatasetError(
            _("no photos in {folder}; expected one folder of photos per breed, as in {example}").format(
                folder=folder, example="Images/n02088364-beagle/1.jpg"
            )
        )
    found = len(files)
    if breeds is not None:
        files = {breed: files[breed] for breed in select_breeds({b: len(paths) for b, paths in files.items()}, breeds)}
    if len(files) < 2 and not holdout:
        raise DatasetError(
            _("{folder} gives one breed only, '{breed}'; expected at least 2").format(
                folder=folder, breed=next(iter(files))
            )
        )
    official = None if holdout else _official_split(folder)
    table, unreadable = _read_files(root, files)
    unlisted = dropped = 0
    if holdout:
        table["split"] = "test"
    elif official is None:
        table["split"] = _allot(table, SHARES, seed)
    else:
        table, unlisted, dropped = _apply_lists(table, official, seed)
    if not holdout:
        _check_every_split(table, files)
    report = _report(table, breeds_found=found, unreadable=unreadable, skipped=skipped, official=official is not None)
    return table[list(artifacts.PHOTO_COLUMNS)], replace(report, unlisted=unlisted, dropped=dropped)


def _read_files(root: Path, files: Mapping[str, list[Path]]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Every photo decoded once: the rows with their groups, still without splits, and the unreadable ones."""
    breeds = {path.relative_to(root).as_posix(): breed for breed, paths in files.items() for path in paths}
    ids = sorted(breeds)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        read = threads.map(_read_file, (root / photo for photo in ids))
        results = dict(zip(ids, tqdm(read, _("reading photos"), len(ids), disable=None), strict=True))
    unreadable = {photo: result for photo, result in results.items() if isinstance(result, str)}
    rows = [{"id": i, "breed": breeds[i], **result} for i, result in results.items() if not isinstance(result, str)]
    if not rows:
        photo, reason = next(iter(unreadable.items()))
        raise DatasetError(
            _("none of the {n} photos in {root} can be read; the first, {photo}: {reason}").format(
                n=number(len(ids)), root=root, photo=photo, reason=reason
            )
        )
    table = pd.DataFrame(rows)
    hashes, mirrored = (table.pop(name).to_numpy(np.uint64) for name in ("hash", "mirrored"))
    table["group"] = near_duplicate_groups(hashes, mirrored)
    return table, unreadable


def _allot(table: pd.DataFrame, shares: Mapping[str, float], seed: int) -> pd.Series:
    """The split of each photo: each breed's groups, largest first, go to the split that lacks most photos of its share.

    A group of several breeds counts for the one that has most of its photos. Among groups of one size the order comes
    from the seed and the photos' SHA-256, so that it depends on no library and no file name.
    """
    counts = table.groupby(["group", "breed"]).size().sort_values(ascending=False, kind="stable")
    breed_by_group = counts.reset_index().drop_duplicates("group").set_index("group")["breed"]
    groups = table.groupby("group").agg(size=("id", "size"), first=("sha256", "min")).assign(breed=breed_by_group)
    groups["order"] = [hashlib.sha256(f"{seed} {first}".encode()).hexdigest() for first in groups["first"]]
    split = {}
    for _breed, part in groups.sort_values(["size", "order"], ascending=[False, True]).groupby("breed"):
        lacking = {name: share * part["size"].sum() for name, share in shares.items()}
        for group, size in part["size"].items():
            split[group] = max(lacking, key=lacking.get)
            lacking[split[group]] -= size
    return table["group"].map(split)


def _official_split(folder: Path) -> dict[str, str] | None:
    """Photo id -> "train" or "test" by the dataset's own lists; None where it has none."""
    for place in (folder, folder / "lists"):
        paths = {split: place / f"{split}_list.mat" for split in ("train", "test")}
        if all(path.is_file() for path in paths.values()):
            return {photo: split for split, path in paths.items() for photo in _read_list(path)}
    return None


def _read_list(path: Path) -> list[str]:
    try:
        return [str(entry.item()) for entry in loadmat(path, variable_names="file_list")["file_list"].ravel()]
    except Exception as error:  # a damaged .mat file raises nearly any class
        raise DatasetError(
            _("{path} is not a list of photos (a MATLAB file with 'file_list'): restore it or remove it").format(
                path=path
            )
        ) from error


def _apply_lists(table: pd.DataFrame, official: Mapping[str, str], seed: int) -> tuple[pd.DataFrame, int, int]:
    """The table split by the official lists; the official test part stays whole, near-copies of it in train go.

    Returns the table, the number of photos on none of the lists, and the number of near-copies; both are left out.
    """
    table = table.assign(split=table["id"].map(official))
    listed = table.dropna(subset="split")
    if listed.empty:
        raise DatasetError(
            _("the dataset's own lists name none of its photos, such as {photo}: restore or remove them").format(
                photo=table["id"].iloc[0]
            )
        )
    tested = listed["group"].isin(listed.loc[listed["split"] == "test", "group"])
    copies = tested & (listed["split"] == "train")
    kept = listed[~copies].reset_index(drop=True)
    train = kept["split"] == "train"
    kept.loc[train, "split"] = _allot(kept[train], {"train": 3 / 4, "validation": 1 / 4}, seed)
    return kept, len(table) - len(listed), int(copies.sum())


def _check_every_split(table: pd.DataFrame, breeds: Iterable[str]) -> None:
    splits, groups = (table.groupby("breed")[column].nunique() for column in ("split", "group"))
    few = [breed for breed in breeds if splits.get(breed, 0) < len(SHARES)]
    if few:
        raise DatasetError(
            _(
                "too few photos to split: {breeds} (readable ones, near-duplicates counted once); expected at least "
                "{least} a breed, and some on each official list. Add photos, or leave these breeds out with --breeds"
            ).format(breeds=", ".join(f"{b} {groups.get(b, 0)}" for b in few), least=MIN_GROUPS)
        )


def _report(table: pd.DataFrame, **facts: object) -> SplitReport:
    groups = table.groupby("group").agg(size=("id", "size"), breeds=("breed", "nunique"))
    exact = table.groupby("sha256").size()
    photos = table["split"].value_counts()
    return SplitReport(
        breeds=table["breed"].nunique(),
        photos={split: int(photos[split]) for split in artifacts.SPLITS if split in photos},
        exact=(int((exact > 1).sum()), int(exact[exact > 1].sum())),
        near=(int((groups["size"] > 1).sum()), int(groups.loc[groups["size"] > 1, "size"].sum())),
        mixed=int((groups["breeds"] > 1).sum()),
        **facts,
    )


def split(
    name_or_path: str | Path,
    *,
    name: str | None = None,
    seed: int = 0,
    breeds: str | Sequence[str] | None = None,
    holdout: bool = False,
    overwrite: bool = False,
) -> SplitReport:
    """Make and store the photo table of a dataset; see make_table.

    name: the dataset's name in artifacts/; by default its folder's, and for a part of its breeds, <folder>-<breeds>.
    Raises DatasetError, also where runs on other splits would lose their photo table, unless `overwrite`.
    """
    folder = find_dataset(name_or_path)
    table, report = make_table(folder, seed=seed, breeds=breeds, holdout=holdout)
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", folder.name).strip("-.")
    part = breeds is not None and report.breeds < report.breeds_found
    default = f"{plain}-{report.breeds}" if part else plain
    dataset = artifacts.check_name(name or default)
    orphans = [run for run in artifacts.all_runs(dataset) if _made_on_other(dataset, run, table)]
    if orphans and not overwrite:
        raise DatasetError(
            _(
                "dataset '{dataset}' has runs on other splits than these: {runs}. "
                "Store these under another name with --name, or remove the runs, or say --force"
            ).format(dataset=dataset, runs=", ".join(orphans))
        )
    about = {"seed": seed, "wanted": breeds, "holdout": holdout, "report": asdict(report)}
    return replace(report, path=artifacts.write_photos(dataset, table, about))


def _made_on_other(dataset: str, run: str, table: pd.DataFrame) -> bool:
    try:
        return artifacts.read_run(dataset, run)["photos_digest"] != artifacts.photos_digest(table)
    except artifacts.ArtifactError:  # damaged: it may be restored, and then needs its table
        return True


# -- boxes --------------------------------------------------------------------------------------------------------


def boxes(folder: Path, photo_id: str) -> list[tuple[int, int, int, int]]:
    """Where the dogs are in a photo, (left, top, right, bottom) in pixels of the full photo; [] where nobody said.

    Read from the dataset's Annotation folder. Raises DatasetError for a file that is not such an annotation.
    """
    places = (folder / name for name in ("annotations/Annotation", "Annotation"))
    root = next((place.resolve() for place in places if place.is_dir()), None)
    path = root and (root / photo_id).with_suffix("").resolve()
    if not path or not path.is_relative_to(root) or not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            text = file.read(MAX_XML + 1).decode()
        if "<!" in text:  # no document types, so no entities to expand
            raise ValueError
        found = [
            tuple(int(box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
            for box in ET.fromstring(text).iterfind("object/bndbox")
        ]
    except (ET.ParseError, ValueError, TypeError, OSError):
        raise DatasetError(
            _("{path} is not an annotation with boxes (XML, object/bndbox): restore it or remove it").format(path=path)
        ) from None
    return [box for box in found if box[0] < box[2] and box[1] < box[3]]


# -- photos by their SHA-256 --------------------------------------------------------------------------------------

State = tuple[int, int]  # a file's size in bytes, and when it changed, in ns

_lock = threading.Lock()
_listing: dict[tuple[Path, ...], tuple[float, dict[str, State]]] = {}  # folders -> when listed, path -> state
_hashes: dict[str, tuple[State, str]] = {}  # path -> state, SHA-256
_places: dict[str, list[str]] = {}  # SHA-256 -> paths of identical files


def photo_paths(sha256s: Iterable[str], sizes: Iterable[int] | None = None) -> dict[str, Path]:
    """Where photos lie on this machine: SHA-256 -> path, for those found anywhere below data_folders().

    sizes: the photos' sizes in bytes, where they are known; other files are then not even hashed.
    Hashes are remembered in a file in DOGPOC_CACHE or the user's cache folder. A file that has vanished or changed is
    not served; new files are noticed when a photo is missing, RESCAN_SECONDS after the last look at the latest.
    """
    wanted, folders = set(sha256s), tuple(data_folders())
    with _lock:
        found = _unchanged(wanted) if folders in _listing else {}
        if len(found) < len(wanted):
            _look_for_photos(folders, None if sizes is None else set(map(int, sizes)))
            found = _unchanged(wanted)
    return found


def require_photos(table: pd.DataFrame) -> list[Path]:
    """Where each photo of a table lies, row by row. Raises DatasetError if one is not on this machine."""
    found = photo_paths(table["sha256"], table["bytes"])
    missing = [photo for photo, sha256 in zip(table["id"], table["sha256"], strict=True) if sha256 not in found]
    if missing:
        raise DatasetError(
            _(
                "{missing} of {n} photos are not on this machine, the first is {photo}; searched: {folders}. "
                "Set DOGPOC_DATA to the folder that holds them"
            ).format(
                missing=number(len(missing)),
                n=number(len(table)),
                photo=missing[0],
                folders=", ".join(map(str, data_folders())) or _("none"),
            )
        )
    return [found[sha256] for sha256 in table["sha256"]]


def _unchanged(wanted: set[str]) -> dict[str, Path]:
    places = {sha256: [p for p in _places.get(sha256, ()) if _state(p) == _hashes[p][0]] for sha256 in wanted}
    return {sha256: Path(paths[0]) for sha256, paths in places.items() if paths}


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - thousands of times; a Path costs more than the call
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _look_for_photos(folders: tuple[Path, ...], sizes: set[int] | None) -> None:
    """List the folders if that is due, and hash what is new, has changed, and has one of the sizes."""
    listed, states = _listing.get(folders, (-math.inf, {}))
    if time.monotonic() - listed > RESCAN_SECONDS:
        states = {path: state for path in _photo_files(folders) if (state := _state(path))}
        _listing.clear()
        _listing[folders] = (time.monotonic(), states)
    if not _hashes:
        _hashes.update(_remembered())
    unknown = [path for path, state in states.items() if path not in _hashes or _hashes[path][0] != state]
    fresh = unknown if sizes is None else [path for path in unknown if states[path][0] in sizes]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        hashes = list(tqdm(threads.map(_sha256, fresh), _("looking for photos"), len(fresh), disable=None))
    _hashes.update({path: (states[path], sha256) for path, sha256 in zip(fresh, hashes, strict=True) if sha256})
    _places.clear()
    for path in (path for path in states if path in _hashes):
        _places.setdefault(_hashes[path][1], []).append(path)
    if fresh:
        _remember()


def _photo_files(folders: Iterable[Path]) -> Iterator[str]:
    """Photos at any depth below the folders; links are followed, each folder is visited once."""
    seen = set()
    for folder in folders:
        for place, inner, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(place)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            photos = (name for name in sorted(names) if os.path.splitext(name)[1].lower() in SUFFIXES)  # noqa: PTH122
            yield from (os.path.join(place, name) for name in photos if not name.startswith("."))  # noqa: PTH118


def _sha256(path: str) -> str | None:
    try:
        return artifacts.sha256_of(Path(path))
    except OSError:
        return None


def _cache_file() -> Path:
    return Path(os.environ.get("DOGPOC_CACHE") or user_cache_dir("dogpoc", appauthor=False)) / "photos.json"


def _remembered() -> dict[str, tuple[State, str]]:
    try:
        entries = json.loads(_cache_file().read_bytes())
        return {path: ((int(size), int(changed)), str(sha256)) for path, (size, changed, sha256) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember() -> None:
    entries = {path: (*state, sha256) for path, (state, sha256) in _hashes.items()}
    with contextlib.suppress(OSError):  # what cannot be remembered is hashed again
        artifacts.write_atomically(_cache_file(), json.dumps(entries).encode())
