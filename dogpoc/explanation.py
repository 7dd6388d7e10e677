"""Where a vision transformer looks: the attention of one forward pass, and maps of the photo made from it."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import plotly.colors
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dogpoc import DogpocError
from dogpoc.translation import _

SOFTMAX = {F.softmax, torch.softmax, torch.Tensor.softmax}


class ExplanationError(DogpocError):
    """A model for which the explanation makes no sense."""


@dataclass(frozen=True)
class Attention:
    """The attention of a vision transformer for one photo, and its answer from the same forward pass.

    maps: (L, H, T, T) float, layers x heads x queries x keys; each row sums to 1. The patches are the last tokens.
    logits: (C,) float32.   grid: (rows, columns) of patches.
    class_token: whether the answer is read from the first token; if not, from the mean over the patches.
    """

    maps: np.ndarray
    logits: np.ndarray
    grid: tuple[int, int]
    class_token: bool

    @property
    def prefix(self) -> int:
        """Tokens before the patches: class token, distillation token, registers."""
        return self.maps.shape[-1] - self.grid[0] * self.grid[1]


class _Recorder(TorchFunctionMode):
    """Within the `with` block, and in this thread only, keeps the attention that any model computes.

    The fused kernel has no attention matrix to keep; its definition is computed instead. The model is not touched:
    no hook, no switch, so threads that share it do not mix.
    """

    def __init__(self):
        super().__init__()
        self.maps: list[torch.Tensor] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        output = function(*args, **kwargs)
        if function in SOFTMAX:
            self._keep(output)
        return output

    def _attend(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **options):
        plain = attn_mask is None and not dropout_p and not is_causal and key.shape == query.shape
        if not plain:  # not the self-attention of an image model
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **options
            )
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        attention = ((query * scale) @ key.transpose(-2, -1)).softmax(dim=-1)  # (n, H, T, T)
        self._keep(attention)
        return attention @ value

    def _keep(self, attention: torch.Tensor) -> None:
        if attention.ndim == 4 and attention.shape[-1] == attention.shape[-2]:
            self.maps.append(attention)


def attention_maps(model: nn.Module, pixels: torch.Tensor) -> Attention:
    """The attention and the answer of `model` for one photo, in one forward pass.

    model:  a vision transformer in eval mode whose every layer looks at the whole photo (ViT, DeiT, with registers...).
    pixels: (1, 3, H, W) float, as dogpoc.inference.to_tensor makes them.
    Raises ExplanationError for a model without such attention (a CNN; windows as in Swin).
    """
    refusal = ExplanationError(_("this model has no attention over the whole photo: choose a vision transformer"))
    patch = _patch_size(model)
    if patch is None:
        raise refusal
    with torch.inference_mode(), _Recorder() as recorder:
        logits = model(pixels.to(next(model.parameters()).device))
    grid = (pixels.shape[2] // patch[0], pixels.shape[3] // patch[1])
    shapes = {tuple(maps.shape) for maps in recorder.maps}  # (1, H, T, T), the same in every layer
    if len(shapes) != 1 or min(shapes)[0] != 1 or min(shapes)[-1] < grid[0] * grid[1]:
        raise refusal
    maps = torch.cat(recorder.maps).float().cpu().numpy()
    return Attention(maps, logits[0].float().cpu().numpy(), grid, _reads_class_token(model))


def _patch_size(model: nn.Module) -> tuple[int, int] | None:
    """Height and width of a patch in pixels: in patch_embed (timm) or a config (transformers)."""
    size = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if size is None:
        size = getattr(getattr(getattr(model, "model", None), "config", None), "patch_size", None)
    return (size, size) if isinstance(size, int) else size


def _reads_class_token(model: nn.Module) -> bool:
    return getattr(model, "global_pool", "token") == "token" and getattr(model, "cls_token", ...) is not None


def token_map(attention: Attention, layer: int, head: int | None = None) -> np.ndarray:
    """How much the answer's token attends to each patch: (rows, columns), each the share of its attention.

    layer: 0..L-1.   head: 0..H-1, or None for the mean over the heads.
    The answer's token is the class token; in a model without one, the mean over all patches.
    The sum is at most 1: the rest goes to the class token itself and to registers.
    """
    heads = attention.maps[layer].astype(np.float32)  # (H, T, T)
    return _patches(_reader(attention) @ (heads.mean(0) if head is None else heads[head]), attention)


def rollout(attention: Attention) -> np.ndarray:
    """How much of each patch reaches the answer's token through all layers: (rows, columns).

    Abnar and Zuidema 2020: half of each layer is its attention (mean over heads), half the skip connection that passes
    a token on unchanged, and the layers multiply.
    """
    share = _reader(attention)  # of each token in the answer, followed down from the last layer to the photo
    for heads in attention.maps[::-1]:
        layer = heads.mean(0, dtype=np.float32)  # (T, T)
        share = 0.5 * share + 0.5 * share @ (layer / layer.sum(-1, keepdims=True))
    return _patches(share, attention)


def _reader(attention: Attention) -> np.ndarray:
    """(T,) weights of the tokens from which the answer is read; they sum to 1."""
    weights = np.zeros(attention.maps.shape[-1], np.float32)
    weights[0 if attention.class_token else slice(attention.prefix, None)] = 1
    return weights / weights.sum()


def _patches(tokens: np.ndarray, attention: Attention) -> np.ndarray:
    """(T,) values of tokens -> (rows, columns) of the patches among them."""
    return tokens[attention.prefix :].reshape(attention.grid)


def overlay(pixels: np.ndarray, values: np.ndarray, opacity: float = 0.55) -> np.ndarray:
    """A heat map on a photo, which turns grey so that colour means heat only: (H, W, 3) uint8.

    pixels:  (H, W, 3) uint8, the photo as the model sees it.   values: (rows, columns), stretched over all of it.
    opacity: 0 (the grey photo) .. 1 (the map). The colours run from the lowest value (black) over purple and orange to
    the highest (yellow); perceptually uniform, and ordered by lightness for colour-blind readers (inferno).
    """
    low, high = float(values.min()), float(values.max())
    scaled = (values.astype(np.float32) - low) / (high - low or 1)
    height, width = pixels.shape[:2]
    smooth = Image.fromarray(scaled).resize((width, height), Image.Resampling.BILINEAR)
    heat = _colours()[np.uint8(np.asarray(smooth) * 255)]
    grey = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return np.uint8((1 - opacity) * grey + opacity * heat + 0.5)


@cache
def _colours() -> np.ndarray:
    """(256, 3) float: inferno."""
    stops = [plotly.colors.hex_to_rgb(colour) for colour in plotly.colors.sequential.Inferno]
    positions = np.linspace(0, len(stops) - 1, 256)
    return np.stack([np.interp(positions, range(len(stops)), channel) for channel in np.transpose(stops)], axis=1)
