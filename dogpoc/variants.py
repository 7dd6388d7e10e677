"""The same photo in other circumstances: what a model that looks at the dog should answer alike."""

import io
import math

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

LIGHT = 0.4  # of the photo's own, in "darkened"
BLUR = 0.01  # standard deviation, share of the shorter side
ANGLE = 15.0  # degrees, counterclockwise
CROP = 0.8  # of each side
QUALITY = 20  # of the JPEG
NAMES = ("mirrored", "darkened", "blurred", "rotated", "cropped", "jpeg", "grey")


def variants(image: Image.Image) -> dict[str, Image.Image]:
    """An upright RGB photo of w x h pixels under each of NAMES; RGB, and as large but for "rotated" and "cropped".

    >>> [(name, made.size) for name, made in variants(Image.new("RGB", (100, 100))).items()][3:5]
    [('rotated', (82, 82)), ('cropped', (80, 80))]
    """
    made = (
        ImageOps.mirror(image),
        ImageEnhance.Brightness(image).enhance(LIGHT),
        image.filter(ImageFilter.GaussianBlur(BLUR * min(image.size))),
        rotate(image, ANGLE),
        _middle(image, CROP),
        _compress(image, QUALITY),
        image.convert("L").convert("RGB"),
    )
    return dict(zip(NAMES, made, strict=True))


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """The photo turned counterclockwise, cut to the largest part of its own shape that has no empty corners."""
    angle, (width, height) = math.radians(abs(degrees)), image.size
    share = 1 / (math.cos(angle) + math.sin(angle) * max(width / height, height / width))
    return _middle(image.rotate(degrees, Image.Resampling.BICUBIC), share)


def _middle(image: Image.Image, share: float) -> Image.Image:
    """The middle of a photo, `share` of each side."""
    width, height = (max(1, round(side * share)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _compress(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file, formats=["JPEG"]).convert("RGB")
