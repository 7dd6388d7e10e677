"""The methods as data: what each study had, with its figures and parameter counts, and what run.json keeps of them."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dogpoc import __main__ as command_line
from dogpoc import artifacts, inference, methods
from dogpoc.methods import METHODS, MethodError
from dogpoc.translation import use_language

STORED = sorted((Path(__file__).parents[1] / "artifacts").glob("*/*/run.json"))

# As the studies state them, and what follows from the sizes of the layers; (total, trained) with the study's breeds.
PARAMETERS = {
    "mobilenetv2-frozen": (2_223_872 + 1281 * 28, 1281 * 28),
    "vit-base-in21k": (85_798_656 + 769 * 28, 85_798_656 + 769 * 28),  # B/16 (Dosovitskiy et al. 2021): 86 M
    "vgg16-frozen-120": (17_725_368, 3_010_680),
    "vit-b32-finetuned": (87_910_520, 87_910_520),  # 87.9 M
    "vgg16-scratch": (134_301_514, 134_301_514),  # 138,357,544 with 1,000 classes (Simonyan and Zisserman 2015: 138 M)
    "vgg16-scratch-bn-dropout": (134_301_514 + 2 * 4224, 134_301_514 + 2 * 4224),  # a scale and a shift for each map
    "vgg16-scratch-kernel5": (134_301_514 + 16 * 1_634_496, 134_301_514 + 16 * 1_634_496),  # 25 for 9 weights
    "resnet50-frozen": (23_508_032 + 2_628_106, 2049 * 1024 + 1025 * 512 + 513 * 10),
    "vgg16-frozen": (14_714_688 + 1_055_242, 513 * 1024 + 1025 * 512 + 513 * 10),
    "xception-frozen": (20_806_952 + 2_628_106, 2_628_106),  # 22.9 M with 1,000 classes (Chollet 2017)
    "xception-tuned": (20_806_952 + 2_628_106, 20_806_952 + 2_628_106),
    "inceptionresnetv2-frozen": (54_306_464 + 1537 * 120, 1537 * 120),
    "resnext101-32x48d-fixres": (826_608_056, 245_880),
}
PUBLISHED = {  # accuracy, where the study gives one number
    "vgg16-frozen-120": 0.2286,
    "vit-b32-finetuned": 0.501,
    "vgg16-scratch": 0.13,
    "vgg16-scratch-augmented": 0.12,
    "vgg16-scratch-bn-dropout": 0.16,
    "vgg16-scratch-rmsprop": 0.15,
    "vgg16-scratch-kernel5": 0.15,
    "resnet50-scratch": 0.14,
    "resnet50-frozen": 0.934,
    "vgg16-frozen": 0.889,
    "xception-frozen": 0.949,
    "xception-tuned": 0.931,
    "inceptionresnetv2-frozen": 0.91,
    "resnext101-32x48d-fixres": 0.9473,
}
IN_WORDS = {"mobilenetv2-frozen", "vit-base-in21k", "vit-scratch", "vit-scratch-200", "vit-scratch-32"}
IN_WORDS |= {"vit-scratch-32-200"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_method_has_the_parameters_of_its_study(name):
    assert inference.count_parameters(METHODS[name]) == PARAMETERS[name]


def test_the_829_million_parameters_are_those_with_imagenets_classes():
    total, _trained = inference.count_parameters(METHODS["resnext101-32x48d-fixres"], 1000)
    assert total == 828_411_176


def test_a_small_vit_has_144_patches_of_108_values_and_the_head_that_keras_has():
    with torch.device("meta"):
        network = inference.build(METHODS["vit-scratch"].backbones[0], 120)
    assert network.patch_embed.project.weight.shape == (64, 108)
    assert network.patch_embed.position.shape == (144, 64)
    layer = 2 * 128 + 3 * 256 * 65 + 64 * 257 + 128 * 65 + 64 * 129  # norms; queries, keys, values; output; two linear
    head = 2048 * (144 * 64 + 1) + 1024 * 2049 + 120 * 1025
    total = 64 * 109 + 144 * 64 + 8 * layer + 128 + head
    assert inference.count_parameters(METHODS["vit-scratch"]) == (total, total)


def test_every_method_is_built_without_memory_and_trains_what_it_says():
    for method in METHODS.values():
        total, trained = inference.count_parameters(method)
        assert {"nothing": trained == 0, "everything": trained == total}.get(method.trained, 0 < trained < total)


def test_every_studys_figure_stands_beside_its_method():
    told = {name: method.published for name, method in METHODS.items() if method.published}
    assert {name: figure.top1 for name, figure in told.items() if figure.top1} == PUBLISHED
    assert {name for name, figure in told.items() if not figure.top1} == IN_WORDS
    for name, figure in told.items():
        number = re.search(r"[\d.]+(?= %)|0\.\d+$", figure.value)
        if name in PUBLISHED and number:
            assert float(number[0]) in (pytest.approx(figure.top1), pytest.approx(100 * figure.top1))
    assert METHODS["vit-scratch"].published.value.startswith("0.86-0.97 %")


def test_a_studys_figure_is_written_as_the_language_writes_it():
    use_language("fr")
    figures = {name: method.published.figure() for name, method in METHODS.items() if method.published}
    assert (figures["vgg16-scratch"], figures["vgg16-frozen"]) == ("0,13", "0,889")
    assert figures["inceptionresnetv2-frozen"] == "91 %"
    assert not [figure for figure in figures.values() if re.search(r"\d\.\d", figure)]


def test_what_a_study_leaves_open_is_said_beside_each_of_its_methods():
    for method in METHODS.values():
        assert bool(method.study) == bool(method.published or method.stands_for or method.name == "hybrid"), method.name
        assert bool(method.choices) == bool(method.study and not method.stands_for), method.name


def test_a_stand_in_has_the_recipe_of_what_it_stands_for():
    stand_ins = [method for method in METHODS.values() if method.stands_for]
    assert {method.backbones[0].model for method in stand_ins} == {
        "mobilenetv2_100",
        "vit_tiny_patch16_224",
        "deit_tiny_patch16_224",
    }
    for method in stand_ins:
        original = METHODS[method.stands_for]
        same = ("trained", "probe", "finetune", "head", "hidden", "dropout", "breeds", "study")
        assert [getattr(method, name) for name in same] == [getattr(original, name) for name in same]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_a_run_that_is_stored_has_the_method_that_a_new_run_would_have(path):
    """Otherwise a run with another seed would not count as one of the same method."""
    stored = json.loads(path.read_text())["method"]
    method = METHODS[stored["name"]]
    backbone = next(b for b in method.backbones if b.weights == stored["backbone"]["weights"])
    told = methods.record(replace(method, seed=stored["seed"]), backbone)
    texts = {"summary", "source"}
    assert {k: v for k, v in told.items() if k not in texts} == {k: v for k, v in stored.items() if k not in texts}


def test_run_json_tells_of_new_fields_where_they_are_not_at_their_default():
    method = METHODS["mobilenetv2-fixres"]
    told = methods.record(method, method.backbones[0])
    assert (told["probe"]["size"], told["stands_for"]) == (320, "resnext101-32x48d-fixres")
    assert not {"hidden", "dropout", "study", "choices", "published", "breeds", "backbones"} & set(told)
    told = methods.record(METHODS["xception-tuned"], METHODS["xception-tuned"].backbones[0])
    assert (told["hidden"], told["dropout"], told["finetune"]["schedule"]) == ([1024, 512], 0.5, "constant")
    assert json.loads(json.dumps(told)) == told


def test_a_method_that_is_not_there_is_one_line_with_the_nearest_name():
    with pytest.raises(MethodError, match=r"no method 'vgg16-scrach'\. Did you mean 'vgg16-scratch'\? List them"):
        methods.find_method("vgg16-scrach")


@pytest.fixture
def listed(monkeypatch, capsys) -> Callable[..., str]:
    """listed("--json") -> what `python -m dogpoc methods` prints."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["dogpoc", "methods", *arguments])
        with pytest.raises(SystemExit) as stop:
            command_line.main()
        assert not stop.value.code
        return capsys.readouterr().out

    return run


def test_all_methods_are_listed_for_programs_and_for_readers(listed, workplace, monkeypatch):
    monkeypatch.setattr(artifacts, "find_weights", lambda file: pytest.fail("no weights are needed"))
    rows = {row["name"]: row for row in json.loads(listed("--json"))}
    assert list(rows) == list(METHODS)
    row = rows["vgg16-frozen-120"]
    assert (row["parameters"], row["trained_parameters"], row["size"], row["breeds"]) == (17725368, 3010680, 224, 120)
    assert row["published"] == {"value": "22.86 %, loss 8.03", "data": "Stanford Dogs, 120 breeds", "top1": 0.2286}
    assert "Adam at 1e-3" in row["choices"]
    assert (rows["vit-scratch-32"]["size"], rows["vit-scratch-32"]["pretrained"]) == (32, False)
    table = listed()
    assert all(name in table for name in METHODS)
    assert all(words in table for words in ("826,608,056", "22.86 %, loss 8.03", "stands for vit-b32-finetuned"))
    assert "nothing of it was measured here" in table
