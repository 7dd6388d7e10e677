"""The command line: what programs read is stable, and every expected failure is one line and exit code 2."""

import io
import json
import re
import sys

import pandas as pd
import pytest

from dogpoc import __main__ as command_line
from dogpoc import artifacts, metrics


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
    code, out, _err = dogpoc("compare", "cnn-frozen", "vit-finetuned", "--data", "dogs")
    for run in numbers["runs"].values():
        blind = run["top1_accuracy_low"] <= run["most_frequent_breed"]
        assert any(f"{run['run']} {words}" in out for words in ("calls every photo", "is not surely better")) == blind

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
    assert "needs cnn.safetensors" in err
    assert "DOGPOC_WEIGHTS" in err


def test_confusions_and_worst_breeds_are_ranked_for_programs_and_for_readers(two_runs, dogpoc):
    command = ("confusions", "vit-finetuned", "--data", "dogs")
    stored = artifacts.read_evaluation("dogs", "vit-finetuned")
    counts = metrics.confusion_counts(stored.true, stored.logits.argmax(axis=1), 3)
    errors = counts.sum() - counts.trace()

    code, out, _err = dogpoc(*command, "--json", "--against", "cnn-frozen")
    found = json.loads(out)
    assert code == 0
    assert (found["run"], found["against"], found["photos"]) == ("vit-finetuned", "cnn-frozen", counts.sum())
    assert sum(pair["photos"] for pair in found["pairs"]) == errors
    shares = {"share", "share_low", "share_high", "against_share", "against_share_low", "against_share_high"}
    for pair in found["pairs"]:
        assert {"true_breed", "predicted_breed", "photos", "support", "shared", "against_photos"} | shares == set(pair)
        assert pair["share_low"] < pair["share"] == pair["photos"] / pair["support"] <= pair["share_high"]
        assert pair["shared"] == (pair["against_photos"] > 0)
    assert {each["breed"] for each in found["worst"]} == set(stored.breeds)
    means = [each["mean_probability"] for each in found["worst"]]
    assert means == sorted(means)
    needed = {"breed", "support", "mean_probability", "recall", "recall_low", "confusers"}
    assert all(needed <= set(each) and len(each["confusers"]) == 2 for each in found["worst"])

    code, out, _err = dogpoc(*command, "--csv")
    table = pd.read_csv(io.StringIO(out))
    assert code == 0
    assert (table["list"] == "pairs").sum() == len(found["pairs"])
    assert table.loc[table["list"] == "worst", "breed"].tolist() == [each["breed"] for each in found["worst"]]

    code, out, _err = dogpoc(*command, "--against", "cnn-frozen")
    assert code == 0
    assert all(breed.replace("_", " ") in out for breed in stored.breeds)
    assert "cnn-frozen" in out or not errors
    for words, told in ((("--json", "--csv"), "not both"), (("--against", "nothing"), "no run 'nothing'")):
        code, _out, err = dogpoc(*command, *words)
        assert code == 2
        assert one_line(err)
        assert told in err


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


def test_a_photo_comes_with_the_set_of_breeds_and_whether_it_is_strange(two_runs, dogpoc, dogs, monkeypatch):
    import io

    code, out, err = dogpoc("predict", photo(dogs).parent, "--data", "dogs", "--json", "--confidence", 0.8)
    assert code == 0, err
    answers = json.loads(out)
    assert [answer["photo"] for answer in answers] == sorted(str(path) for path in photo(dogs).parent.iterdir())
    for run, found in answers[0]["sets"].items():
        assert found["confidence"] == 0.8
        first = [breed["breed"] for breed in answers[0]["runs"][run]]
        assert found["breeds"] == first[: len(found["breeds"])]
        assert found["strange"] in (True, False)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo(dogs).read_bytes())))
    code, out, err = dogpoc("predict", "-", "--data", "dogs", "--json")
    assert code == 0, err
    by_name = {answer["photo"]: answer for answer in answers}
    assert json.loads(out)[0]["runs"] == by_name[str(photo(dogs))]["runs"]

    code, out, _err = dogpoc("predict", photo(dogs), "--data", "dogs", "--csv")
    lines = out.splitlines()
    assert (code, lines[0], len(lines)) == (0, '"photo","run","breed","probability","set","strange"', 3)
    assert "confidence: " in dogpoc("predict", photo(dogs), "--data", "dogs")[1]

    code, out, err = dogpoc("predict", photo(dogs), "--data", "dogs", "--confidence", 0.5)
    assert (code, out) == (2, "")
    assert one_line(err)
    assert "0.8, 0.9, 0.95, 0.99" in err


def test_features_are_made_once_and_a_run_that_is_not_there_is_one_line(dogs, dogpoc):
    assert dogpoc("split", "dogs")[0] == 0
    code, _out, err = dogpoc("embed", "cnn-frozen", "--data", "dogs")
    assert code == 2
    assert one_line(err)
    assert "python -m dogpoc evaluate cnn-frozen --data dogs" in err
    for words in ("train", "evaluate"):
        assert dogpoc(words, "cnn-frozen", "--data", "dogs")[0] == 0
    code, out, err = dogpoc("embed", "cnn-frozen", "--data", "dogs")
    assert code == 0
    assert out.startswith("features of 24 photos in ")
    assert "24/24" in err  # its progress
    assert dogpoc("embed", "cnn-frozen", "--data", "dogs") == (0, out, "")
    assert dogpoc("verify")[0] == 0
    for path in (dogs / "Images").rglob("*_1.jpg"):
        path.unlink()
    (artifacts.run_folder("dogs", "cnn-frozen") / "map.npy").unlink()
    code, _out, err = dogpoc("embed", "cnn-frozen", "--data", "dogs")
    assert code == 2
    assert one_line(err)
    assert "3 of 24 photos are not on this machine" in err


