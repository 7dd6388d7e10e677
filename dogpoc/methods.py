"""The systems being compared, as plain data: backbone, what is trained, preprocessing, recipe."""

import difflib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any

from dogpoc import DogpocError
from dogpoc.translation import N_, _, number, translated

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

# Forward passes by the views of a photo whose mean is the answer; see inference.views_of.
VIEWS = {"centre": 1, "flip": 2, "ten-crop": 10}


class MethodError(DogpocError):
    """There is no such method."""


# Fields that run.json leaves out: ADDED ones at their default, so that runs from before them are still of the same
# method as new ones; UNTOLD ones always, because they change nothing about a run.
ADDED, UNTOLD = {"added": True}, {"untold": True}


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
    """A network: pretrained, or from scratch where it has neither `weights` nor `hub`.

    library: "timm", "transformers" or "dogpoc" (dogpoc.networks).   model, kwargs: its name there and what to build it
    with; of transformers, the values of its configuration, which the hub gives where there are none.
    weights: name of the file with its weights (without .safetensors), None where only the hub has them.
    hub: its name on the model hub, None where the hub has no such weights.
    """

    model: str
    preprocessing: Preprocessing
    library: str = "timm"
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    hub: str | None = None

    @property
    def pretrained(self) -> bool:
        """Whether training starts from weights that somebody trained."""
        return bool(self.weights or self.hub)


@dataclass(frozen=True)
class Recipe:
    """How one phase of training goes.

    learning_rate: peak of a cosine after a linear warm-up over `warmup` of all steps, or, with the schedule "constant",
    of every step.   optimizer: "adamw", "adam" or "rmsprop" (without momentum).   layer_decay: factor on the rate from
    each layer to the one below it.   smoothing: of the labels.
    augmentation: "none", "crop-flip-colour", "flip-rotation" or "zoom-flip-rotation".
    drop_path: share of residual branches left out in training (Huang et al. 2016).
    averaging: decay per step of the exponential moving average of the weights that is validated and kept; 0 for none.
    interpolated: whether the weights kept lie between those before and after this phase, where the validation loss is
    least (Wortsman et al. 2022, WiSE-FT).
    patience: epochs without a better validation loss after which training stops.
    size: pixels of the sides of the photos that are trained on, where not those that are validated and tested on
    (Touvron et al. 2019, FixRes).
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
    schedule: str = field(default="cosine", metadata=ADDED)
    size: int | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True)
class Published:
    """A figure as an earlier study reports it; nothing of it was measured here.

    value: in the study's words.   data: what it was measured on.   top1: the accuracy in it, 0..1, if it is one number.
    """

    value: str
    data: str
    top1: float | None = None

    def figure(self) -> str:
        """The value in the language in use: a bare number as that language writes it, words translated.

        >>> Published("0.130", "10 breeds", 0.13).figure(), Published("91 %", "120 breeds", 0.91).figure()
        ('0.130', '91 %')
        """
        whole, point, decimals = self.value.partition(".")
        bare = point and (whole + decimals).isdecimal()
        return number(float(self.value), len(decimals)) if bare else translated(self.value)


@dataclass(frozen=True)
class Method:
    """A system as described; a run is one trained and evaluated instance of it.

    source: papers.   backbones: the first one at hand is used, files before the hub.
    trained: "nothing", "head" or "everything".
    probe: recipe of the head on the frozen backbone.   finetune: recipe for all weights after that.
    head: what the head is before training: "new" (zeros in its last layer), or "imagenet" (what the backbone's own
    ImageNet-1k classifier has for these breeds).
    hidden: sizes of the head's hidden layers; () for a linear head.   dropout: after each of them, 0..1.
    study: the earlier study that the method is from, in words.   breeds: how many breeds it was trained on there.
    published: what the study reports.   choices: what was chosen here where the study says nothing.
    stands_for: the method whose recipe this one has, with a backbone that is easier to have.
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
    hidden: tuple[int, ...] = field(default=(), metadata=ADDED)
    dropout: float = field(default=0.0, metadata=ADDED)
    stands_for: str | None = field(default=None, metadata=ADDED)
    study: str = field(default="", metadata=UNTOLD)
    breeds: int = field(default=47, metadata=UNTOLD)
    published: Published | None = field(default=None, metadata=UNTOLD)
    choices: str = field(default="", metadata=UNTOLD)


