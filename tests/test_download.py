import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dogpoc import dataset
from dogpoc import download as source
from dogpoc.dataset import DatasetError


def tar_of(*members: tuple[tarfile.TarInfo | str, bytes]) -> bytes:
    """An uncompressed tar file of (name or header, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for header, content in members:
            header = header if isinstance(header, tarfile.TarInfo) else tarfile.TarInfo(header)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


PHOTOS = tar_of(("Images/n02110958-pug/1.jpg", b"p" * 70_000), ("Images/n02088364-beagle/1.jpg", b"b" * 70_000))
LISTS = tar_of(("train_list.mat", b"train"), ("test_list.mat", b"test"))


class Server(ThreadingHTTPServer):
    """A server of `files`; each answer's body ends after the next number of bytes in `breaks`, if there is one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.requests = {}, [], []
        self.ranges, self.etag = True, '"1"'
        self.url = f"http://127.0.0.1:{self.server_port}/dogs/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = self.server.files.get(self.path.removeprefix("/dogs/"))
        asked = self.headers.get("Range")
        self.server.requests.append((self.path.rpartition("/")[2], asked, self.headers.get("If-Range")))
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if start and self.headers.get("If-Range", self.server.etag) != self.server.etag:
            start = 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.breaks.pop(0) if self.server.breaks else None])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        offer(server, monkeypatch, {"images.tar": PHOTOS, "lists.tar": LISTS})
        yield server
        server.shutdown()


