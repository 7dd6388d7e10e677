"""Datasets from their official sites: archives over HTTPS, resumed, checked by SHA-256 and unpacked safely."""

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import requests
from tqdm import tqdm

from dogpoc.artifacts import sha256_of
from dogpoc.dataset import DatasetError, images_root
from dogpoc.translation import _, number

BASE_URL = "https://vision.stanford.edu/aditya86/ImageNetDogs/"
ATTEMPTS = 3  # connections in a row that may bring nothing new before we give up
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of data
CHUNK = 1 << 14  # bytes; a broken connection loses the last, unfinished one


@dataclass(frozen=True)
class Archive:
    """A tar file on the official site."""

    name: str
    bytes: int
    sha256: str


ARCHIVES = {  # sizes and SHA-256 as TensorFlow Datasets publishes them (url_checksums/stanford_dogs.txt)
    "stanford-dogs": (
        Archive("images.tar", 793579520, "a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58"),
        Archive("annotation.tar", 21852160, "662ed36f707be6b195c2fda392d8e153e83af28cedc8e2134a649f198def30fd"),
        Archive("lists.tar", 481280, "34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c"),
    )
}


def download(name: str, folder: Path, *, base_url: str = BASE_URL) -> Path:
    """Fetch dataset `name` (a key of ARCHIVES) into folder/name; returns that folder, complete.

    Everything is collected in folder/.name.part first. Whatever breaks off, the same call goes on from there, and
    folder/name either is not there or holds everything. Raises DatasetError.
    """
    if name not in ARCHIVES:
        raise DatasetError(
            _("'{name}' cannot be downloaded; found: {found}").format(name=name, found=", ".join(ARCHIVES))
        )
    target, parts = folder / name, folder / f".{name}.part"
    if images_root(target) != target:
        return target
    try:
        if target.is_dir():
            target.rmdir()  # only if it is empty
        parts.mkdir(parents=True, exist_ok=True)
        for archive in ARCHIVES[name]:
            _fetch(archive, parts / archive.name, base_url)
        tree = parts / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        for archive in ARCHIVES[name]:
            extract(parts / archive.name, tree)
        tree.replace(target)
    except OSError as error:
        raise DatasetError(
            _("{folder} cannot be written: {reason}. Make room or choose another folder, then run it again").format(
                folder=target, reason=error.strerror or error
            )
        ) from error
    shutil.rmtree(parts, ignore_errors=True)
    return target


def _fetch(archive: Archive, path: Path, base_url: str) -> None:
    """Bring `path` to the archive's full size, then check it. A file of the wrong content is removed."""
    url = base_url.rstrip("/") + "/" + archive.name
    most, left = _size(path), ATTEMPTS
    while _size(path) < archive.bytes:
        reason = _fetch_rest(url, path, archive.bytes)
        most, left = (_size(path), ATTEMPTS) if _size(path) > most else (most, left - 1)
        if not left:
            raise DatasetError(
                _("{url}: {reason}; {got} of {total} MB are here. Run it again: it goes on from there").format(
                    url=url, reason=reason, got=number(_size(path) / 1e6, 1), total=number(archive.bytes / 1e6, 1)
                )
            )
    found = sha256_of(path)
    if found != archive.sha256:
        path.unlink()
        raise DatasetError(
            _(
                "{url} is not the file it should be: SHA-256 {found}…, expected {expected}…. Removed; run it again"
            ).format(url=url, found=found[:16], expected=archive.sha256[:16])
        )


def _fetch_rest(url: str, path: Path, total: int) -> str:
    """One request for what is missing of `path`, up to `total` bytes; returns why it may have ended before that."""
    mark = path.with_name(path.name + ".version")  # the server's version of what is here
    headers = {"Accept-Encoding": "identity"}
    if had := _size(path):
        headers["Range"] = f"bytes={had}-"
        if version := mark.read_text() if mark.exists() else "":
            headers["If-Range"] = version  # another version is then sent from its start
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            status, start = response.status_code, response.headers.get("Content-Range", "")
            goes_on = status == 206 and start.startswith(f"bytes {had}-")
            if status in (200, 206, 416) and not goes_on:  # the whole file, or none that what is here belongs to
                path.unlink(missing_ok=True)
                mark.write_text(_version(response))
            if goes_on or status == 200:
                _append(response, path, total)
                return _("the server's file is too short")
            return _("the server answers {status}").format(status=status)
    except requests.RequestException as error:
        return _("no connection to the server ({error})").format(error=type(error).__name__)


def _append(response: requests.Response, path: Path, total: int) -> None:
    with (
        path.open("ab") as file,
        tqdm(desc=path.name, total=total, initial=file.tell(), unit="B", unit_scale=True, disable=None) as bar,
    ):
        for piece in response.iter_content(CHUNK):
            bar.update(file.write(piece[: total - file.tell()]))
            if file.tell() >= total:
                break


def _version(response: requests.Response) -> str:
    """What If-Range takes: a strong ETag, or else the date of the last change; "" where the server says neither."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def extract(archive: Path, folder: Path) -> None:
    """Unpack an uncompressed tar file into `folder`: plain files and folders only, nothing outside of it.

    Files get this user's own permissions. Raises DatasetError for anything else in the archive; it is no use then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    room = _size(archive)  # what is unpacked cannot be larger, unless the archive cheats
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tqdm(tar, _("unpacking {name}").format(name=archive.name), unit="", disable=None):
                if not 0 <= member.size <= room or not _is_harmless(member):
                    raise DatasetError(
                        _("{archive} holds '{name}', cut off or no plain file inside its folder: not unpacked").format(
                            archive=archive, name=ascii(member.name)[1:-1]
                        )
                    )
                room -= member.size
                path = folder / member.name
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as source, path.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (tarfile.TarError, EOFError, ValueError):
        raise DatasetError(_("{archive} is not a tar file, or is incomplete").format(archive=archive)) from None


def _is_harmless(member: tarfile.TarInfo) -> bool:
    """Whether it is a file or folder, no link or device, whose name stays inside: no "..", not absolute, no drive."""
    path = PurePosixPath(member.name)
    inside = not path.is_absolute() and ".." not in path.parts and not set(member.name) & set("\\:")
    return inside and (member.isreg() or member.isdir())
