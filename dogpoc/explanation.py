"""Maps of a photo that explain a model's answer, in the grid of its patches or of its last feature maps.

Where a vision transformer looks (attention, rollout), and what speaks for one breed, or for one breed and against
another: relevance for transformers, Grad-CAM for CNNs, integrated gradients and occlusion for both. The model is never
touched: no hook, no switch, so threads that share it do not mix. How faithful a map is: dogpoc.faithfulness.
"""

from collections.abc import Sequence
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
from dogpoc.inference import Classifier, PixelModel, normalise, preprocess, to_tensor
from dogpoc.methods import Preprocessing
from dogpoc.translation import _

METHODS = ("attention", "rollout", "relevance", "gradcam", "integrated-gradients", "occlusion")
SAME_FOR_ALL_BREEDS = ("attention", "rollout")
SOFTMAX = {F.softmax, torch.softmax, torch.Tensor.softmax}
NORMS = {F.layer_norm, F.rms_norm}
OUTLIER = 2  # times the median norm of the patches
STEPS = 16  # of integrated gradients, by Gauss and Legendre
OCCLUDED = 7  # squares along each side, so that transformers and CNNs are asked the same
BATCH = 16  # occluded photos at once
GRADIENTS = 4  # photos at once with gradients: their activations stay small


class ExplanationError(DogpocError):
    """A model for which the explanation makes no sense, or a method that there is not."""


@dataclass(frozen=True)
class Attention:
    """The attention of a vision transformer for one photo, and its answer from the same forward pass.

    maps: (L, H, T, T) float, layers x heads x queries x keys; each row sums to 1. The patches are the last tokens.
    logits: (C,) float32.   grid: (rows, columns) of patches.
    class_token: whether the answer is read from the first token; if not, from the mean over the patches.
    norms: (T,) float32, lengths of the tokens before the last normalisation; (0,) where the model has none.
    """

    maps: np.ndarray
    logits: np.ndarray
    grid: tuple[int, int]
    class_token: bool
    norms: np.ndarray

    @property
    def prefix(self) -> int:
        """Tokens before the patches: class token, distillation token, registers."""
        return self.maps.shape[-1] - self.grid[0] * self.grid[1]


class _Recorder(TorchFunctionMode):
    """Within the `with` block, and in this thread only, keeps the attention that any model computes.

    The fused kernel has no attention matrix to keep; its definition is computed instead.
    """

    def __init__(self):
        super().__init__()
        self.maps: list[torch.Tensor] = []
        self.tokens: torch.Tensor | None = None  # (1, T, D), before the last normalisation

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        output = function(*args, **kwargs)
        if function in SOFTMAX:
            self._keep(output)
        elif function in NORMS and args[0].ndim == 3:
            self.tokens = args[0].detach()
        return output

    def _attend(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **options):
        biased = attn_mask is not None and attn_mask.is_floating_point()  # by relative positions
        if not (attn_mask is None or biased) or dropout_p or is_causal or key.shape != query.shape:
            return F.scaled_dot_product_attention(  # not the self-attention of an image model
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **options
            )
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = (query * scale) @ key.transpose(-2, -1)
        attention = (scores + attn_mask if biased else scores).softmax(dim=-1)  # (n, H, T, T)
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
    with torch.inference_mode():
        logits, maps, grid, tokens = _recorded(model, pixels)
        norms = torch.zeros(0) if tokens is None else tokens[0].norm(dim=-1)
        arrays = [array.float().cpu().numpy() for array in (torch.cat(maps), logits[0], norms)]
    return Attention(arrays[0], arrays[1], grid, _reads_class_token(model), arrays[2])


