"""What a model expects to see: a picture for each breed, made by the model itself. Not photographs; they may ship.

Activation maximisation (Erhan et al. 2009) with the regularisers of Olah, Mordvintsev and Schubert 2017: the picture's
Fourier spectrum is optimised, in decorrelated colours, and the model sees it shifted, turned and scaled a little anew
in every step, so that it draws shapes and not the noise that fools networks.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from dogpoc import artifacts, inference
from dogpoc.methods import Preprocessing

STEPS = 128
RATE = 0.05  # of Adam
SIDE = 160  # pixels, both sides, as stored
SHIFT, TURN, SCALE = 0.08, 8.0, 0.1  # shares of the picture, degrees, share
SEED = 0
CALM = 3  # keeps colours from running to their ends
# How red, green and blue vary together in ImageNet's photos (square root of their covariance; Olah et al. 2017)
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def imagine(
    model: nn.Module, preprocessing: Preprocessing, breed: int, *, steps: int = STEPS, seed: int = SEED
) -> np.ndarray:
    """A picture that raises the logit of `breed`: (S, S, 3) uint8, S the model's own input size."""
    size, device = preprocessing.size, next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    scale = torch.from_numpy(size / np.maximum(frequencies, 1 / size) / size**2).float().to(device)
    spectrum = (0.01 * torch.randn(1, 3, *frequencies.shape, 2, generator=generator)).to(device).requires_grad_()
    mean, std = (torch.tensor(part, device=device).view(1, 3, 1, 1) for part in (preprocessing.mean, preprocessing.std))
    optimiser = torch.optim.Adam([spectrum], lr=RATE)
    with torch.enable_grad():
        for _step in range(steps):
            seen = _moved(_picture(spectrum, scale, size), generator)
            (gradient,) = torch.autograd.grad(-model((seen - mean) / std)[0, breed], spectrum)
            spectrum.grad = gradient
            optimiser.step()
    picture = _picture(spectrum.detach(), scale, size)[0].permute(1, 2, 0)
    return (picture * 255).round().to(torch.uint8).cpu().numpy()


def _picture(spectrum: torch.Tensor, scale: torch.Tensor, size: int) -> torch.Tensor:
    """(1, 3, S, S/2 + 1, 2) spectrum -> (1, 3, S, S) in 0..1."""
    waves = torch.fft.irfft2(torch.view_as_complex(spectrum) * scale, s=(size, size), norm="ortho") * size / CALM
    colours = torch.tensor(COLOURS, device=waves.device) / max(
        math.hypot(*column) for column in zip(*COLOURS, strict=True)
    )
    return torch.einsum("nchw,dc->ndhw", waves, colours).sigmoid()


def _moved(picture: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The picture shifted, turned and scaled at random, what is beyond its edge mirrored."""
    x, y, turn, scale = (2 * torch.rand(4, generator=generator) - 1).tolist()
    angle, zoom = math.radians(TURN * turn), 1 + SCALE * scale
    cos, sin = math.cos(angle) * zoom, math.sin(angle) * zoom
    matrix = torch.tensor([[[cos, -sin, 2 * SHIFT * x], [sin, cos, 2 * SHIFT * y]]], device=picture.device)
    grid = F.affine_grid(matrix, list(picture.shape), align_corners=False)
    return F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)


def store_pictures(dataset_name: str, run: str, *, progress: bool = False, draw: Callable = imagine) -> dict:
    """A picture of each breed that `run` knows, stored beside it; returns run.json. Goes on where it was stopped.

    dataset_name: the dataset that it was trained on.   Errors: ArtifactError, ModelError.
    """
    info = artifacts.read_run(dataset_name, run)
    if artifacts.read_pictures(info) is not None:
        return info
    classifier = inference.load_classifier(dataset_name, run, runtime="eager")
    folder, weights = artifacts.run_folder(dataset_name, run), artifacts.weights_digest(info)
    paths = [folder / f".picture-{weights[:16]}-{breed}.png" for breed in range(len(info["breeds"]))]
    for breed, path in enumerate(tqdm(paths, unit=" pictures", disable=not progress)):
        if not path.is_file():
            picture = draw(classifier.model, classifier.preprocessing, breed)
            artifacts.write_atomically(path, _png(np.asarray(Image.fromarray(picture).resize((SIDE, SIDE)))))
    sheet = np.concatenate([np.asarray(Image.open(path).convert("RGB")) for path in paths])  # one below the other
    made = {"weights": weights, "steps": STEPS, "seed": SEED}
    info = artifacts.write_run(
        {**artifacts.read_run(dataset_name, run), "pictures": made}, {artifacts.PICTURES: _png(sheet)}
    )
    for path in paths:
        path.unlink()
    return info


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()
