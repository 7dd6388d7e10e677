"""How faithful a map is: does the answer follow when the photo is shown, or hidden, in the map's order?

Insertion and deletion (Petsiuk et al. 2018, RISE) on pixels, the map stretched over the photo as it is drawn. One
starts, the other ends at the same blurred photo, not at a grey one: grey patches have edges of their own, which
networks answer to. A map is compared with random maps of the same grid, and with a centred blob: dogs stand in the
middle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter
from scipy import stats

from dogpoc.metrics import softmax

STEPS = 16  # of both curves
RANDOM_MAPS = 4  # a map beats random if it beats all of them: by chance, one in five does
BLUR = 1 / 16  # standard deviation of the blur, as a share of the shorter side
BLOB = 1 / 4  # standard deviation of the centred blob, as a share of each side
BATCH = 32
REFERENCES = ("random", "centre", "attention")  # what a method is compared with

Forward = Callable[[np.ndarray], np.ndarray]  # (n, H, W, 3) uint8 -> (n, C) logits


# -- reference maps -----------------------------------------------------------------------------------------------


def blurred(pixels: np.ndarray) -> np.ndarray:
    """The photo without what tells breeds apart: (H, W, 3) uint8."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR * min(pixels.shape[:2]))))


def random_maps(grid: tuple[int, int], n: int, seed: int) -> np.ndarray:
    """(n, rows, columns) of uniform noise, the same for the same seed."""
    return np.random.default_rng(seed).random((n, *grid), dtype=np.float32)


def centre_blob(grid: tuple[int, int]) -> np.ndarray:
    """(rows, columns), highest in the middle of the photo."""
    rows, columns = (((np.arange(n) + 0.5) / n - 0.5) / BLOB for n in grid)
    return np.exp(-0.5 * (rows[:, None] ** 2 + columns**2)).astype(np.float32)


# -- curves -------------------------------------------------------------------------------------------------------


def insertion_deletion(forward: Forward, pixels: np.ndarray, values: np.ndarray, *, steps: int = STEPS) -> np.ndarray:
    """Logits (2, steps + 1, C) as the photo appears out of its blur (0) and as it blurs (1), best pixels first.

    pixels: (H, W, 3) uint8, as the model sees it.   values: (rows, columns), higher = sooner.
    """
    blur = blurred(pixels)
    place = np.empty(pixels.shape[:2], int)  # of each pixel in the order
    place.flat[np.argsort(-stretched(values, pixels.shape[:2]), axis=None, kind="stable")] = np.arange(place.size)
    shown = [(place < round(place.size * step / steps))[..., None] for step in range(steps + 1)]
    inserted = [np.where(mask, pixels, blur) for mask in shown]
    deleted = [np.where(mask, blur, pixels) for mask in shown[1:-1]]  # its ends are those of insertion
    frames = np.stack(inserted + deleted)
    logits = np.concatenate([forward(frames[start : start + BATCH]) for start in range(0, len(frames), BATCH)])
    insertion, between = logits[: steps + 1], logits[steps + 1 :]
    return np.stack([insertion, np.concatenate([insertion[-1:], between, insertion[:1]])])


