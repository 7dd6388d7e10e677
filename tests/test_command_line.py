"""The command line: what programs read is stable, and every expected failure is one line and exit code 2."""

import json
import sys

import pytest

from dogpoc import __main__ as command_line
from dogpoc import artifacts


@pytest.fixture
def dogpoc(monkeypatch, capsys, tiny_methods):
    """dogpoc("runs", "--json") -> (exit code, standard output, standard error)."""
    monkeypatch.setattr(artifacts, "BASELINE", "cnn-frozen")
    monkeypatch.setattr(artifacts, "NEW", "vit-finetuned")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dogpoc", *map(str, arguments)])
        code = 0
        try:
            command_line.main()
        except SystemExit as stop:
            code = stop.code or 0
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def two_runs(dogs, dogpoc):
    assert dogpoc("split", "dogs")[0] == 0
    for method in ("cnn-frozen", "vit-finetuned"):
        for words in (("train", method), ("evaluate", method)):
            code, _out, err = dogpoc(*words, "--data", "dogs")
            assert code == 0, err


def photo(dogs, name: str = "n02110958-pug/n02110958_1.jpg"):
    return dogs / "Images" / name


def one_line(text: str) -> bool:
    return len(text.strip().splitlines()) == 1 and "Traceback" not in text


def test_from_photos_to_a_verdict(two_runs, dogpoc, dogs):
    code, out, _err = dogpoc("runs", "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(row["dataset"], row["run"], row["method"], row["split"]) for row in rows] == [
        ("dogs", "cnn-frozen", "cnn-frozen", "test"),
        ("dogs", "vit-finetuned", "vit-finetuned", "test"),
    ]
    needed = {"photos", "classes", "top1_accuracy", "top3_accuracy", "log_loss", "parameters", "trained_parameters"}
    assert needed | {"train_seconds", "evaluation_seconds"} <= set(rows[0])
    assert rows[0]["classes"] == 3
    assert "vit-finetuned" in dogpoc("runs")[1]

    code, out, _err = dogpoc("verify")
    assert (code, out.count("sound")) == (0, 3)

    code, out, _err = dogpoc("compare", "cnn-frozen", "vit-finetuned", "--data", "dogs", "--json")
    numbers = json.loads(out)
    assert numbers["photos"] == rows[0]["photos"]
    counts = ("both_right", "only_baseline", "only_new", "both_wrong")
    assert sum(numbers[key] for key in counts) == numbers["photos"]

    code, out, _err = dogpoc("predict", photo(dogs), photo(dogs), "--data", "dogs", "--json", "--top", 3)
    answers = json.loads(out)
    assert [answer["photo"] for answer in answers] == [str(photo(dogs))] * 2
    for breeds in answers[0]["runs"].values():
        probabilities = [breed["probability"] for breed in breeds]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert list(answers[0]["runs"]) == ["cnn-frozen", "vit-finetuned"]

    bad = dogs / "bad.jpg"
    bad.write_text("not a photo")
    code, out, err = dogpoc("predict", bad, photo(dogs), "--data", "dogs", "--json")
    assert code == 2
    assert one_line(err)
    assert "bad.jpg" in err
    assert len(json.loads(out)) == 1, "the good photo is answered"
    code, out, err = dogpoc("predict", dogs / "missing.jpg", "--data", "dogs")
    assert (code, out) == (2, "")
    assert "No such file" in err

    path = artifacts.run_folder("dogs", "vit-finetuned") / "logits.npy"
    path.write_bytes(path.read_bytes()[:-8])
    code, out, err = dogpoc("verify")
    assert code == 1
    assert "dogs/vit-finetuned" in err
    assert "dogs/cnn-frozen: sound" in out


def test_a_default_run_without_its_backbone_is_replaced_and_that_is_said(two_runs, dogpoc, dogs, workplace):
    assert dogpoc("train", "cnn-finetuned", "--data", "dogs")[0] == 0
    assert dogpoc("evaluate", "cnn-finetuned", "--data", "dogs")[0] == 0
    (workplace / "weights" / "cnn.safetensors").unlink()
    code, out, err = dogpoc("predict", photo(dogs), "--data", "dogs", "--json")
    assert code == 0
    assert "cnn-finetuned answers in its place" in err
    assert list(json.loads(out)[0]["runs"]) == ["cnn-finetuned", "vit-finetuned"]
    code, _out, err = dogpoc("predict", photo(dogs), "--data", "dogs", "--baseline", "cnn-frozen")
    assert code == 2
    assert "needs the pretrained backbone cnn.safetensors" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("train", "vit-finetund", "--data", "dogs"), "no method 'vit-finetund'.*Did you mean 'vit-finetuned'"),
        (("train", "cnn-frozen", "--data", "cats"), "no photo table for dataset 'cats'; found: dogs"),
        (("evaluate", "nothing", "--data", "dogs"), "no trained run 'nothing'"),
        (("compare", "a", "b", "--data", "dogs"), "no run 'a' for dataset 'dogs'"),
        (("split", "nowhere"), "no dataset 'nowhere'"),
        (("predict", "PHOTO", "--data", "dogs"), "evaluated runs of dataset 'dogs': 0; a comparison needs 2"),
        (("train", "cnn-frozen", "--data", "../dogs"), "cannot be a name"),
        (("train", "cnn-frozen", "--data", "dogs", "--name", "a/b"), "cannot be a name"),
    ],
)
def test_a_wrong_word_is_one_clear_line_and_exit_code_2(dogs, dogpoc, words, told):
    import re

    assert dogpoc("split", "dogs")[0] == 0
    code, _out, err = dogpoc(*(photo(dogs) if word == "PHOTO" else word for word in words))
    assert code == 2
    assert one_line(err), err
    assert re.search(told, err), err


def test_no_runs_yet_is_said(workplace, dogpoc):
    assert dogpoc("runs") == (0, "no runs yet\n", "")
    assert dogpoc("runs", "--json")[:2] == (0, "[]\n")