# -- networks -----------------------------------------------------------------------------------------------------

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
DEIT_TINY = (
    Backbone(
        "deit_tiny_patch16_224",
        Preprocessing(224, 0.9, "bicubic", IMAGENET_MEAN, IMAGENET_STD),
        weights="deit_tiny_patch16_224.fb_in1k",
        hub="deit_tiny_patch16_224.fb_in1k",
    ),
)
VIT_BASE_IN21K = (
    Backbone(
        "google/vit-base-patch16-224-in21k",
        Preprocessing(224, 1.0, "bilinear", HALF, HALF),
        library="transformers",
        kwargs={"model_type": "vit"},  # whose default sizes are those of B/16
        hub="google/vit-base-patch16-224-in21k",
    ),
)


def _timm(name: str, preprocessing: Preprocessing, **more: Any) -> tuple[Backbone]:
    """timm's pretrained network `name`, model.tag, whose file may lie in weights/ under the same name."""
    return (Backbone(name.split(".")[0], preprocessing, weights=name, hub=name, **more),)


VIT_BASE_32 = _timm("vit_base_patch32_224.augreg_in21k_ft_in1k", Preprocessing(224, 0.9, "bicubic", HALF, HALF))
HYBRID = _timm("vit_small_r26_s32_224.augreg_in21k_ft_in1k", Preprocessing(224, 0.9, "bicubic", HALF, HALF))
SEEN_BY_RESNETS = Preprocessing(224, 0.875, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
RESNET50 = _timm("resnet50.tv_in1k", SEEN_BY_RESNETS)
VGG16 = _timm("vgg16.tv_in1k", SEEN_BY_RESNETS, library="dogpoc")
VGG16_AVERAGED = _timm("vgg16.tv_in1k", SEEN_BY_RESNETS, library="dogpoc", kwargs={"pooling": "average"})
SEEN_BY_INCEPTIONS = Preprocessing(299, 0.8975, "bicubic", HALF, HALF)
XCEPTION = _timm("legacy_xception.tf_in1k", SEEN_BY_INCEPTIONS)
INCEPTION_RESNET_V2 = _timm("inception_resnet_v2.tf_in1k", SEEN_BY_INCEPTIONS)
RESNEXT101_32X48D = _timm("resnext101_32x48d.fb_wsl_ig1b_ft_in1k", SEEN_BY_RESNETS)

# from scratch: the whole centre of the photo, pixels from -1 to 1
UNTAUGHT = Preprocessing(224, 1.0, "bilinear", HALF, HALF)
VGG16_UNTAUGHT, VGG16_NORMALISED, VGG16_KERNEL5 = (
    (Backbone("vgg16", UNTAUGHT, library="dogpoc", kwargs=kwargs),)
    for kwargs in ({}, {"normalised": True}, {"kernel": 5})
)
RESNET50_UNTAUGHT = (Backbone("resnet50", UNTAUGHT, kwargs={"zero_init_last": False}),)
VIT_SMALL_72, VIT_SMALL_32 = (
    (
        Backbone(
            "vit-small-scratch",
            Preprocessing(size, 1.0, "bilinear", HALF, HALF),
            library="dogpoc",
            kwargs={"size": size, "patch_size": patch},
        ),
    )
    for size, patch in ((72, 6), (32, 4))
)

# -- recipes ------------------------------------------------------------------------------------------------------

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

# Keras's defaults, where a study says no more than "Adam" or "RMSprop": a constant rate.
ADAM = Recipe(epochs=100, learning_rate=1e-3, weight_decay=0.0, optimizer="adam", schedule="constant", patience=10)
MLP = replace(ADAM, learning_rate=1e-4)
VIT_SCRATCH = Recipe(
    epochs=100,
    learning_rate=1e-3,
    weight_decay=1e-4,
    batch_size=256,
    augmentation="zoom-flip-rotation",
    patience=100,
    schedule="constant",
)
# vit-base-in21k's, with weight decay
DECAYED = Recipe(epochs=5, learning_rate=5e-5, weight_decay=0.01, warmup=0.1, augmentation="crop-flip-colour")
FIXRES = replace(PROBE, size=320)
ROTATED = replace(ADAM, epochs=10, learning_rate=1e-4, batch_size=16, augmentation="flip-rotation")

# -- what the studies report --------------------------------------------------------------------------------------

BASELINE_STUDY = N_("MobileNetV2 against ViT-B/16")
SCRATCH_STUDY = N_("VGG16, ViT from scratch and ViT-B/32 on 120 breeds")
TEN_BREEDS_STUDY = N_("VGG16 and its variations, ResNet-50 and Xception on 10 breeds")
FIXRES_STUDY = N_("FixRes on 120 breeds")
OUTLOOK = N_("outlook of the earlier studies")

ON_28_BREEDS = N_("13 and 28 breeds of 150 to 152 photos")
ON_120_BREEDS = N_("Stanford Dogs, 120 breeds")
ON_10_BREEDS = N_("10 breeds, 80 % of the photos for training")


def _on_10_breeds(value: str, top1: float) -> Published:
    return Published(value, ON_10_BREEDS, top1)


# -- methods ------------------------------------------------------------------------------------------------------


def _from_scratch(name: str, summary: str, value: str, top1: float, choices: str, **changes: Any) -> Method:
    """A VGG16 from random weights as on 10 breeds; `changes`: fields of the method that differ."""
    vgg16 = Method(
        name,
        summary,
        "Simonyan and Zisserman 2015",
        VGG16_UNTAUGHT,
        "everything",
        finetune=ADAM,
        hidden=(4096, 4096),
        study=TEN_BREEDS_STUDY,
        breeds=10,
        published=_on_10_breeds(value, top1),
        choices=choices,
    )
    return replace(vgg16, **changes)


def _frozen_mlp(name: str, summary: str, source: str, backbones: tuple[Backbone, ...], **more: Any) -> Method:
    """A frozen backbone with a head of two hidden layers and dropout, as the study on 10 breeds has it."""
    study = {"study": TEN_BREEDS_STUDY, "breeds": 10}
    return Method(name, summary, source, backbones, "head", MLP, hidden=(1024, 512), dropout=0.5, **study, **more)


def _tuned(name: str, summary: str, source: str, backbones: tuple[Backbone, ...], **more: Any) -> Method:
    """As _frozen_mlp, then everything at a low rate."""
    frozen = _frozen_mlp(name, summary, source, backbones, **more)
    return replace(frozen, trained="everything", finetune=replace(ADAM, learning_rate=1e-5))


MLP_CHOICES = N_(
    "The features are averaged over the photo, the hidden layers rectified with dropout after each, the patience is 10 "
    "epochs; the weights are those of timm that are nearest to Keras's."
)
VGG_CHOICES = N_(
    "VGG16 as in the paper, 134 M parameters, without its dropout, because a variation adds it; Glorot's initial "
    "weights, batches of 32, gradients of at most 1, at most 100 epochs. 80/20 in the study, without validation "
    "photos; here the three parts of the table."
)
VIT_SCRATCH_CHOICES = N_(
    "The sizes that are not stated are those of Keras's example of a ViT from scratch: tokens of 64 values, 4 heads of "
    "64, 8 layers, a head of 2,048 and 1,024, dropout 0.1 and 0.5, AdamW at 1e-3, batches of 256, turns of up to "
    "7.2 degrees, zoom of up to 20 %. No early stop; the epoch with the best validation loss is kept."
)


def _vit_scratch(name: str, summary: str, backbones: tuple[Backbone, ...], epochs: int, choices: str) -> Method:
    return Method(
        name,
        summary,
        "Dosovitskiy et al. 2021",
        backbones,
        "everything",
        finetune=replace(VIT_SCRATCH, epochs=epochs, patience=epochs),
        study=SCRATCH_STUDY,
        breeds=120,
        published=Published(N_("0.86-0.97 %, over its variants"), ON_120_BREEDS),
        choices=choices,
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
            study=BASELINE_STUDY,
            breeds=28,
            published=Published(N_("comparable to ViT"), ON_28_BREEDS),
            choices=N_("The rate is not stated: 3e-3 of AdamW, down along a cosine."),
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
            DECAYED,
            study=BASELINE_STUDY,
            breeds=28,
            published=Published(
                N_("comparable to MobileNetV2; mean probability of the worst breeds 0.06-0.07"), ON_28_BREEDS
            ),
            choices=N_(
                "The rate is not stated: 5e-5, the default of transformers. The head settles first, as that of "
                "mobilenetv2-frozen does; crops, flips and colours vary."
            ),
        ),
        Method(
            "deit-tiny-weight-decay",
            N_("DeiT-Ti/16 in place of ViT-B/16; a new head, then everything fine-tuned with weight decay"),
            "Touvron et al. 2021",
            DEIT_TINY,
            "everything",
            PROBE,
            DECAYED,
            stands_for="vit-base-in21k",
            study=BASELINE_STUDY,
            breeds=28,
        ),
        Method(
            "vgg16-frozen-120",
            N_("VGG16's convolutions, frozen; their 25,088 features, side by side, to one linear layer"),
            "Simonyan and Zisserman 2015",
            VGG16,
            "head",
            replace(ADAM, epochs=20, augmentation="zoom-flip-rotation"),
            study=SCRATCH_STUDY,
            breeds=120,
            published=Published(N_("22.86 %, loss 8.03"), ON_120_BREEDS, 0.2286),
            choices=N_(
                "Optimizer and epochs are not stated: Adam at 1e-3, 20 epochs. Nor are the amounts: turns of up to "
                "7.2 degrees, zoom of up to 20 %."
            ),
        ),
        _vit_scratch(
            "vit-scratch",
            N_("A small ViT from random weights: 72 pixels in 144 patches, 100 epochs"),
            VIT_SMALL_72,
            100,
            VIT_SCRATCH_CHOICES,
        ),
        _vit_scratch(
            "vit-scratch-200",
            N_("A small ViT from random weights: 72 pixels in 144 patches, 200 epochs"),
            VIT_SMALL_72,
            200,
            VIT_SCRATCH_CHOICES,
        ),
        _vit_scratch(
            "vit-scratch-32",
            N_("A small ViT from random weights: 32 pixels in 64 patches, 100 epochs"),
            VIT_SMALL_32,
            100,
            N_("As vit-scratch. The patches at 32 pixels are not stated: 4 pixels, of 48 values."),
        ),
        _vit_scratch(
            "vit-scratch-32-200",
            N_("A small ViT from random weights: 32 pixels in 64 patches, 200 epochs"),
            VIT_SMALL_32,
            200,
            N_("As vit-scratch. The patches at 32 pixels are not stated: 4 pixels, of 48 values."),
        ),
        Method(
            "vit-b32-finetuned",
            N_("Vision Transformer B/32; everything fine-tuned, with flips and turns"),
            "Dosovitskiy et al. 2021; Steiner et al. 2022",
            VIT_BASE_32,
            "everything",
            finetune=ROTATED,
            hidden=(512,),
            study=SCRATCH_STUDY,
            breeds=120,
            published=Published(N_("50.1 %, loss 3.13"), ON_120_BREEDS, 0.501),
            choices=N_(
                "A linear head makes 87.5 M parameters, one with a hidden layer of 512 the 87.9 M of the study. The "
                "rate is not stated: Adam at 1e-4. Turns of up to 7.2 degrees."
            ),
        ),
        Method(
            "vit-tiny-rotated",
            N_("ViT-Ti/16 in place of ViT-B/32; everything fine-tuned, with flips and turns"),
            "Dosovitskiy et al. 2021; Steiner et al. 2022",
            VIT_TINY,
            "everything",
            finetune=ROTATED,
            hidden=(512,),
            stands_for="vit-b32-finetuned",
            study=SCRATCH_STUDY,
            breeds=120,
        ),
        _from_scratch("vgg16-scratch", N_("VGG16 from random weights"), "0.13", 0.13, VGG_CHOICES),
        _from_scratch(
            "vgg16-scratch-augmented",
            N_("VGG16 from random weights, with zoom, flips and turns"),
            "0.12",
            0.12,
            N_("As vgg16-scratch. Not stated which ones: zoom of up to 20 %, flips, turns of up to 7.2 degrees."),
            finetune=replace(ADAM, augmentation="zoom-flip-rotation"),
        ),
        _from_scratch(
            "vgg16-scratch-bn-dropout",
            N_("VGG16 from random weights, with batch normalisation and dropout"),
            "0.16",
            0.16,
            N_(
                "As vgg16-scratch. The places are not stated: normalisation after each convolution, dropout 0.5 after "
                "each hidden layer of the head."
            ),
            backbones=VGG16_NORMALISED,
            dropout=0.5,
            source="Simonyan and Zisserman 2015; Ioffe and Szegedy 2015; Srivastava et al. 2014",
        ),
        _from_scratch(
            "vgg16-scratch-rmsprop",
            N_("VGG16 from random weights, by RMSprop"),
            "0.15",
            0.15,
            N_("As vgg16-scratch. The rate is not stated: 1e-3, as for Adam."),
            finetune=replace(ADAM, optimizer="rmsprop"),
        ),
        _from_scratch(
            "vgg16-scratch-kernel5",
            N_("VGG16 from random weights, with convolutions of 5 x 5 pixels"),
            "0.15",
            0.15,
            N_("As vgg16-scratch. All convolutions are 5 x 5."),
            backbones=VGG16_KERNEL5,
        ),
        _from_scratch(
            "resnet50-scratch",
            N_("ResNet-50 from random weights"),
            "0.14",
            0.14,
            N_("As vgg16-scratch; He's initial weights, a linear head."),
            source="He et al. 2016",
            backbones=RESNET50_UNTAUGHT,
            hidden=(),
        ),
        _frozen_mlp(
            "resnet50-frozen",
            N_("ResNet-50, frozen; a head with two hidden layers and dropout"),
            "He et al. 2016",
            RESNET50,
            published=_on_10_breeds("0.934", 0.934),
            choices=MLP_CHOICES,
        ),
        _frozen_mlp(
            "vgg16-frozen",
            N_("VGG16's convolutions, frozen; a head with two hidden layers and dropout"),
            "Simonyan and Zisserman 2015",
            VGG16_AVERAGED,
            published=_on_10_breeds("0.889", 0.889),
            choices=MLP_CHOICES,
        ),
        _frozen_mlp(
            "xception-frozen",
            N_("Xception, frozen; a head with two hidden layers and dropout"),
            "Chollet 2017",
            XCEPTION,
            published=_on_10_breeds("0.949", 0.949),
            choices=MLP_CHOICES,
        ),
        _tuned(
            "xception-tuned",
            N_("Xception; a head with two hidden layers and dropout, then everything at a low rate"),
            "Chollet 2017; Li et al. 2018",
            XCEPTION,
            published=_on_10_breeds(N_("0.955 after the search, 0.931 after training everything"), 0.931),
            choices=N_(
                "Hyperband searched dropout (0.3 to 0.6) and rate (1e-2 to 1e-4) in the study; what it found is not "
                "stated: 0.5 and 1e-4, those of xception-frozen. Then Adam at 1e-5; batch statistics stay."
            ),
        ),
        _frozen_mlp(
            "mobilenetv2-mlp",
            N_("MobileNetV2 in place of Xception, frozen; a head with two hidden layers and dropout"),
            "Sandler et al. 2018",
            MOBILENETV2,
            stands_for="xception-frozen",
        ),
        _tuned(
            "mobilenetv2-mlp-tuned",
            N_("MobileNetV2 in place of Xception; a head with two hidden layers, then everything at a low rate"),
            "Sandler et al. 2018; Li et al. 2018",
            MOBILENETV2,
            stands_for="xception-tuned",
        ),
        Method(
            "inceptionresnetv2-frozen",
            N_("Inception-ResNet-v2, frozen; a new linear head on its features"),
            "Szegedy et al. 2017",
            INCEPTION_RESNET_V2,
            "head",
            PROBE,
            study=FIXRES_STUDY,
            breeds=120,
            published=Published("91 %", ON_120_BREEDS, 0.91),
            choices=N_("The recipe is not stated: that of mobilenetv2-frozen."),
        ),
        Method(
            "resnext101-32x48d-fixres",
            N_("ResNeXt-101 32x48d, frozen; a linear head trained on photos of 320 pixels, tested at 224"),
            "Mahajan et al. 2018; Touvron et al. 2019",
            RESNEXT101_32X48D,
            "head",
            FIXRES,
            study=FIXRES_STUDY,
            breeds=120,
            published=Published(N_("94.73 %, trained at 320 and tested at 224"), ON_120_BREEDS, 0.9473),
            choices=N_(
                "The study counts 829 M parameters, about those of the network with its 1,000 ImageNet classes "
                "(828.4 M); with 120 they are 826.6 M. The recipe of the head is not stated: that of "
                "mobilenetv2-frozen. Photos are validated at 224."
            ),
        ),
        Method(
            "mobilenetv2-fixres",
            N_("MobileNetV2 in place of ResNeXt-101, frozen; a linear head trained at 320 pixels, tested at 224"),
            "Sandler et al. 2018; Touvron et al. 2019",
            MOBILENETV2,
            "head",
            FIXRES,
            stands_for="resnext101-32x48d-fixres",
            study=FIXRES_STUDY,
            breeds=120,
        ),
        Method(
            "hybrid",
            N_("ViT-S/32 on a ResNet-26; from its ImageNet classifier, the head first, then everything"),
            "Dosovitskiy et al. 2021; Steiner et al. 2022",
            HYBRID,
            "everything",
            SETTLING,
            FINETUNE,
            head="imagenet",
            study=OUTLOOK,
            choices=N_("The recipe is that of vit-tiny-finetuned; the study asks for such a network and says no more."),
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
        _("no method '{name}'.{hint} List them: python -m dogpoc methods").format(name=name[:100], hint=hint)
    )


def record(method: Method, backbone: Backbone) -> dict[str, Any]:
    """What run.json keeps of a method that was trained on one of its backbones. See ADDED, UNTOLD."""
    kept = {key: value for key, value in _told(method).items() if key != "backbones"}
    return {**kept, "backbone": {key: value for key, value in _told(backbone).items() if key != "preprocessing"}}


def _told(value: Any) -> Any:
    if not is_dataclass(value):
        return list(value) if isinstance(value, tuple) else value
    told = [f for f in fields(value) if not (f.metadata == UNTOLD or _is_left_out(f, value))]
    return {f.name: _told(getattr(value, f.name)) for f in told}


def _is_left_out(added: Field, value: Any) -> bool:
    return added.metadata == ADDED and getattr(value, added.name) == added.default
