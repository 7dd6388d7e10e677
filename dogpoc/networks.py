"""Networks that no library has as the studies had them: VGG16 and its variations, a small vision transformer without
a class token, and ResNeXt-101 32x48d, which timm has weights for but does not build.

All behave like timm's models: forward_features, forward_head(pre_logits), get_classifier; made by `build`, in which a
name stands for a class, or by timm.create_model("resnext101_32x48d").
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from timm.models import build_model_with_cfg, register_model, resnet
from torch import nn
from torch.nn import functional as F

# convolutions by their output channels; the maps are halved after each row (Simonyan and Zisserman 2015, table 1, D)
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

default_cfgs = {name: cfg for name, cfg in resnet.default_cfgs.items() if name == "resnext101_32x48d"}  # for timm


@register_model
def resnext101_32x48d(pretrained: bool = False, **kwargs) -> resnet.ResNet:
    """ResNeXt-101 32x48d (Xie et al. 2017; Mahajan et al. 2018): 828,411,176 parameters with 1,000 classes."""
    shape = {"block": resnet.Bottleneck, "layers": (3, 4, 23, 3), "cardinality": 32, "base_width": 48}
    return build_model_with_cfg(resnet.ResNet, "resnext101_32x48d", pretrained, **{**shape, **kwargs})


def build(model: str, classes: int, **kwargs) -> nn.Module:
    """The network called `model`: "vgg16" or "vit-small-scratch", with random weights and `classes` outputs."""
    return {"vgg16": VGG, "vit-small-scratch": SmallViT}[model](classes, **kwargs)


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers from sizes[0] to sizes[-1] values, the activation and dropout after all but the last.

    They begin with Glorot's uniform weights (Glorot and Bengio 2010) and no bias, as layers do in Keras.

    >>> [tuple(layer.weight.shape) for layer in mlp((8, 4, 2)) if isinstance(layer, nn.Linear)]
    [(4, 8), (2, 4)]
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation(), nn.Dropout(dropout)]
    return _glorot(nn.Sequential(*layers[:-2]))


def _glorot(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return module


class VGG(nn.Module):
    """VGG16's convolutions and one linear layer; the names of its weights are timm's and torchvision's.

    size: pixels of the input's sides, a multiple of 32.   pooling: "flatten", to 512 x (size / 32)^2 features, or
    "average", to 512.   kernel: side of the convolutions, 3 in the paper.   normalised: batch normalisation after each
    of them.
    """

    def __init__(
        self, classes: int, size: int = 224, pooling: str = "flatten", kernel: int = 3, normalised: bool = False
    ):
        super().__init__()
        layers, channels = [], 3
        for widths in VGG16:
            for width in widths:
                layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
                layers += [nn.BatchNorm2d(width)] if normalised else []
                layers.append(nn.ReLU())
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1) if pooling == "average" else nn.Identity()
        self.head = nn.Linear(channels * (1 if pooling == "average" else (size // 32) ** 2), classes)
        _glorot(self)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)  # (n, 512, size / 32, size / 32)

    def forward_head(self, maps: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        features = self.pool(maps).flatten(1)
        return features if pre_logits else self.head(features)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


class Patches(nn.Module):
    """Cuts a photo into squares of `patch_size` pixels, projects each to `width` values and adds its place's own."""

    def __init__(self, size: int, patch_size: int, width: int):
        super().__init__()
        self.patch_size = (patch_size, patch_size)
        self.project = nn.Linear(3 * patch_size**2, width)
        self.position = nn.Parameter(torch.empty((size // patch_size) ** 2, width).uniform_(-0.05, 0.05))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = F.unfold(x, self.patch_size, stride=self.patch_size).transpose(1, 2)  # (n, patches, 3 x pixels)
        return self.project(patches) + self.position


class Attention(nn.Module):
    """Self-attention whose heads are as wide as the tokens, not a part of them (Vaswani et al. 2017 divide)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * heads * width)
        self.out = nn.Linear(heads * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (n, heads, T, width)
        dropout = self.dropout if self.training else 0.0
        return self.out(F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One layer of the encoder: attention, then two linear layers, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int, dropout: float = 0.1):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, dropout)
        self.mlp = nn.Sequential(mlp((width, 2 * width, width), nn.GELU, dropout), nn.GELU(), nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SmallViT(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021) for training from scratch on a few photos: narrow, no class token;
    all tokens of the last layer, side by side, go through a head of hidden layers.

    size, patch_size: pixels; their ratio squared is the number of patches.   width: values of a token.
    hidden: sizes of the head's hidden layers.
    """

    cls_token = None  # as timm says that there is none

    def __init__(
        self,
        classes: int,
        size: int = 72,
        patch_size: int = 6,
        width: int = 64,
        heads: int = 4,
        layers: int = 8,
        hidden: Sequence[int] = (2048, 1024),
    ):
        super().__init__()
        self.patch_embed = Patches(size, patch_size, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _layer in range(layers)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        features = len(self.patch_embed.position) * width
        self.head = nn.Sequential(nn.Dropout(0.5), mlp((features, *hidden, classes), nn.GELU, 0.5))
        _glorot(self)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.blocks(self.patch_embed(x)))  # (n, patches, width)

    def forward_head(self, tokens: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        features = tokens.flatten(1)
        return features if pre_logits else self.head(features)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))
