"""Artifacts survive kills, and nothing damaged is read."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dogpoc import artifacts, metrics
from dogpoc.artifacts import ArtifactError

BREEDS = ["beagle", "pug", "vizsla"]


def photo_table(per_breed: int = 8) -> pd.DataFrame:
    splits = ["train", "train", "validation", "test"]
    rows = [
        (f"{breed}/{n}.jpg", breed, splits[n % 4], k * per_breed + n, f"{k * per_breed + n:064x}", 96, 72, 1000 + n)
        for k, breed in enumerate(BREEDS)
        for n in range(per_breed)
    ]
    return pd.DataFrame(rows, columns=artifacts.PHOTO_COLUMNS)


def store(dataset: str = "dogs", run: str = "a", *, seed: int = 0, breeds: list[str] = BREEDS) -> dict:
    """A run with random logits, as evaluate stores it."""
    table = artifacts.read_photos(dataset)
    photos = artifacts.scored_photos(table, breeds)
    logits = np.random.default_rng(seed).normal(size=(len(photos), len(breeds))).astype(np.float32)
    info = {
        "dataset": dataset,
        "run": run,
        "trained_on": dataset,
        "method": {"name": run, "trained": "everything", "backbone": {"model": "x"}},
        "breeds": breeds,
        "scored_breeds": [breed for breed in breeds if breed in set(photos["breed"])],
        "photos_digest": artifacts.photos_digest(table),
    }
    info["temperature"] = artifacts.temperature(info, photos, logits)
    info["doubt"] = artifacts.doubt(info, photos, logits)
    info["metrics"] = artifacts.measure(info, photos, logits)
    file = artifacts.run_folder(dataset, run) / ".made.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, logits)
    return artifacts.write_run(info, {"logits.npy": file, "history.csv": b"epoch\n1\n"})


@pytest.fixture
def dogs_table(workplace) -> pd.DataFrame:
    table = photo_table()
    artifacts.write_photos("dogs", table)
    return table


def problems() -> dict[str, str]:
    return {what: problem for what, problem in artifacts.verify() if problem}


def test_what_was_written_is_read_back(dogs_table):
    store()
    pd.testing.assert_frame_equal(artifacts.read_photos("dogs"), dogs_table)
    evaluation = artifacts.read_evaluation("dogs", "a")
    assert evaluation.breeds == BREEDS
    assert list(evaluation.photos["split"].unique()) == ["test"]
    assert evaluation.logits.shape == (6, 3)
    assert [BREEDS[i] for i in evaluation.true] == list(evaluation.photos["breed"])
    assert (artifacts.datasets(), artifacts.runs("dogs")) == (["dogs"], ["a"])
    assert problems() == {}


def test_the_rows_of_the_logits_are_the_validation_and_then_the_test_photos_in_table_order(dogs_table):
    logits = artifacts.read_logits(store())
    for split, rows in (("validation", slice(0, 6)), ("test", slice(6, 12))):
        evaluation = artifacts.read_evaluation("dogs", "a", split)
        np.testing.assert_array_equal(evaluation.logits, logits[rows])
        assert list(evaluation.photos["id"]) == list(dogs_table.loc[dogs_table["split"] == split, "id"])


def test_the_logits_of_a_split_stay_on_disk_until_they_are_used(dogs_table):
    store()
    part = artifacts.read_evaluation("dogs", "a").logits
    while part.base is not None and not isinstance(part, np.memmap):
        part = part.base
    assert isinstance(part, np.memmap)


def test_only_the_breeds_that_a_dataset_shares_with_the_run_are_scored(workplace):
    table = photo_table()
    artifacts.write_photos("dogs", table[table["breed"] != "pug"])
    info = store(breeds=["akita", *BREEDS])
    evaluation = artifacts.read_evaluation("dogs", "a")
    assert evaluation.breeds == ["beagle", "vizsla"]
    assert evaluation.logits.shape == (4, 2)
    np.testing.assert_array_equal(evaluation.logits, artifacts.read_logits(info)[4:][:, [1, 3]])
    free = (artifacts.read_logits(info)[4:].argmax(axis=1) == [1, 1, 3, 3]).mean()
    assert info["metrics"]["test"]["top1_accuracy_all_breeds"] == free


def test_photos_are_left_out_of_an_evaluation_with_their_answers(dogs_table):
    store()
    whole = artifacts.read_evaluation("dogs", "a")
    part = artifacts.leave_out(whole, [whole.photos["id"][1], "unknown.jpg"])
    kept = [0, 2, 3, 4, 5]
    assert part.photos["id"].tolist() == whole.photos["id"].iloc[kept].tolist()
    np.testing.assert_array_equal(part.logits, whole.logits[kept])
    np.testing.assert_array_equal(part.true, whole.true[kept])
    with pytest.raises(ArtifactError, match="no test photo of 'dogs' is left"):
        artifacts.leave_out(whole, whole.photos["id"])


@pytest.mark.parametrize("file", ["run.json", "logits.npy", "history.csv", "../photos.json", "../photos.parquet"])
def test_a_flipped_bit_anywhere_is_noticed_and_the_other_run_still_reads(dogs_table, file):
    store(run="a")
    store(run="b")
    path = artifacts.run_folder("dogs", "a") / file
    whole = path.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 25).astype(int):
        broken = bytearray(whole)
        broken[position] ^= 4
        if file.endswith(".json") and _same_json(whole, bytes(broken)):
            continue  # white space
        path.write_bytes(broken)
        time.sleep(0.002)  # the next write must have another time of change
        found = problems()
        assert len(found) >= 1, position
        assert "photos" in file or "dogs/b" not in found
        assert all("\n" not in line for line in found.values())
    path.write_bytes(whole)
    assert problems() == {}


def _same_json(a: bytes, b: bytes) -> bool:
    try:
        return json.loads(a) == json.loads(b)
    except ValueError:
        return False


def test_a_truncated_logits_file_is_refused_by_name(dogs_table):
    store()
    path = artifacts.run_folder("dogs", "a") / "logits.npy"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=r"logits\.npy is damaged.*python -m dogpoc evaluate a --data dogs"):
        artifacts.read_evaluation("dogs", "a")


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (np.zeros((3, 3), np.float32), r"holds \(3, 3\) float32; expected \(12, 3\)"),
        (np.zeros((12, 3), np.float64), "float64; expected"),
        (np.full((12, 3), np.nan, np.float32), "not finite"),
    ],
)
def test_logits_of_another_shape_type_or_with_nan_are_refused(dogs_table, logits, words):
    info = store()
    file = artifacts.run_folder("dogs", "a") / ".other.npy"
    np.save(file, logits)
    artifacts.write_run(info, {"logits.npy": file})
    with pytest.raises(ArtifactError, match=words):
        artifacts.read_evaluation("dogs", "a")


def test_a_pickle_in_place_of_logits_is_refused(dogs_table):
    info = store()
    file = artifacts.run_folder("dogs", "a") / ".other.npy"
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    artifacts.write_run(info, {"logits.npy": file})
    with pytest.raises(ArtifactError, match="not a NumPy array"):
        artifacts.read_evaluation("dogs", "a")


def test_a_run_made_on_another_photo_list_is_refused(dogs_table):
    store()
    dogs_table.loc[0, "split"] = "validation"
    artifacts.write_photos("dogs", dogs_table)
    with pytest.raises(ArtifactError, match="another photo list"):
        artifacts.read_evaluation("dogs", "a")


def test_a_number_that_the_logits_do_not_give_is_named(dogs_table):
    info = store()
    info["metrics"]["test"]["top1_accuracy"] += 0.01
    artifacts.write_run(info, {})
    assert "test top1_accuracy is" in problems()["dogs/a"]


def test_an_unknown_run_or_dataset_is_answered_with_those_found(dogs_table):
    store()
    with pytest.raises(
        ArtifactError, match=r"no run 'x' for dataset 'dogs'; found: a\. Run: python -m dogpoc evaluate"
    ):
        artifacts.read_run("dogs", "x")
    with pytest.raises(ArtifactError, match=r"dataset 'cats'; found: dogs\. Run: python -m dogpoc split cats"):
        artifacts.read_photos("cats")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x\ny", "x" * 200])
def test_a_name_cannot_leave_the_folder(workplace, name):
    with pytest.raises(ArtifactError, match="cannot be a name"):
        artifacts.run_folder("dogs", name)


def test_a_kill_between_the_commit_and_the_renames_leaves_the_new_run(dogs_table, monkeypatch):
    old = store(seed=0)
    new = _killed_after(monkeypatch, "run.json", lambda: store(seed=1))
    assert new is None
    stored = artifacts.read_run("dogs", "a")
    assert stored["files"]["logits.npy"] != old["files"]["logits.npy"]
    assert problems() == {}
    store(seed=2)
    assert problems() == {}
    assert sorted(p.name for p in artifacts.run_folder("dogs", "a").iterdir()) == [
        "history.csv",
        "logits.npy",
        "run.json",
    ]


def test_a_kill_before_the_commit_leaves_the_old_run(dogs_table, monkeypatch):
    old = store(seed=0)
    _killed_after(monkeypatch, ".history.csv", lambda: store(seed=1))
    assert artifacts.read_run("dogs", "a") == old
    assert problems() == {}


def _killed_after(monkeypatch, name: str, work):
    """Run `work` and stop it dead right after the file that starts with `name` is in place."""

    class Killed(BaseException):
        pass

    write = artifacts.write_atomically

    def write_then_die(path: Path, data: bytes) -> None:
        write(path, data)
        if path.name.startswith(name):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "write_atomically", write_then_die)
        try:
            return work()
        except Killed:
            return None


def test_kill_9_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"
    code = (
        "import sys; from pathlib import Path; from dogpoc.artifacts import write_atomically\n"
        "path = Path(sys.argv[1])\n"
        "for n in range(10**6): write_atomically(path, bytes([n % 256]) * 300_000); print(n, flush=True)"
    )
    for delay in (0.02, 0.05, 0.09):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        data = path.read_bytes()
        assert len(data) == 300_000
        assert len(set(data)) == 1


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    artifacts.write_atomically(path, b"old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        artifacts.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def restored(info: dict) -> dict:
    """`info` stored again, its logits with it."""
    return artifacts.write_run(info, {})


def test_the_temperature_is_fitted_on_validation_photos_and_verified(dogs_table):
    table = artifacts.read_photos("dogs")
    photos = artifacts.scored_photos(table, BREEDS)
    logits = np.random.default_rng(0).normal(size=(len(photos), 3)).astype(np.float32)
    logits[np.arange(len(photos)), pd.Index(BREEDS).get_indexer(photos["breed"])] += 0.8
    info = store() | {"temperature": None}
    fitted = artifacts.temperature(info, photos, logits)
    validation = (photos["split"] == "validation").to_numpy()
    true = pd.Index(BREEDS).get_indexer(photos["breed"])
    assert fitted == metrics.fit_temperature(logits[validation], true[validation])
    logits[~validation] = 0  # test photos count for nothing
    assert artifacts.temperature(info, photos, logits) == fitted
    numbers = artifacts.measure({**info, "temperature": 2.0}, photos, logits)["validation"]
    assert numbers["scaled_log_loss"] == metrics.losses(logits[validation] / 2, true[validation]).mean()
    assert numbers["scaled_log_loss"] != numbers["log_loss"]


def test_thresholds_of_doubt_that_the_logits_do_not_give_are_named(dogs_table):
    info = store()
    assert problems() == {}
    restored(info | {"doubt": info["doubt"] | {"strange": 1.0}})
    assert "threshold of strangeness is 1.0" in problems()["dogs/a"]
    assert info["metrics"]["test"]["set_90_coverage"] <= 1


def test_a_temperature_that_the_logits_do_not_give_is_named(dogs_table):
    restored(store() | {"temperature": 3.25})
    assert "temperature is 3.25" in problems()["dogs/a"]


def test_on_another_dataset_the_temperature_is_the_one_from_home(dogs_table):
    artifacts.write_photos("others", photo_table())
    photos = artifacts.scored_photos(artifacts.read_photos("others"), BREEDS)
    info = restored(store() | {"temperature": 1.5})
    away = {**info, "dataset": "others"}
    assert artifacts.temperature(away, photos, np.zeros((len(photos), 3), dtype=np.float32)) == 1.5


def test_without_a_minimum_there_is_no_temperature(dogs_table):
    photos = artifacts.scored_photos(artifacts.read_photos("dogs"), BREEDS)
    true = pd.Index(BREEDS).get_indexer(photos["breed"])
    perfect = np.eye(3, dtype=np.float32)[true] * 9
    assert artifacts.temperature(store(), photos, perfect) is None


def test_examples_are_read_and_a_damaged_table_of_them_is_refused(dogs_table):
    assert artifacts.read_examples("dogs") is None
    path = artifacts.root() / "dogs" / "examples.csv"
    path.write_text("id,reason\nbeagle/1.jpg,puppy\n")
    assert artifacts.read_examples("dogs").to_dict("records") == [{"id": "beagle/1.jpg", "reason": "puppy"}]
    for damaged in (b"photo\n1\n", b"", b"\xff\xfe\x00"):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="is not a table with columns id and reason"):
            artifacts.read_examples("dogs")