def test_a_photo_is_explained_as_a_map_or_as_a_picture(two_runs, dogpoc, dogs, workplace):
    import numpy as np
    from PIL import Image

    words = ("explain", photo(dogs), "--data", "dogs", "--run")
    for run, method, shape in (("vit-finetuned", "relevance", (2, 2)), ("cnn-frozen", "occlusion", (1, 1))):
        out = workplace / "maps" / f"{run}.npy"
        code, said, err = dogpoc(*words, run, "--method", method, "--breed", "PUG", "--against", "beagle", "--out", out)
        assert (code, err) == (0, "")
        assert run in said
        values = np.load(out)
        assert (values.shape, values.dtype) == (shape, np.float32)
    out = workplace / "maps" / "overlay.png"
    code, _said, err = dogpoc(*words, "vit-finetuned", "--method", "rollout", "--breed", "Afghan hound", "--out", out)
    assert code == 0
    assert "rollout is the same for every breed" in err
    assert Image.open(out).size == (448, 448)

    for words_, told in (
        (("vit-finetuned", "--method", "gradcam", "--out", out), "choose relevance"),
        (("cnn-frozen", "--method", "rollout", "--out", out), "choose a vision transformer"),
        (("cnn-frozen", "--method", "lime", "--out", out), "no method 'lime'; found: attention"),
        (("cnn-frozen", "--method", "gradcam", "--breed", "pugg", "--out", out), "no breed 'pugg'.*Did you mean 'pug'"),
        (("cnn-frozen", "--method", "gradcam", "--breed", "pug", "--against", "pug", "--out", out), "against itself"),
        (("cnn-frozen", "--method", "gradcam", "--out", "map.jpg"), "must end in .npy or .png"),
        (("nothing", "--method", "gradcam", "--out", out), "no run 'nothing'"),
    ):
        code, said, err = dogpoc(*words, *words_)
        assert (code, said) == (2, "")
        assert one_line(err)
        assert re.search(told, err), err
    (workplace / "bad.jpg").write_text("not a photo")
    for file in ("bad.jpg", "missing.jpg"):
        code, _said, err = dogpoc(
            "explain", workplace / file, "--data", "dogs", "--run", "cnn-frozen", "--method", "gradcam", "--out", out
        )
        assert code == 2
        assert one_line(err)


def test_the_benchmark_of_explanations_is_stored_checked_and_resumed(two_runs, dogpoc, monkeypatch):
    from dogpoc import benchmark, faithfulness

    words = ("explain-benchmark", "--data", "dogs", "--photos", 6)
    measure, calls = benchmark._measure, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(benchmark, "_measure", stopped)
    assert dogpoc(*words)[0] != 0
    assert artifacts.read_explanations(artifacts.read_run("dogs", "cnn-frozen")) is None
    code, out, err = dogpoc(*words)
    assert code == 0, err
    assert "relevance" in out
    records = {
        run: artifacts.read_explanations(artifacts.read_run("dogs", run)) for run in ("cnn-frozen", "vit-finetuned")
    }
    assert {len(record["photos"]) for record in records.values()} == {6}
    assert len(calls) == 3 + 4 + 6, "two photos were not measured again"
    assert dogpoc(*words)[0] == 0
    assert len(calls) == 13, "nor is anything, once it is stored"

    tables = {run: {row["method"]: row for row in faithfulness.summarise(record)} for run, record in records.items()}
    assert set(tables["cnn-frozen"]) == {"gradcam", "integrated-gradients", "occlusion", "random", "centre"}
    assert tables["vit-finetuned"]["relevance"]["gain_attention"] is not None
    assert all(row["energy"] is None for table in tables.values() for row in table.values()), "no boxes here"
    assert dogpoc("verify")[0] == 0
    path = artifacts.run_folder("dogs", "vit-finetuned") / "explanations.json"
    path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))
    code, _out, err = dogpoc("verify")
    assert code == 1
    assert "explanations.json is damaged" in err


def test_a_run_s_pictures_are_drawn_once_and_an_unknown_run_is_one_line(two_runs, dogpoc, monkeypatch):
    from dogpoc import imagination

    monkeypatch.setattr(imagination, "STEPS", 1)
    monkeypatch.setattr(imagination.imagine, "__kwdefaults__", {"steps": 1, "seed": 0})
    code, out, _err = dogpoc("imagine", "vit-finetuned", "--data", "dogs")
    assert code == 0
    info = artifacts.read_run("dogs", "vit-finetuned")
    assert str(artifacts.run_file(info, artifacts.PICTURES)) in out
    assert artifacts.read_pictures(info).shape[0] == len(info["breeds"])
    monkeypatch.setattr(imagination, "imagine", lambda *_arguments: pytest.fail("drawn again"))
    assert dogpoc("imagine", "vit-finetuned", "--data", "dogs")[0] == 0
    code, _out, err = dogpoc("imagine", "nobody", "--data", "dogs")
    assert code == 2
    assert one_line(err)
