"""Pictures that a model makes of its breeds: they raise the breed's logit, and each breed has its own."""

import numpy as np
import pytest
import timm
import torch

from dogpoc import artifacts, imagination
from dogpoc.imagination import imagine
from dogpoc.inference import to_tensor
from dogpoc.methods import HALF, Preprocessing

SEEN = Preprocessing(32, 1.0, "bilinear", HALF, HALF)


@pytest.fixture(scope="module", params=["test_vit", "test_resnet"])
def model(request):
    torch.manual_seed(0)
    sized = {"img_size": 32} if request.param == "test_vit" else {}
    return timm.create_model(request.param, num_classes=3, **sized).eval()


def logits(model, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(to_tensor(pixels[None], SEEN))[0].numpy()


def test_the_picture_of_a_breed_raises_its_logit_and_leaves_the_model_alone(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start, end = (imagine(model, SEEN, 1, steps=steps) for steps in (0, 24))
    assert (end.shape, end.dtype) == ((32, 32, 3), np.uint8)
    assert logits(model, end)[1] > logits(model, start)[1]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_seed_makes_the_same_picture_and_breeds_differ(model):
    one, again, other = (imagine(model, SEEN, breed, steps=4) for breed in (0, 0, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_pictures_are_stored_in_the_breeds_order_resumed_and_checked(dogs, tiny_methods, monkeypatch):
    from dogpoc import dataset, training

    dataset.split("dogs")
    training.train(tiny_methods["vit-finetuned"], "dogs", name="vit", command="")
    monkeypatch.setattr(imagination, "SIDE", 8)
    drawn = []

    def draw(_model, _seen, breed: int) -> np.ndarray:
        drawn.append(breed)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return np.full((32, 32, 3), 50 * breed, np.uint8)

    with pytest.raises(KeyboardInterrupt):
        imagination.store_pictures("dogs", "vit", draw=draw)
    assert artifacts.read_pictures(artifacts.read_run("dogs", "vit")) is None
    info = imagination.store_pictures("dogs", "vit", draw=draw)
    assert drawn == [0, 1, 1, 2], "the first was not drawn again"
    pictures = artifacts.read_pictures(info)
    assert pictures.shape == (3, 8, 8, 3)
    assert [picture.mean() for picture in pictures] == [0, 50, 100]
    assert imagination.store_pictures("dogs", "vit", draw=draw) == info
    assert len(drawn) == 4
    assert not list(artifacts.run_folder("dogs", "vit").glob(".picture*"))

    artifacts.write_run(info, {artifacts.PICTURES: imagination._png(np.zeros((8, 8, 3), np.uint8))})
    with pytest.raises(artifacts.ArtifactError, match="does not hold a picture for each breed"):
        artifacts.read_pictures(artifacts.read_run("dogs", "vit"))
