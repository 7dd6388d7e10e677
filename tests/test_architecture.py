"""The design's rules, read from the source and from what Python really loads."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
CORE = sorted((CHECKOUT / "dogpoc").glob("*.py"))
PAGES = [CHECKOUT / "streamlit_app.py", *sorted((CHECKOUT / "pages").rglob("*.py"))]
LIVE = {"attention", "upload", "answering"}  # pages that take photos: torch comes with the first one
STORED = [path for path in PAGES if path.stem not in LIVE and path.parent.name != "live"]
MODEL_LIBRARIES = {"torch", "torchvision", "timm", "transformers"}
MODEL_MODULES = {
    "methods",
    "networks",
    "fixres",
    "training",
    "tuning",
    "inference",
    "explanation",
    "benchmark",
    "imagination",
}  # of dogpoc; only they may import those libraries
LOADS_TORCH = MODEL_MODULES - {"methods"}  # methods is plain data
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".gif"}


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Dotted names of all imports of a file, at any depth; `from a import b` gives "a" and "a.b"."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            yield from (package, *(f"{package}.{alias.name}" for alias in node.names))


def libraries(path: Path) -> set[str]:
    """The packages that a file imports."""
    return {name.split(".")[0] for name in imported(path)}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Dotted name and node of each call of a plain name: `np.load(x)` gives "np.load"."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def python(code: str) -> str:
    """Standard output of `code` in a Python of its own."""
    return subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_knows_nothing_of_the_pages(path):
    assert not libraries(path) & {"streamlit", "pages", ""}  # "": a relative import


@pytest.mark.parametrize("path", sorted((CHECKOUT / "pages").glob("*.py")), ids=name_of)
def test_a_page_that_a_fresh_server_runs_alone_starts_over_through_the_app(path):
    """Before its first st.navigation Streamlit runs pages/<name>.py for the address /<name>, without the app."""
    assert "shared.through_app" in [name for name, _call in calls(path)]
    assert f'page("{path.stem}"' in (CHECKOUT / "streamlit_app.py").read_text()


@pytest.mark.parametrize("path", [p for p in CORE if p.stem not in MODEL_MODULES] + PAGES, ids=name_of)
def test_only_the_model_modules_import_torch_timm_and_transformers(path):
    assert not libraries(path) & MODEL_LIBRARIES


@pytest.mark.parametrize("path", [p for p in CORE if p.stem not in LOADS_TORCH | {"__main__"}] + STORED, ids=name_of)
def test_what_shows_stored_results_does_not_import_the_model_modules(path):
    assert not set(imported(path)) & {f"dogpoc.{module}" for module in LOADS_TORCH}


def test_the_other_modules_of_the_core_load_no_torch():
    modules = ["dogpoc"] + [f"dogpoc.{p.stem}" for p in CORE if p.stem not in LOADS_TORCH | {"__init__"}]
    loaded = python(
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        f"    print(module, *({MODEL_LIBRARIES} & set(sys.modules)))\n"
    )
    assert loaded.splitlines() == modules


def test_the_start_page_loads_no_torch():
    loaded = python(
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "page = AppTest.from_file('streamlit_app.py', default_timeout=60).run()\n"
        f"print(*page.exception, *({MODEL_LIBRARIES} & set(sys.modules)))\n"
    )
    assert loaded.strip() == ""


def test_loading_a_runtime_asks_for_no_host():
    """OpenVINO's converter sends usage statistics to Google Analytics unless it is kept from it."""
    asked = python(
        "import socket, time\n"
        "socket.getaddrinfo = lambda host, *_, **__: print('asked for', host, flush=True)\n"
        "import timm\n"
        "from dogpoc import inference, methods\n"
        "seen = methods.Preprocessing(32, 0.9, 'bilinear', methods.HALF, methods.HALF)\n"
        "inference.compile_classifier(timm.create_model('test_vit', img_size=32), seen, breeds=[])\n"
        "time.sleep(1)\n"  # it is sent from a thread
    )
    assert asked == ""


@pytest.mark.parametrize("path", CORE + PAGES, ids=name_of)
def test_nothing_is_ever_unpickled(path):
    assert not libraries(path) & UNPICKLERS
    for name, call in calls(path):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert name not in {"torch.load", "torch.save", "yaml.load", "pd.read_pickle", "pd.to_pickle"}
        assert options.get("allow_pickle", "False") == "False"


@pytest.mark.parametrize("path", CORE + PAGES, ids=name_of)
def test_messages_are_literals_so_that_they_can_be_translated(path):
    for name, call in calls(path):
        words = {"_": 1, "ngettext": 2}.get(name, 0)
        for argument in call.args[:words]:
            assert isinstance(argument, ast.Constant), f"line {call.lineno}: {ast.unparse(call)[:80]}"


@pytest.mark.parametrize("path", CORE + PAGES, ids=name_of)
def test_the_translator_is_not_shadowed_by_a_throw_away_variable(path):
    for function in (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)):
        names = {(node.id, type(node.ctx)) for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert not {("_", ast.Load), ("_", ast.Store)} <= names, f"{function.name}, line {function.lineno}"


def requirements(file: str) -> dict[str, str]:
    """The packages that a requirements file names, normalised, with what is said about each."""
    lines = (CHECKOUT / file).read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([A-Za-z0-9][\w.-]*)\s*([^#\\]*)", line) for line in lines)
    return {match[1].lower().replace("_", "-"): match[2].strip() for match in found if match}


def test_every_library_that_is_imported_is_required_and_the_reverse():
    used = set().union(*(libraries(path) for path in CORE + PAGES)) - set(sys.stdlib_module_names)
    owners = packages_distributions()
    used = {owners.get(name, [name])[0].lower().replace("_", "-") for name in used - {"dogpoc", "pages"}}
    optional = {"pillow-heif"}
    assert used - optional | {"accelerate"} == set(requirements("requirements.in"))  # transformers.Trainer imports it


@pytest.mark.parametrize("pair", ["requirements", "requirements-dev", "requirements-uv"])
def test_every_lock_pins_what_its_source_asks_for_with_hashes_and_no_index(pair):
    wanted, lock = requirements(f"{pair}.in"), (CHECKOUT / f"{pair}.txt").read_text(encoding="utf-8")
    pinned = requirements(f"{pair}.txt")
    assert set(wanted) <= set(pinned)
    assert all(pin.startswith("==") for pin in pinned.values())
    assert all("--hash=sha256:" in entry for entry in re.findall(r"^\S+==.*(?:\n    .*)*", lock, re.MULTILINE))
    assert not re.search(r"://|^--|/", re.sub(r"#.*", "", lock), re.MULTILINE)


def tracked() -> list[Path]:
    """The files that git tracks; a skip where this is not a checkout."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    files = (CHECKOUT / name for name in listed.decode().split("\0") if name)
    return [file for file in files if file.is_file()]


def test_the_repository_holds_no_photos():
    assert [name_of(path) for path in tracked() if path.suffix.lower() in PHOTO_SUFFIXES] == []


def test_the_repository_holds_no_file_over_16_mb():
    assert [name_of(path) for path in tracked() if path.stat().st_size > 16e6] == []
