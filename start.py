"""dogpoc in one command: makes .venv, installs the locked packages into it, starts. Needs only Python itself.

python start.py            the dashboard; further arguments go to Streamlit: python start.py --server.port 8502
python start.py test       the tests; further arguments go to pytest: python start.py test -k metrics
python start.py install    everything that both need, and nothing is started
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
DASHBOARD = ["-m", "streamlit", "run", str(ROOT / "streamlit_app.py")]
TESTS = ["-m", "pytest"]


def install(*locks: str) -> None:
    """Install the packages of each lock into .venv, checked by hash; at once done where they are there already."""
    if not PYTHON.exists() or not (VENV / "made").exists():
        say(f"making .venv with Python {sys.version.split()[0]}")
        run(sys.executable, "-m", "venv", "--clear", str(VENV))
        run(str(PYTHON), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(ROOT / "requirements-uv.txt"))
        (VENV / "made").touch()
    for lock in locks:
        done, digest = VENV / f"{lock}.sha256", hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()
        if done.exists() and done.read_text() == digest:
            continue
        say(f"installing {lock}: minutes the first time")
        arguments = ["pip", "install", "--require-hashes", "-r", str(ROOT / lock)]
        uv = [str(PYTHON), "-m", "uv", *arguments, "--python", str(PYTHON)]
        if subprocess.run(uv, cwd=ROOT).returncode != 0:
            say("uv could not; trying pip, which knows your pip settings (mirror, proxy, certificates)")
            run(str(PYTHON), "-m", *arguments)
        done.write_text(digest)  # only now: an interrupted install starts again


def run(*command: str) -> None:
    """Run a command; where it fails, stop with the same exit status."""
    status = subprocess.run(command, cwd=ROOT).returncode
    if status != 0:
        sys.exit(f"dogpoc: failed with exit status {status}: {' '.join(command)}")


def start(*arguments: str) -> None:
    """Become .venv's Python with these arguments: signals and the exit status are its own."""
    os.chdir(ROOT)
    if os.name == "nt":  # there execv returns to the shell at once
        sys.exit(subprocess.run([str(PYTHON), *arguments]).returncode)
    os.execv(PYTHON, [str(PYTHON), *arguments])


def say(line: str) -> None:
    print(f"dogpoc: {line}", flush=True)


def main(arguments: list) -> None:
    command = arguments[0] if arguments[:1] in (["test"], ["install"]) else "dashboard"
    install("requirements.txt", *([] if command == "dashboard" else ["requirements-dev.txt"]))
    if command == "test":
        start(*TESTS, *arguments[1:])
    if command == "dashboard":
        say("starting the dashboard; stop it with Ctrl+C")
        start(*DASHBOARD, *arguments)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036, this file may meet an old Python
        sys.exit(f"dogpoc needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: python3.12 start.py")
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("\ndogpoc: stopped")
