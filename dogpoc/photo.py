"""Untrusted bytes in, one upright RGB image out, or one line that says what to do."""

import io

import numpy as np
from PIL import Image

from dogpoc import DogpocError
from dogpoc.translation import _, number

try:
    from pillow_heif import register_heif_opener
except ImportError:  # the optional extra that reads an iPhone's own format
    HEIF = False
else:
    register_heif_opener(decode_threads=1)  # as many photos at once as the app lets in
    HEIF = True

FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", *(["HEIF"] if HEIF else [])]
FORMAT_NAMES = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF" + (", HEIC" if HEIF else "")
HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}

MAX_BYTES = 10 * 2**20  # as streamlit's server.maxUploadSize counts: 10
MAX_PIXELS = 50_000_000
MAX_SCANS = 100  # of a progressive JPEG; ten are usual, and each one costs a walk over the whole photo
MAX_MEMORY = 150_000_000  # bytes, while one photo is read
DECODER_BYTES = {"WEBP": 16, "AVIF": 10, "HEIF": 10, "TIFF": 8}  # memory per pixel, measured with Pillow 13; else 4
PROGRESSIVE_BYTES = 6  # a progressive JPEG's coefficients, per pixel of the full size
OUTPUT_BYTES = 8  # the RGB image, and its upright copy

WORKING_SIDE = 1024  # no model here looks at more; see read_photo
BAND = 256  # rows converted at a time; a multiple of 8, the largest reduction

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {  # EXIF orientation -> what puts the photo upright; 1 is upright already
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PhotoError(DogpocError):
    """A file that cannot be used as a photo."""


def read_photo(data: bytes) -> Image.Image:
    """The photo in a file's bytes: RGB, upright by EXIF, without any metadata, the first frame if there are several.

    A photo is read at a half, a quarter or an eighth of its size as long as both sides stay at or above WORKING_SIDE (a
    JPEG then never exists in full). The rule does not depend on the caller: the same file always gives the same pixels,
    in training, evaluation, uploads and explanations. What is transparent becomes white.
    Raises PhotoError for anything else than a complete photo within MAX_BYTES, MAX_PIXELS and MAX_MEMORY.
    """
    if len(data) > MAX_BYTES:
        message = _("the photo has {size} MB, and at most {limit} MB are read: send a smaller copy")
        raise PhotoError(message.format(size=number(len(data) / 2**20, 1), limit=number(MAX_BYTES / 2**20)))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # hostile bytes make Pillow's parsers raise nearly any class
        raise PhotoError(_unreadable(data)) from error
    factor = next((k for k in (8, 4, 2) if min(image.size) // k >= WORKING_SIDE), 1)
    if _too_large(image, factor, data):  # known from the header, before a pixel is decoded
        message = _("the photo is too large, {width} x {height} pixels: send a smaller copy as JPEG")
        raise PhotoError(message.format(width=image.width, height=image.height))
    try:
        image.draft(None, (WORKING_SIDE, WORKING_SIDE))  # a JPEG's own way to the same factor
        image.load()
        photo = _rgb(image, 1 if image.format in ("JPEG", "MPO") else factor)
    except Exception as error:  # the same; more than a third of the failures come only here
        raise PhotoError(_("the photo is damaged or incomplete: send it again, or another copy")) from error
    orientation = _orientation(image)
    return photo.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else photo


def no_formula(name: str) -> str:
    """A photo's name as a cell that a spreadsheet shows, and does not compute."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def thumbnail(image: Image.Image, side: int) -> bytes:
    """`image` as a JPEG without metadata, its longer side at most `side` pixels."""
    small = image.copy()
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()


def _unreadable(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS and not HEIF:
        return _("HEIC photos are not read on this machine: send the photo as JPEG, or install pillow-heif")
    return _("this file is not a photo that can be read: send one of {formats}").format(formats=FORMAT_NAMES)


def _too_large(image: Image.Image, factor: int, data: bytes) -> bool:
    """Whether an opened image, not yet decoded, would take too much memory or time."""
    pixels = image.width * image.height
    output = pixels / factor**2
    memory = OUTPUT_BYTES * output
    if image.format in ("JPEG", "MPO"):
        progressive = "progressive" in image.info
        if progressive and data.count(b"\xff\xda") > MAX_SCANS:  # the start of a scan
            return True
        memory += 4 * output + PROGRESSIVE_BYTES * pixels * progressive
    else:
        memory += DECODER_BYTES.get(image.format, 4) * pixels
    return pixels > MAX_PIXELS or memory > MAX_MEMORY


def _rgb(image: Image.Image, factor: int) -> Image.Image:
    """A decoded image of any mode as RGB, reduced by `factor`, band by band: a second full copy never exists."""
    deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    low, high = (0, 65535) if image.mode.startswith("I;16") else image.getextrema() if deep else (0, 255)
    photo = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, BAND):
        band = image.crop((0, top, image.width, min(top + BAND, image.height)))
        band = _on_white(_eight_bits(band, low, high) if deep else band)
        photo.paste(band.reduce(factor) if factor > 1 else band, (0, top // factor))
    return photo


def _eight_bits(image: Image.Image, low: float, high: float) -> Image.Image:
    """A grey image of 16 or 32 bits, or of floats, as L: `low` becomes black and `high` white.

    16 bits have a known range; the others do not, and are stretched from their darkest to their brightest pixel.
    """
    grey = (np.asarray(image).astype(np.float64) - low) / max(high - low, 1e-30)
    return Image.fromarray(np.uint8(np.nan_to_num(grey, posinf=1, neginf=0).clip(0, 1) * 255))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 (upright) where the EXIF block is missing or broken: the pixels are good."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - a damaged EXIF block raises nearly any class
        return 1