def _recorded(
    model: nn.Module, pixels: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor], tuple[int, int], torch.Tensor | None]:
    """One forward pass: logits (1, C), the attention of each layer (1, H, T, T), the grid of patches, and the tokens
    (1, T, D) before the last normalisation."""
    refusal = ExplanationError(_("this model has no attention over the whole photo: choose a vision transformer"))
    patch = _patch_size(model)
    if patch is None:
        raise refusal
    with _Recorder() as recorder:
        logits = model(pixels.to(_device(model)))
    grid = (pixels.shape[2] // patch[0], pixels.shape[3] // patch[1])
    shapes = {tuple(maps.shape) for maps in recorder.maps}  # the same in every layer
    if len(shapes) != 1 or min(shapes)[0] != 1 or min(shapes)[-1] < grid[0] * grid[1]:
        raise refusal
    tokens = recorder.tokens
    return logits, recorder.maps, grid, tokens if tokens is not None and tokens.shape[1] == min(shapes)[-1] else None


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _patch_size(model: nn.Module) -> tuple[int, int] | None:
    """Height and width of a patch in pixels: in patch_embed (timm) or a config (transformers)."""
    size = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if size is None:
        size = getattr(getattr(getattr(model, "model", None), "config", None), "patch_size", None)
    return (size, size) if isinstance(size, int) else size


def _reads_class_token(model: nn.Module) -> bool:
    return getattr(model, "global_pool", "token") == "token" and getattr(model, "cls_token", ...) is not None


def token_map(
    attention: Attention, layer: int, head: int | None = None, patch: tuple[int, int] | None = None
) -> np.ndarray:
    """How much the answer's token attends to each patch: (rows, columns), each the share of its attention.

    layer: 0..L-1.   head: 0..H-1, or None for the mean over the heads.
    patch: (row, column) of the patch whose attention is meant, in place of the answer's token's.
    The answer's token is the class token; in a model without one, the mean over all patches.
    The sum is at most 1: the rest goes to the class token itself and to registers.
    """
    heads = attention.maps[layer].astype(np.float32)  # (H, T, T)
    chosen = heads.mean(0) if head is None else heads[head]
    row = _reader(attention) @ chosen if patch is None else chosen[_token(attention, patch)]
    return _patches(row, attention)


def _token(attention: Attention, patch: tuple[int, int]) -> int:
    return attention.prefix + patch[0] * attention.grid[1] + patch[1]


def rollout(attention: Attention) -> np.ndarray:
    """How much of each patch reaches the answer's token through all layers: (rows, columns).

    Abnar and Zuidema 2020: half of each layer is its attention (mean over heads), half the skip connection that passes
    a token on unchanged, and the layers multiply.
    """
    share = _reader(attention)  # of each token in the answer, followed down from the last layer to the photo
    for layer in attention.maps[::-1]:
        heads = layer.astype(np.float32, copy=False)  # (H, T, T)
        sums = heads.sum(-1).mean(0)  # 1, but for rounding in half precision
        share = 0.5 * share + 0.5 * (share / sums @ heads).mean(0)
    return _patches(share, attention)


def _reader(attention: Attention) -> np.ndarray:
    """(T,) weights of the tokens from which the answer is read; they sum to 1."""
    return _reading(attention.maps.shape[-1], attention.prefix, attention.class_token)


def _reading(tokens: int, prefix: int, class_token: bool) -> np.ndarray:
    weights = np.zeros(tokens, np.float32)
    weights[0 if class_token else slice(prefix, None)] = 1
    return weights / weights.sum()


def _patches(tokens: np.ndarray, attention: Attention) -> np.ndarray:
    """(T,) values of tokens -> (rows, columns) of the patches among them."""
    return tokens[attention.prefix :].reshape(attention.grid)


def outliers(attention: Attention) -> np.ndarray:
    """(rows, columns) bool: patches whose token is OUTLIER times longer than the median patch's.

    Transformers keep notes about the whole photo in such tokens (Darcet et al. 2024); attention to them says nothing
    about the patch that they stand on.
    """
    if not len(attention.norms):
        return np.zeros(attention.grid, bool)
    norms = _patches(attention.norms, attention)
    return norms > OUTLIER * np.median(norms)


# -- why this breed -----------------------------------------------------------------------------------------------


def explain(
    classifier: Classifier, image: Image.Image, method: str, breed: int, against: int | None = None
) -> np.ndarray:
    """A map of what in an upright RGB photo speaks for `breed`: (h, w) float32, in the grid of the model's patches or
    of its last feature maps, over the part of the photo that the model sees (inference.crop_box).

    method: one of METHODS.   breed, against: indices into classifier.breeds; with `against`, what speaks for `breed`
    and not for that one: the logit difference is explained. SAME_FOR_ALL_BREEDS explain no breed.
    Raises ExplanationError where the method makes no sense for the model.

    attention: shares of the last layer's attention, mean over heads.   rollout: shares.   relevance, gradcam: >= 0, no
    unit.   integrated-gradients: the map's sum is the score minus that of a grey photo.   occlusion: by how much the
    score falls where a square is grey.
    """
    return explain_pixels(classifier, preprocess(image, classifier.preprocessing), method, breed, against)


def explain_pixels(
    classifier: Classifier, pixels: np.ndarray, method: str, breed: int, against: int | None = None
) -> np.ndarray:
    """As `explain`, for a photo as the model sees it: (H, W, 3) uint8 (inference.preprocess)."""
    if method not in METHODS:
        raise ExplanationError(
            _("no method '{method}'; found: {found}").format(method=method[:100], found=", ".join(METHODS))
        )
    if against == breed:
        raise ExplanationError(_("a breed cannot be explained against itself: choose two breeds"))
    model, x = classifier.model, to_tensor(np.stack([pixels]), classifier.preprocessing)
    if method == "occlusion":
        return occlusion(classifier, pixels, breed, against)
    if method in SAME_FOR_ALL_BREEDS:
        attention = attention_maps(model, x)
        return rollout(attention) if method == "rollout" else token_map(attention, -1)
    ways = {"relevance": relevance, "gradcam": gradcam, "integrated-gradients": integrated_gradients}
    return ways[method](model, x, breed, against)


def usual_method(model: nn.Module) -> str:
    """The method that was made for such a model: "relevance" for a transformer, else "gradcam"."""
    return "gradcam" if _patch_size(model) is None or hasattr(model, "output_fmt") else "relevance"


def _score(logits: torch.Tensor, breed: int, against: int | None) -> torch.Tensor:
    """(n, C) logits -> (n,) what is explained: a breed's logit, or how far it is above another's."""
    return logits[:, breed] if against is None else logits[:, breed] - logits[:, against]


def relevance(model: nn.Module, pixels: torch.Tensor, breed: int, against: int | None = None) -> np.ndarray:
    """How much each patch speaks for a breed through all layers of a transformer: (rows, columns), >= 0.

    Chefer et al. 2021 (Generic Attention-model Explainability), equations 5 and 6: in each layer, attention times its
    gradient, what is positive of it, mean over heads, is added to what came from below. One row is followed down.
    """
    with torch.enable_grad():
        x = pixels.to(_device(model), copy=True).requires_grad_()
        logits, maps, grid, _tokens = _recorded(model, x)
        score = _score(logits, breed, against).sum()
        gradients = torch.autograd.grad(score, maps, materialize_grads=True)
    prefix = maps[0].shape[-1] - grid[0] * grid[1]
    share = torch.from_numpy(_reading(maps[0].shape[-1], prefix, _reads_class_token(model))).to(score.device)
    for layer, gradient in zip(maps[::-1], gradients[::-1], strict=True):
        share = share + share @ (layer.detach() * gradient).clamp(min=0).mean(dim=1)[0].float()
    return share[prefix:].reshape(grid).cpu().numpy()


def gradcam(model: nn.Module, pixels: torch.Tensor, breed: int, against: int | None = None) -> np.ndarray:
    """What of a CNN's last feature maps speaks for a breed: (h, w), >= 0.

    Selvaraju et al. 2017: the maps, weighted by the mean of their gradient; what is positive of their sum.
    """
    features = _features(model, pixels)
    if features.ndim != 4:
        raise ExplanationError(_("this model has no feature maps for Grad-CAM: choose relevance"))
    with torch.enable_grad():
        leaf = features.requires_grad_()
        score = _score(model.forward_head(leaf.clone()), breed, against).sum()  # a head may change its input
        (gradient,) = torch.autograd.grad(score, leaf)
    maps, gradient = (_channels_first(model, part) for part in (leaf.detach(), gradient))
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(dim=1)[0].clamp(min=0).float().cpu().numpy()


def integrated_gradients(model: nn.Module, pixels: torch.Tensor, breed: int, against: int | None = None) -> np.ndarray:
    """What each cell adds to the score on the way from a grey photo (the mean colour) to this one: (h, w), either sign.

    Sundararajan et al. 2017, by captum; summed over the pixels of a cell.
    """
    from captum.attr import IntegratedGradients

    x = pixels.to(_device(model), copy=True)
    with torch.enable_grad():
        attributions = IntegratedGradients(lambda photos: _score(model(photos), breed, against)).attribute(
            x, n_steps=STEPS, internal_batch_size=GRADIENTS
        )
    values = attributions.sum(dim=1)[0].detach().double().cpu().numpy()  # (H, W)
    rows, columns = (_cells(n, cells) for n, cells in zip(values.shape, _grid(model, pixels), strict=True))
    return (rows @ values @ columns.T).astype(np.float32)


def occlusion(classifier: Classifier, pixels: np.ndarray, breed: int, against: int | None = None) -> np.ndarray:
    """By how much the score falls where a square of about a OCCLUDED-th of each side is grey: (h, w), either sign.

    Zeiler and Fergus 2014, by captum; on the runtime that answers. pixels: (H, W, 3) uint8.
    """
    from captum.attr import Occlusion

    grid = _grid(classifier.model, to_tensor(np.stack([pixels]), classifier.preprocessing))
    photo = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()  # (1, 3, H, W), 0..255
    grey = torch.tensor(classifier.preprocessing.mean).view(1, 3, 1, 1).mul(255).round().expand_as(photo)
    window = tuple(
        max(1, side * max(1, round(cells / OCCLUDED)) // cells) for side, cells in zip(pixels.shape, grid, strict=False)
    )

    def score(photos: torch.Tensor) -> torch.Tensor:
        frames = photos.permute(0, 2, 3, 1).to(torch.uint8).numpy()
        return _score(torch.from_numpy(classifier.forward(frames)[0]), breed, against)

    with torch.no_grad():
        attributions = Occlusion(score).attribute(
            photo,
            sliding_window_shapes=(3, *window),
            strides=(3, *window),
            baselines=grey,
            perturbations_per_eval=BATCH,
        )
    values = attributions[0, 0].double().numpy()  # (H, W)
    rows, columns = (_cells(n, cells) for n, cells in zip(values.shape, grid, strict=True))
    return (rows @ values @ columns.T / np.outer(rows.sum(1), columns.sum(1))).astype(np.float32)


def _features(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """What the model's head reads: (1, C, h, w) or (1, h, w, C) maps, or (1, T, D) tokens."""
    with torch.no_grad():
        return model.forward_features(pixels.to(_device(model))).detach()


def _channels_first(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    last = str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC")  # timm's word for the order of its features
    return features.permute(0, 3, 1, 2) if last else features


def _grid(model: nn.Module, pixels: torch.Tensor) -> tuple[int, int]:
    """(rows, columns) of the model's patches or last feature maps for photos of this size."""
    patch, features = _patch_size(model), _features(model, pixels)
    if features.ndim == 4:
        return tuple(_channels_first(model, features).shape[2:])
    if patch is None:
        raise ExplanationError(_("this model has neither patches nor feature maps to draw on"))
    return pixels.shape[2] // patch[0], pixels.shape[3] // patch[1]


def _cells(pixels: int, cells: int) -> np.ndarray:
    """(cells, pixels) of 0 and 1: which pixels along one side belong to which cell."""
    return np.float64(np.arange(cells)[:, None] == np.arange(pixels) * cells // pixels)


# -- drawing ------------------------------------------------------------------------------------------------------


def overlay(
    pixels: np.ndarray, values: np.ndarray, opacity: float = 0.55, *, faded: bool = False, smooth: bool = True
) -> np.ndarray:
    """A heat map on a photo, which turns grey so that colour means heat only: (H, W, 3) uint8.

    pixels:  (H, W, 3) uint8, the photo as the model sees it.   values: (rows, columns), stretched over all of it.
    opacity: 0 (the grey photo) .. 1 (the map).   faded: in greys, for a map that means nothing.   smooth: whether the
    values run into each other; if not, each cell has one colour.
    The colours run from the lowest value (black) over purple and orange to the highest (yellow); perceptually uniform,
    and ordered by lightness for colour-blind readers (inferno).
    """
    low, high = float(values.min()), float(values.max())
    scaled = (values.astype(np.float32) - low) / (high - low or 1)
    height, width = pixels.shape[:2]
    way = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    heat = Image.fromarray(np.uint8(np.asarray(Image.fromarray(scaled).resize((width, height), way)) * 255))
    heat.putpalette(_palette(faded))
    grey = Image.fromarray(pixels).convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, heat.convert("RGB"), opacity))


@cache
def _palette(faded: bool) -> bytes:
    colours = _colours()
    if faded:
        colours = np.repeat(96 + colours.mean(axis=1, keepdims=True) / 2, 3, axis=1)
    return np.uint8(colours.round()).tobytes()


@cache
def _colours() -> np.ndarray:
    """(256, 3) float: inferno."""
    stops = [plotly.colors.hex_to_rgb(colour) for colour in plotly.colors.sequential.Inferno]
    positions = np.linspace(0, len(stops) - 1, 256)
    return np.stack([np.interp(positions, range(len(stops)), channel) for channel in np.transpose(stops)], axis=1)


# -- answers that come with their maps ----------------------------------------------------------------------------


class ExplainedModel(PixelModel):
    """A PixelModel whose one forward pass gives maps as well: (n, H, W, 3) uint8 -> logits, features, (n, B, h, w).

    B = C: Grad-CAM of each breed, for a CNN whose head is linear in the mean of its last feature maps: the gradient is
    the head's weights then (Selvaraju et al. 2017, section 3.1), and need not be taken. What is negative is kept.
    B = 1: the rollout of a transformer, the same for all breeds.   Another network gives no maps.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing):
        super().__init__(network, preprocessing)
        with torch.no_grad():
            grey = torch.rand(1, 3, preprocessing.size, preprocessing.size, device=_device(network))
            last = network.forward_features(grey)
            features = network.forward_head(last, pre_logits=True)
        means = _channels_first(network, last).mean(dim=(2, 3)) if last.ndim == 4 else features[:0]
        linear = isinstance(network.get_classifier(), nn.Linear)
        self.pools = linear and means.shape == features.shape and torch.allclose(means, features, atol=1e-4)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with _Recorder() as recorder:
            last = self.network.forward_features(normalise(pixels, self.preprocessing))
        features = self.network.forward_head(last, pre_logits=True)
        head = self.network.get_classifier()
        if self.pools:
            last = _channels_first(self.network, last)
            maps = torch.einsum("cd,ndhw->nchw", head.weight, last) / (last.shape[2] * last.shape[3])
        else:
            maps = self._rollout(recorder.maps)
        return (head(features), features) if maps is None else (head(features), features, maps)

    def _rollout(self, layers: list[torch.Tensor]) -> torch.Tensor | None:
        """As `rollout`, for several photos at once; None where the attention is not over the whole photo."""
        patch, side = _patch_size(self.network), self.preprocessing.size
        tokens = {int(layer.shape[-1]) for layer in layers}  # plain numbers, also while the pass is traced
        if patch is None or len(tokens) != 1:
            return None
        grid = (side // patch[0], side // patch[1])
        prefix = min(tokens) - grid[0] * grid[1]
        if prefix < 0:
            return None
        reader = _reading(min(tokens), prefix, _reads_class_token(self.network))
        share = torch.from_numpy(reader).to(layers[0].device)[None, None]  # (1, 1, T)
        for layer in layers[::-1]:
            share = 0.5 * share + 0.5 * share @ layer.mean(dim=1)
        return share[:, :, prefix:].reshape(-1, 1, *grid)


def map_of_answer(
    classifier: Classifier, pixels: np.ndarray, breed: int, maps: Sequence[np.ndarray]
) -> tuple[str, np.ndarray]:
    """The method that explains an answer to one photo, and its map (h, w) of `breed`.

    pixels: (H, W, 3) uint8.   maps: (B, h, w) from the same pass of an ExplainedModel; empty where it gives none: a
    pass of its own is made then.   Raises ExplanationError where there is no method for the model.
    """
    if not len(maps):
        method = usual_method(classifier.model)
        return method, explain_pixels(classifier, pixels, method, breed)
    return ("rollout", maps[0]) if len(maps) == 1 else ("gradcam", maps[breed].clip(min=0))
