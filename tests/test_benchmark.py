"""The benchmark of explanations: where the dog is, which photos share a mosaic, and what shuffling weights does."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from dogpoc import artifacts, benchmark, dataset, explanation, faithfulness
from dogpoc.inference import compile_classifier, to_tensor
from dogpoc.methods import HALF, Preprocessing

XML = "<annotation><object><bndbox>{}</bndbox></object></annotation>"


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=5, img_size=64).eval()
    seen = Preprocessing(64, 1.0, "bilinear", HALF, HALF)
    return compile_classifier(model, seen, breeds=list("abcde"), runtime="eager")


def test_the_dog_s_box_is_read_for_a_photo_of_a_dataset_that_has_boxes(dogs, classifier):
    dataset.split("dogs")
    photo = artifacts.read_photos("dogs").iloc[0]
    assert benchmark._box(classifier, photo) is None
    place = (dogs / "Annotation" / photo["id"]).with_suffix("")
    place.parent.mkdir(parents=True)
    sides = {"xmin": 12, "ymin": 0, "xmax": 48, "ymax": 72}  # photos are 96 x 72: the model sees columns 12 to 84
    place.write_text(XML.format("".join(f"<{side}>{value}</{side}>" for side, value in sides.items())))
    inside = benchmark._box(classifier, photo)
    assert inside.shape == (64, 64)
    assert inside[:, :32].all()
    assert not inside[:, 32:].any()


def test_a_mosaic_has_four_breeds_that_the_run_names_rightly_and_no_photo_twice():
    true = np.arange(40) % 5
    logits = np.eye(5)[true]
    logits[::7] = np.roll(logits[::7], 1, axis=1)  # mistakes
    evaluation = SimpleNamespace(true=true, logits=logits)
    rows = np.arange(0, 40, 1)
    fours = benchmark._fours(evaluation, rows)
    assert len(fours) == 4
    places = [place for four in fours for place in four]
    assert len(set(places)) == len(places) == 16
    for four in fours:
        assert len({true[place] for place in four}) == 4
        assert not any(place % 7 == 0 for place in four)
    assert benchmark._fours(SimpleNamespace(true=true[:3], logits=logits[:3]), rows[:3]) == []


def test_shuffled_weights_are_the_same_numbers_in_another_order_and_the_model_is_left_alone(classifier):
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    shuffled = benchmark._shuffled(classifier, np.zeros((1, 64, 64, 3), np.uint8)).model.state_dict()
    for name, value in classifier.model.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(value.flatten().sort().values, shuffled[name].flatten().sort().values)
    assert not torch.equal(before["blocks.0.attn.qkv.weight"], shuffled["blocks.0.attn.qkv.weight"])


def test_a_shuffled_network_with_batch_normalisation_still_draws_maps():
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv2_050", num_classes=5).eval()
    seen = Preprocessing(64, 1.0, "bilinear", HALF, HALF)
    network = compile_classifier(model, seen, breeds=list("abcde"), runtime="eager")
    photos = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    before = model.state_dict()["bn1.running_mean"].clone()
    shuffled = benchmark._shuffled(network, photos)
    assert not shuffled.model.training
    assert torch.equal(before, model.state_dict()["bn1.running_mean"])
    features = explanation._features(shuffled.model, to_tensor(photos, seen))
    assert features.std() > 0.1
    assert (features > 0).float().mean() > 0.1


def test_the_evidence_for_a_breed_is_measured_in_its_own_tile(classifier, monkeypatch):
    tiles = {1: (0, 0), 0: (0, 1), 3: (1, 0), 4: (1, 1)}  # breed -> tile

    def explain(_classifier, pixels, method, breed, against=None):
        values = np.full((2, 2), 0.1, np.float32)
        values[tiles[breed]] = 0.7
        return values.repeat(8, 0).repeat(8, 1)

    monkeypatch.setattr(explanation, "explain_pixels", explain)
    chosen = pd.DataFrame({"id": list("wxyz"), "breed": list("bade")})
    photos = [np.zeros((64, 64, 3), np.uint8)] * 4
    found = benchmark._measure_mosaic(classifier, photos, ["relevance", "rollout"], chosen, [0, 1, 2, 3])
    assert found["ids"] == list("wxyz")
    np.testing.assert_allclose(np.array(found["shares"]["relevance"])[:, 0], 0.7, atol=0.03)
    own = np.array(found["shares"]["rollout"])[:, 0]  # one map for all four breeds
    np.testing.assert_allclose(own, [0.7, 0.1, 0.1, 0.1], atol=0.03)
    np.testing.assert_allclose(np.array(found["shares"]["rollout"]).sum(axis=1), 1, atol=1e-3)


def test_every_map_of_a_photo_is_measured_beside_random_and_centre(classifier, monkeypatch):
    monkeypatch.setattr(benchmark, "_box", lambda *_arguments: np.eye(64, dtype=bool))
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    photo = {"id": "a/1.jpg", "sha256": "0123456789ab"}
    methods = ["relevance", "occlusion"]
    found = benchmark._measure(classifier, pixels, methods, photo)
    assert list(found["maps"]) == ["relevance", "occlusion", "random", "centre"]
    breed = classifier.breeds.index(found["breed"])
    values = explanation.explain_pixels(classifier, pixels, "relevance", breed)
    logits = faithfulness.insertion_deletion(lambda frames: classifier.forward(frames)[0], pixels, values)
    insertion, deletion = faithfulness.area(faithfulness.support(logits, breed))
    measured = found["maps"]["relevance"]
    assert measured["insertion"] == pytest.approx(float(insertion), abs=1e-4)
    assert measured["deletion"] == pytest.approx(float(deletion), abs=1e-4)
    assert measured["energy"] == pytest.approx(faithfulness.energy_in_box(values, np.eye(64, dtype=bool)), abs=1e-3)
    assert found == benchmark._measure(classifier, pixels, methods, photo), "the same random map again"
