"""What several tests share: a place of their own, photos made for the occasion, and the real photos where they are."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dogpoc import dataset
from dogpoc.translation import use_language


@pytest.fixture(autouse=True)
def english() -> None:
    """Every test begins in English, whatever the machine speaks and the test before it chose."""
    use_language("en")


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """tmp_path, with data/, artifacts/ and cache/ as the only ones that dogpoc sees (not those of this machine)."""
    for name in ("data", "artifacts", "cache"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"DOGPOC_{name.upper()}", str(tmp_path / name))
    monkeypatch.setattr(dataset, "CHECKOUT", tmp_path / "checkout")
    for memory in (dataset._listing, dataset._hashes, dataset._places):
        memory.clear()
    return tmp_path


@pytest.fixture
def write_photos() -> Callable[..., Path]:
    """write_photos(folder, {"n02088364-beagle": 8, "pug": 8}, seed=0): JPEGs, 96 x 72 pixels, no two of them alike.

    They lie in folder/Images/<breed>/<breed>_<number>.jpg, numbers from 1. Returns the folder.
    """

    def write(folder: Path, breeds: Mapping[str, int], seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        for breed, photos in breeds.items():
            (folder / "Images" / breed).mkdir(parents=True)
            for n in range(1, photos + 1):
                photo = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((96, 72))
                photo.save(folder / "Images" / breed / f"{breed.split('-')[0]}_{n}.jpg")
        return folder

    return write


@pytest.fixture
def dogs(workplace, write_photos) -> Path:
    """The dataset "dogs" in Stanford Dogs' layout: 3 breeds with 8 photos each."""
    names = ("n02088094-Afghan_hound", "n02088364-beagle", "n02110958-pug")
    return write_photos(workplace / "data" / "dogs", dict.fromkeys(names, 8))


@pytest.fixture
def real_photos() -> Path:
    """The folder of dogs47; where it is not found the test is skipped, or fails if DOGPOC_REQUIRE_PHOTOS is 1."""
    try:
        return dataset.find_dataset("dogs47")
    except dataset.DatasetError as error:
        give_up = pytest.fail if os.environ.get("DOGPOC_REQUIRE_PHOTOS") == "1" else pytest.skip
        give_up(str(error))


@pytest.fixture
def tiny_methods(workplace, monkeypatch) -> dict:
    """Methods that train in seconds ("cnn-imagenet": not at all), on two of timm's test networks with random,
    seeded weights in workplace/weights, 32-pixel input."""
    import timm
    import torch
    from safetensors.torch import save_file

    from dogpoc import methods

    (workplace / "weights").mkdir()
    monkeypatch.setenv("DOGPOC_WEIGHTS", str(workplace / "weights"))
    torch.manual_seed(0)
    seen = methods.Preprocessing(32, 0.9, "bilinear", methods.HALF, methods.HALF)
    backbones = {
        "cnn": methods.Backbone("test_efficientnet", seen, weights="cnn"),
        "vit": methods.Backbone("test_vit", seen, kwargs={"img_size": 32}, weights="vit"),
    }
    for name, backbone in backbones.items():
        network = timm.create_model(backbone.model, **backbone.kwargs)
        save_file(
            {key: value.half().contiguous() for key, value in network.state_dict().items()},
            workplace / "weights" / f"{name}.safetensors",
        )
    probe = methods.Recipe(epochs=3, learning_rate=1e-2, weight_decay=0.0, batch_size=8)
    finetune = methods.Recipe(
        epochs=3,
        learning_rate=1e-3,
        weight_decay=0.05,
        batch_size=8,
        warmup=0.1,
        layer_decay=0.8,
        smoothing=0.1,
        augmentation="crop-flip-colour",
        averaging=0.9,
    )
    tiny = {
        "cnn-frozen": methods.Method("cnn-frozen", "", "", (backbones["cnn"],), "head", probe),
        "cnn-finetuned": methods.Method("cnn-finetuned", "", "", (backbones["cnn"],), "everything", probe, finetune),
        "vit-finetuned": methods.Method(
            "vit-finetuned",
            "",
            "",
            (backbones["vit"],),
            "everything",
            probe,
            replace(finetune, interpolated=True),
            head="imagenet",
        ),
        "cnn-imagenet": methods.Method("cnn-imagenet", "", "", (backbones["cnn"],), "nothing", head="imagenet"),
    }
    monkeypatch.setattr(methods, "METHODS", tiny)
    return tiny


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Several threads are ten times slower for such small networks where another process has one of their cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