def offer(server: Server, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Serve `files`, and expect exactly these."""
    server.files = dict(files)
    archives = tuple(source.Archive(n, len(data), hashlib.sha256(data).hexdigest()) for n, data in files.items())
    monkeypatch.setitem(source.ARCHIVES, "stanford-dogs", archives)


def refusal(folder, server: Server) -> str:
    """The one line with which a download fails; nothing is left under the dataset's name."""
    with pytest.raises(DatasetError) as caught:
        source.download("stanford-dogs", folder, base_url=server.url)
    assert "\n" not in str(caught.value)
    assert not (folder / "stanford-dogs").exists()
    return str(caught.value)


def test_the_archives_are_fetched_and_unpacked_and_nothing_else_stays(server, tmp_path):
    target = source.download("stanford-dogs", tmp_path, base_url=server.url)
    assert target == tmp_path / "stanford-dogs"
    assert (target / "Images/n02110958-pug/1.jpg").read_bytes() == b"p" * 70_000
    assert (target / "test_list.mat").read_bytes() == b"test"
    assert [path.name for path in tmp_path.iterdir()] == ["stanford-dogs"]


def test_what_is_there_already_is_not_fetched_again(server, tmp_path):
    source.download("stanford-dogs", tmp_path, base_url=server.url)
    server.requests.clear()
    assert source.download("stanford-dogs", tmp_path, base_url=server.url) == tmp_path / "stanford-dogs"
    assert server.requests == []


def test_a_connection_that_breaks_off_is_taken_up_where_it_broke(server, tmp_path):
    server.breaks = [3 * source.CHUNK, 2 * source.CHUNK + 5]  # of an unfinished chunk, nothing is kept
    target = source.download("stanford-dogs", tmp_path, base_url=server.url)
    asked = [(range_, version) for name, range_, version in server.requests if name == "images.tar"]
    assert asked == [(None, None), ("bytes=49152-", '"1"'), ("bytes=81920-", '"1"')]
    assert (target / "Images/n02088364-beagle/1.jpg").read_bytes() == b"b" * 70_000


def test_a_second_call_goes_on_where_the_first_one_stopped(server, tmp_path):
    server.breaks = [50_000, 0, 0, 0]
    line = refusal(tmp_path, server)
    assert "images.tar" in line
    assert "0.0 of 0.1 MB are here. Run it again" in line
    server.requests.clear()
    assert (source.download("stanford-dogs", tmp_path, base_url=server.url) / "Images").is_dir()
    assert server.requests[0] == ("images.tar", "bytes=49152-", '"1"')


def test_a_server_that_cannot_resume_sends_the_file_from_its_start(server, tmp_path):
    server.ranges, server.breaks = False, [50_000]
    target = source.download("stanford-dogs", tmp_path, base_url=server.url)
    assert (target / "Images/n02110958-pug/1.jpg").read_bytes() == b"p" * 70_000


def test_a_file_that_changed_on_the_server_is_fetched_from_its_start(server, tmp_path, monkeypatch):
    server.breaks = [50_000, 0, 0, 0]
    refusal(tmp_path, server)
    newer = tar_of(("Images/n02110958-pug/2.jpg", b"q" * 140_000))
    offer(server, monkeypatch, {"images.tar": newer, "lists.tar": LISTS})
    server.etag = '"2"'
    target = source.download("stanford-dogs", tmp_path, base_url=server.url)
    assert (target / "Images/n02110958-pug/2.jpg").read_bytes() == b"q" * 140_000


def test_more_on_disk_than_the_server_has_is_thrown_away(server, tmp_path):
    server.breaks = [50_000, 0, 0, 0]
    refusal(tmp_path, server)
    whole, server.files["images.tar"] = server.files["images.tar"], b"short"
    assert "the server" in refusal(tmp_path, server)  # which answers 416, then five bytes, then 416
    assert not (tmp_path / ".stanford-dogs.part" / "images.tar").exists()
    server.files["images.tar"] = whole
    assert (source.download("stanford-dogs", tmp_path, base_url=server.url) / "Images").is_dir()


def test_a_file_with_another_checksum_is_refused_and_removed_and_nothing_is_unpacked(server, tmp_path):
    server.files["images.tar"] = PHOTOS.replace(b"p" * 70_000, b"x" * 70_000)
    line = refusal(tmp_path, server)
    assert "images.tar is not the file it should be" in line
    assert not (tmp_path / ".stanford-dogs.part" / "images.tar").exists()
    server.files["images.tar"] = PHOTOS
    assert source.download("stanford-dogs", tmp_path, base_url=server.url).is_dir()


def test_a_server_without_the_file_is_told_in_one_line(server, tmp_path):
    del server.files["images.tar"]
    assert "the server answers 404" in refusal(tmp_path, server)


def test_without_network_one_line_says_so(tmp_path):
    with pytest.raises(DatasetError, match="no connection to the server") as caught:
        source.download("stanford-dogs", tmp_path, base_url="http://127.0.0.1:9/")
    assert "\n" not in str(caught.value)


def test_an_unknown_dataset_is_refused_with_those_that_exist(tmp_path):
    with pytest.raises(DatasetError, match="'cats' cannot be downloaded; found: stanford-dogs"):
        source.download("cats", tmp_path)


def test_a_folder_that_cannot_be_written_is_told_in_one_line(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert "cannot be written" in refusal(tmp_path / "file", server)


def test_the_official_archives_come_over_https_and_have_their_published_sizes():
    assert source.BASE_URL.startswith("https://")
    assert [archive.bytes for archive in source.ARCHIVES["stanford-dogs"]] == [793_579_520, 21_852_160, 481_280]


def header(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


EVIL = {
    "a name that climbs out": header("Images/../../escaped.txt"),
    "an absolute name": header("/tmp/escaped.txt"),
    "a drive": header("C:/escaped.txt"),
    "a backslash": header("..\\escaped.txt"),
    "a symbolic link": header("Images/link", tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": header("Images/link", tarfile.LNKTYPE, "../../escaped.txt"),
    "a device": header("Images/device", tarfile.CHRTYPE),
    "a pipe": header("Images/pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("member", EVIL.values(), ids=EVIL)
def test_an_archive_with_anything_but_plain_files_inside_is_not_unpacked(server, tmp_path, monkeypatch, member):
    inner = tmp_path / "a" / "b"
    offer(server, monkeypatch, {"images.tar": tar_of(("Images/pug/1.jpg", b"fine"), (member, b""))})
    assert "no plain file inside its folder" in refusal(inner, server)
    assert not list(tmp_path.rglob("escaped*"))
    assert not list(tmp_path.rglob("link"))


def test_an_archive_that_unpacks_to_more_than_itself_is_refused(tmp_path):
    bomb = header("Images/big", tarfile.GNUTYPE_SPARSE)
    data = bytearray(tar_of((bomb, b"")))
    data[386:398], data[398:410] = b"00000000000\0", b"00000000000\0"  # one piece, at 0, of no bytes
    data[482], data[483:495] = 0, b"77777777777\0"  # no more pieces; 8 GB when unpacked
    checksum = sum(data[:148]) + 8 * 32 + sum(data[156:512])
    data[148:156] = f"{checksum:06o}\0 ".encode()
    path = tmp_path / "bomb.tar"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="no plain file inside its folder"):
        source.extract(path, tmp_path / "out")


CUT = "cut off or no plain file"
NO_TAR = "is not a tar file, or is incomplete"


@pytest.mark.parametrize(("content", "line"), [(b"not a tar file", NO_TAR), (b"", NO_TAR), (PHOTOS[:60_000], CUT)])
def test_what_is_no_whole_tar_file_is_refused_in_one_line(tmp_path, content, line):
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(DatasetError, match=line):
        source.extract(tmp_path / "x.tar", tmp_path / "out")


def test_a_half_unpacked_tree_of_a_killed_call_is_replaced(server, tmp_path):
    leftover = tmp_path / ".stanford-dogs.part" / "tree" / "Images" / "half.jpg"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    target = source.download("stanford-dogs", tmp_path, base_url=server.url)
    assert not (target / "Images" / "half.jpg").exists()
    assert dataset.images_root(target) == target / "Images"