def stretched(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(rows, columns) over all pixels: (H, W) float32, as the overlay draws it."""
    height, width = shape
    picture = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def support(logits: np.ndarray, breed: int, against: int | None = None) -> np.ndarray:
    """(..., C) logits -> (...) probability of `breed`: among all breeds, or of the two if `against` is given."""
    if against is not None:
        logits, breed = logits[..., [breed, against]], 0
    return softmax(logits.reshape(-1, logits.shape[-1]))[:, breed].reshape(logits.shape[:-1])


def area(curve: np.ndarray) -> np.ndarray:
    """(..., steps + 1) -> (...) mean height of a curve over 0..1, by trapezoids."""
    return np.trapezoid(curve, dx=1 / (curve.shape[-1] - 1), axis=-1)


@dataclass(frozen=True)
class Licence:
    """Whether the map of one photo may be believed.

    insertion, deletion: (steps + 1,) probability of the explained breed.   random: the mean of the random maps, (2,
    steps + 1); blob: the centred blob's.   gain: insertion area minus deletion area; random_gains: (RANDOM_MAPS,).
    """

    insertion: np.ndarray
    deletion: np.ndarray
    random: np.ndarray
    blob: np.ndarray
    gain: float
    random_gains: np.ndarray
    blob_gain: float

    @property
    def beats_random(self) -> bool:
        return bool(self.gain > self.random_gains.max())


def licence(
    logits: np.ndarray, random: np.ndarray, blob: np.ndarray, breed: int, against: int | None = None
) -> Licence:
    """From insertion_deletion of a map (2, S + 1, C), of random maps (R, 2, S + 1, C) and of the blob (2, S + 1, C)."""
    curves, noise, centre = (support(part, breed, against) for part in (logits, random, blob))
    gain, random_gains, blob_gain = (area(part[..., 0, :]) - area(part[..., 1, :]) for part in (curves, noise, centre))
    return Licence(curves[0], curves[1], noise.mean(axis=0), centre, float(gain), random_gains, float(blob_gain))


# -- where the evidence lies --------------------------------------------------------------------------------------


def energy_in_box(values: np.ndarray, inside: np.ndarray) -> float:
    """Share of the map's positive part inside the box over the box's share of the photo: 1 is what chance gives.

    inside: (H, W) bool, pixels that the model sees.   nan where box or map is empty.
    """
    energy = np.maximum(stretched(values, inside.shape), 0).astype(np.float64)
    if not inside.any() or not energy.sum():
        return float("nan")
    return float(energy[inside].sum() / energy.sum() / inside.mean())


def seen_boxes(
    boxes: Sequence[tuple[int, int, int, int]], crop: tuple[float, float, float, float], side: int
) -> np.ndarray:
    """Boxes (left, top, right, bottom) in pixels of the full photo -> (side, side) bool, where they are in its crop."""
    inside = np.zeros((side, side), bool)
    scale = side / (crop[2] - crop[0])
    for left, top, right, bottom in boxes:
        x0, x1 = (round(min(max((x - crop[0]) * scale, 0), side)) for x in (left, right))
        y0, y1 = (round(min(max((y - crop[1]) * scale, 0), side)) for y in (top, bottom))
        inside[y0:y1, x0:x1] = True
    return inside


def mosaic(photos: Sequence[np.ndarray]) -> np.ndarray:
    """Four photos (S, S, 3) uint8 in one of the same size: upper left, upper right, lower left, lower right."""
    side = photos[0].shape[0]
    small = [np.asarray(Image.fromarray(photo).resize((side // 2, side // 2))) for photo in photos]
    return np.concatenate([np.concatenate(small[:2], axis=1), np.concatenate(small[2:], axis=1)])


def tile_shares(values: np.ndarray) -> np.ndarray:
    """(4,) shares of a mosaic's tiles in the map's positive part (Boehle et al. 2021); 1/4 each for an empty map."""
    energy = np.maximum(stretched(values, (224, 224)), 0).astype(np.float64)
    tiles = np.array([half.sum() for rows in np.split(energy, 2) for half in np.split(rows, 2, axis=1)])
    return tiles / tiles.sum() if tiles.sum() else np.full(4, 0.25)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps; nan where one of them is flat and so ranks nothing."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(stats.spearmanr(one, other, axis=None).statistic)


# -- the benchmark's table ----------------------------------------------------------------------------------------


def mean_interval(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Mean and 95 % interval by Student's t; None with fewer than 2 finite values."""
    finite = np.asarray([value for value in values if value is not None and np.isfinite(value)], float)
    if len(finite) < 2:
        return None
    half = stats.t.ppf(0.975, len(finite) - 1) * finite.std(ddof=1) / np.sqrt(len(finite))
    return float(finite.mean()), float(finite.mean() - half), float(finite.mean() + half)


def summarise(record: Mapping) -> list[dict]:
    """The benchmark's table, a row a method, from what explanations.json holds of each photo.

    Every number is (mean, low, high) with a 95 % interval, or None where it was not measured: insertion, deletion,
    and insertion_<reference>, deletion_<reference>, gain_<reference>, the paired differences from REFERENCES (gain:
    insertion minus deletion; higher is better, as for insertion; deletion: lower is better); energy; tile (share of the
    evidence in the right tile of four); hit (how often that tile has most of it); randomised (rank correlation).
    """
    photos = record["photos"]
    methods = list(dict.fromkeys(method for photo in photos for method in photo["maps"]))
    return [{"method": method, "photos": len(photos), **_row(record, method)} for method in methods]


def _row(record: Mapping, method: str) -> dict:
    photos = [photo["maps"] for photo in record["photos"] if method in photo["maps"]]
    row = {}
    for key in ("insertion", "deletion", "energy"):
        row[key] = mean_interval([maps[method].get(key) for maps in photos])
    for reference in REFERENCES:
        both = [maps for maps in photos if reference in maps and reference != method]
        pairs = [(maps[method], maps[reference]) for maps in both]
        ins = [mine["insertion"] - its["insertion"] for mine, its in pairs]
        dele = [mine["deletion"] - its["deletion"] for mine, its in pairs]
        row[f"insertion_{reference}"] = mean_interval(ins)
        row[f"deletion_{reference}"] = mean_interval(dele)
        row[f"gain_{reference}"] = mean_interval([i - d for i, d in zip(ins, dele, strict=True)])
    mosaics = [np.array(found["shares"][method]) for found in record["mosaics"] if method in found["shares"]]
    row["tile"] = mean_interval([tiles[:, 0].mean() for tiles in mosaics])  # (4 breeds, 4 tiles, the right one first)
    row["hit"] = mean_interval([(tiles[:, 0] > tiles[:, 1:].max(axis=1)).mean() for tiles in mosaics])
    row["randomised"] = mean_interval([found[method] for found in record["randomised"] if method in found])
    return row


def beats(row: Mapping, reference: str) -> bool | None:
    """Whether a method is surely better than a reference (its 95 % interval); None where that was not measured."""
    gain = row[f"gain_{reference}"]
    return None if gain is None else gain[1] > 0
