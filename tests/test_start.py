"""start.py with its commands recorded instead of run: what it would do on a fresh, a half-made and a ready machine."""

import subprocess
from pathlib import Path

import pytest

import start

LOCKS = ("requirements-uv.txt", "requirements.txt", "requirements-dev.txt")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A checkout with one-line locks; `ran` lists what was run, and a command with a word of `failing` fails."""

    class Machine:
        folder, ran, failing = tmp_path, [], set()

        def run(self, command, **_):
            self.ran.append(" ".join(command).replace(f"{tmp_path}/", ""))
            if "venv" in command:
                start.PYTHON.parent.mkdir(parents=True, exist_ok=True)
                start.PYTHON.touch()
            return subprocess.CompletedProcess(command, int(bool(self.failing & set(command))))

    recorder = Machine()
    for lock in LOCKS:
        (tmp_path / lock).write_text(f"{lock} 1\n")
    monkeypatch.setattr(start, "ROOT", tmp_path)
    monkeypatch.setattr(start, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(start, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(subprocess, "run", recorder.run)
    monkeypatch.setattr(start, "start", lambda *arguments: recorder.ran.append("start " + " ".join(arguments)))
    return recorder


def installs(machine) -> list[str]:
    """The locks that uv was asked to install, in order."""
    return [Path(line.split(" -r ")[1].split()[0]).name for line in machine.ran if "-m uv" in line]


def test_a_fresh_machine_gets_an_environment_the_locked_packages_and_the_dashboard(machine):
    start.main([])
    assert ["-m venv" in machine.ran[0], "requirements-uv.txt" in machine.ran[1]] == [True, True]
    assert installs(machine) == ["requirements.txt"]
    assert machine.ran[-1].startswith("start -m streamlit run ")
    assert all("--require-hashes" in line for line in machine.ran if " install " in line)


def test_the_second_start_installs_nothing(machine):
    start.main([])
    machine.ran.clear()
    start.main([])
    assert len(machine.ran) == 1


def test_a_changed_lock_is_installed_again(machine):
    start.main([])
    machine.ran.clear()
    (machine.folder / "requirements.txt").write_text("requirements.txt 2\n")
    start.main([])
    assert installs(machine) == ["requirements.txt"]


def test_the_tests_get_their_own_packages_too(machine):
    start.main(["test", "-k", "metrics"])
    assert installs(machine) == ["requirements.txt", "requirements-dev.txt"]
    assert machine.ran[-1] == "start -m pytest -k metrics"


def test_install_starts_nothing(machine):
    start.main(["install"])
    assert not any(line.startswith("start") for line in machine.ran)


def test_further_arguments_go_to_streamlit(machine):
    start.main(["--server.port", "8502"])
    assert machine.ran[-1].endswith("streamlit_app.py --server.port 8502")


def test_a_half_made_environment_is_made_anew(machine):
    machine.failing = {str(machine.folder / "requirements-uv.txt")}
    with pytest.raises(SystemExit, match="failed with exit status 1"):
        start.main([])
    machine.failing = set()
    machine.ran.clear()
    start.main([])
    assert "-m venv --clear" in machine.ran[0]
    assert installs(machine) == ["requirements.txt"]


def test_an_install_that_failed_is_tried_again_next_time(machine):
    machine.failing = {str(machine.folder / "requirements.txt")}
    with pytest.raises(SystemExit, match="failed with exit status 1"):
        start.main([])
    machine.failing = set()
    machine.ran.clear()
    start.main([])
    assert installs(machine) == ["requirements.txt"]
    assert not any("-m venv" in line for line in machine.ran)


def test_pip_installs_where_uv_cannot(machine):
    machine.failing = {"uv"}
    start.main([])
    assert [".venv/bin/python -m pip install" in line for line in machine.ran[-2:]] == [True, False]
    machine.ran.clear()
    start.main([])
    assert len(machine.ran) == 1
