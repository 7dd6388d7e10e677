"""The systems being compared, as plain data: backbone, what is trained, preprocessing, recipe."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dogpoc import DogpocError
from dogpoc.translation import N_, _

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


class MethodError(DogpocError):
    """There is no such method."""


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes a model's input: the centre of the photo, `crop` of its short side, resized to `size`.

    size: pixels, both sides.   crop: share of the short side, 0..1.   interpolation: "bilinear" or "bicubic".
    mean, std: per channel, of pixel values in 0..1.
    """

    size: int
    crop: float
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Backbone:
    """A pretrained network.

    library: "timm" or "transformers".   model, kwargs: its name there and what to build it with.
    weights: name of the file with its weights (without .safetensors), None where only the hub has them.
    hub: its name on the model hub, None where the hub has no such weights.
    """

    model: str
    preprocessing: Preprocessing
    library: str = "timm"
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    hub: str | None = None


@dataclass(frozen=True)
class Recipe:
    """How one phase of training goes.

    learning_rate: peak of a cosine after a linear warm-up over `warmup` of all steps.   layer_decay: factor on the
    rate from each layer to the one below it.   smoothing: of the labels.   augmentation: "none" or "crop-flip-colour".
    drop_path: share of residual branches left out in training (Huang et al. 2016).
    averaging: decay per step of the exponential moving average of the weights that is validated and kept; 0 for none.
    interpolated: whether the weights kept lie between those before and after this phase, where the validation loss is
    least (Wortsman et al. 2022, WiSE-FT).
    patience: epochs without a better validation loss after which training stops.
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    optimizer: str = "adamw"
    batch_size: int = 32
    warmup: float = 0.0
    layer_decay: float = 1.0
    smoothing: float = 0.0
    augmentation: str = "none"
    drop_path: float = 0.0
    averaging: float = 0.0
    interpolated: bool = False
    patience: int = 5


@dataclass(frozen=True)
class Method:
    """A system as described; a run is one trained and evaluated instance of it.

    backbones: the first one at hand is used, files before the hub.   trained: "nothing", "head" or "everything".
    probe: recipe of the linear head on frozen features.   finetune: recipe for all weights after that.
    head: what the head is before training: "new" (zeros), or "imagenet" (what the backbone's own ImageNet-1k classifier
    has for these breeds).
    """

    name: str
    summary: str
    source: str
    backbones: tuple[Backbone, ...]
    trained: str
    probe: Recipe | None = None
    finetune: Recipe | None = None
    head: str = "new"
    seed: int = 0


MOBILENETV2 = (
    Backbone(
        "mobilenetv2_100",
        Preprocessing(224, 0.875, "bilinear", HALF, HALF),
        kwargs={"pad_type": "same"},
        weights="mobilenetv2_100.tf2_in1k_padsame_int8deq",
    ),
    Backbone(
        "mobilenetv2_100",
        Preprocessing(224, 0.875, "bicubic", IMAGENET_MEAN, IMAGENET_STD),
        hub="mobilenetv2_100.ra_in1k",
    ),
)
VIT_TINY = (
    Backbone(
        "vit_tiny_patch16_224",
        Preprocessing(224, 0.9, "bicubic", HALF, HALF),
        weights="vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        hub="vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    ),
)
VIT_BASE_IN21K = (
    Backbone(
        "google/vit-base-patch16-224-in21k",
        Preprocessing(224, 1.0, "bilinear", HALF, HALF),
        library="transformers",
        hub="google/vit-base-patch16-224-in21k",
    ),
)

# A linear head on frozen features, as in the studies that this project continues: 5 epochs, batches of 32.
PROBE = Recipe(epochs=5, learning_rate=3e-3, weight_decay=1e-2)
# The head settles before all weights move: a random one would distort the features (Kumar et al. 2022). It starts from
# the ImageNet classifier's: on validation photos 95.3 % instead of 94.5 % for ViT-Ti.
SETTLING = Recipe(epochs=10, learning_rate=3e-4, weight_decay=1e-2)
FINETUNE = Recipe(
    epochs=6,
    learning_rate=1e-4,
    weight_decay=0.05,
    warmup=0.1,
    layer_decay=0.75,
    augmentation="crop-flip-colour",
    drop_path=0.1,
    averaging=0.998,
    interpolated=True,
)

METHODS = {
    method.name: method
    for method in (
        Method(
            "mobilenetv2-frozen",
            N_("MobileNetV2, frozen; a new linear head on its features"),
            "Sandler et al. 2018",
            MOBILENETV2,
            "head",
            PROBE,
        ),
        Method(
            "mobilenetv2-finetuned",
            N_("MobileNetV2; from its ImageNet classifier, the head first, then everything"),
            "Sandler et al. 2018; Kumar et al. 2022",
            MOBILENETV2,
            "everything",
            SETTLING,
            FINETUNE,
            head="imagenet",
        ),
        Method(
            "vit-tiny-finetuned",
            N_("Vision Transformer Ti/16; from its ImageNet classifier, the head first, then everything"),
            "Dosovitskiy et al. 2021; Steiner et al. 2022; Kumar et al. 2022",
            VIT_TINY,
            "everything",
            SETTLING,
            FINETUNE,
            head="imagenet",
        ),
        Method(
            "mobilenetv2-imagenet",
            N_("MobileNetV2 as it comes: its ImageNet classifier, held to these breeds; nothing is trained"),
            "Sandler et al. 2018",
            MOBILENETV2,
            "nothing",
            head="imagenet",
        ),
        Method(
            "vit-tiny-imagenet",
            N_("ViT-Ti/16 as it comes: its ImageNet classifier, held to these breeds; nothing is trained"),
            "Dosovitskiy et al. 2021; Steiner et al. 2022",
            VIT_TINY,
            "nothing",
            head="imagenet",
        ),
        Method(
            "vit-base-in21k",
            N_("Vision Transformer B/16 of google/vit-base-patch16-224-in21k; everything fine-tuned with weight decay"),
            "Dosovitskiy et al. 2021",
            VIT_BASE_IN21K,
            "everything",
            PROBE,
            Recipe(epochs=5, learning_rate=5e-5, weight_decay=0.01, warmup=0.1, augmentation="crop-flip-colour"),
        ),
    )
}


def find_method(name: str) -> Method:
    """The method called `name`; MethodError naming the known ones if there is none."""
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(name, METHODS, n=1)
    hint = _(" Did you mean '{name}'?").format(name=close[0]) if close else ""
    raise MethodError(
        _("no method '{name}'; found: {found}.{hint}").format(name=name, found=", ".join(METHODS), hint=hint)
    )
