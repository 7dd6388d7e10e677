"""Bytes in, one upright RGB image out, or one line: generated files, and a folder of hostile ones where it is found."""

import csv
import io
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dogpoc import photo
from dogpoc.photo import PhotoError, read_photo, thumbnail

try:
    import resource
except ImportError:  # Windows
    resource = None

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about the broken files
HOSTILE = Path(os.environ.get("DOGPOC_BAD_IMAGES") or Path(__file__).parents[2] / "shared" / "bad-images")
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


with_heif = pytest.mark.skipif(not photo.HEIF, reason="pillow-heif is not installed")


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corners(image: Image.Image) -> list[tuple[int, int, int]]:
    """Colours near the corners, row by row, rounded to full channels."""
    width, height = image.size
    points = [(x, y) for y in (height // 8, height - 1 - height // 8) for x in (width // 8, width - 1 - width // 8)]
    return [tuple(255 * round(channel / 255) for channel in image.getpixel(point)) for point in points]


def marked(width: int = 64, height: int = 32) -> Image.Image:
    """Red, green / blue, white, in quarters."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def judge(data: bytes) -> tuple[str, float]:
    """ "classify" or "reject", and the seconds it took; anything but a clean image or one line fails the test."""
    start = time.process_time()
    try:
        image = read_photo(data)
    except PhotoError as error:
        outcome, clean = "reject", "\n" not in str(error)
    else:
        outcome, clean = "classify", image.mode == "RGB" and not image.info
    assert clean
    return outcome, time.process_time() - start


def peak_memory() -> float:
    """Bytes; 0 where the system does not tell."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if resource else 0


# -- upright ------------------------------------------------------------------------------------------------------

# What the camera stored so that a viewer that obeys the tag shows `marked`: the inverse of each orientation.
STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.rotate(180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.rotate(90, expand=True),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.rotate(-90, expand=True),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", pytest.param("HEIF", marks=with_heif)])
@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_ends_upright(orientation, kind):
    exif = Image.Exif()
    exif[photo.ORIENTATION] = orientation
    image = read_photo(encoded(STORED[orientation](marked()), kind, exif=exif.tobytes()))
    assert image.size == (64, 32)
    assert corners(image) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("block", [b"MM\0\x2a\xff\xff\xff\xff", b"no TIFF header"])
def test_a_broken_exif_block_does_not_spoil_the_photo(block):
    image = read_photo(encoded(marked(), "PNG", exif=b"Exif\0\0" + block))
    assert corners(image) == [RED, GREEN, BLUE, WHITE]


def test_no_metadata_is_left_on_the_image_and_in_its_thumbnail():
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"  # the place
    data = encoded(marked(), "JPEG", exif=exif, comment=b"SecretComment", icc_profile=b"SecretProfile")
    image = read_photo(data)
    assert b"Secret" in data
    assert image.info == {}
    assert dict(image.getexif()) == {}
    assert b"Secret" not in thumbnail(image, 32) + encoded(image, "PNG")


# -- modes --------------------------------------------------------------------------------------------------------


def test_transparent_pixels_become_white():
    image = marked().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 32, 16))
    assert corners(read_photo(encoded(image))) == [WHITE, GREEN, BLUE, WHITE]
    assert corners(read_photo(encoded(image, "WEBP", lossless=True))) == [WHITE, GREEN, BLUE, WHITE]


def test_half_transparent_black_becomes_grey():
    assert read_photo(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))).getpixel((0, 0)) == (127, 127, 127)
    assert read_photo(encoded(Image.new("LA", (4, 4), (0, 128)))).getpixel((0, 0)) == (127, 127, 127)


def test_a_transparent_colour_of_a_palette_and_of_an_rgb_file_becomes_white():
    palette = marked().quantize(4)
    data = encoded(palette, transparency=palette.getpixel((0, 0)))
    assert corners(read_photo(data)) == [WHITE, GREEN, BLUE, WHITE]
    assert corners(read_photo(encoded(marked(), transparency=BLUE))) == [RED, GREEN, WHITE, WHITE]


def test_cmyk_keeps_its_colours_in_jpeg_and_tiff():
    image = marked().convert("CMYK")
    assert corners(read_photo(encoded(image, "JPEG"))) == [RED, GREEN, BLUE, WHITE]
    assert corners(read_photo(encoded(image, "TIFF"))) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut_off(kind):
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256).repeat(4, axis=0)
    image = np.asarray(read_photo(encoded(Image.fromarray(values), kind)))
    np.testing.assert_allclose(image[0, :, 0], np.arange(256), atol=1)
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_grey_without_a_known_range_is_stretched_from_its_darkest_to_its_brightest_pixel(dtype):
    values = np.linspace(-1000, 70000, 400 * 600).reshape(600, 400).astype(dtype)  # taller than one band
    image = np.asarray(read_photo(encoded(Image.fromarray(values), "TIFF")))
    np.testing.assert_allclose(image[:, 0, 0], np.linspace(0, 255, 600), atol=1.5)


@pytest.mark.filterwarnings("error")
def test_floats_that_are_not_numbers_do_not_fail():
    values = np.array([[0, 1], [np.nan, 0.5]], dtype=np.float32)
    image = np.asarray(read_photo(encoded(Image.fromarray(values), "TIFF")))
    assert image[..., 0].tolist() == [[0, 255], [0, 127]]


def test_one_bit_and_grey_become_rgb():
    assert read_photo(encoded(Image.new("1", (3, 3), 1))).getpixel((1, 1)) == WHITE
    assert read_photo(encoded(Image.new("L", (3, 3), 7))).getpixel((1, 1)) == (7, 7, 7)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_taken(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    assert corners(read_photo(data)) == [RED] * 4


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (5, 2)])
def test_a_tiny_photo_is_a_photo(size):
    assert read_photo(encoded(Image.new("RGB", size, RED))).size == size


# -- size ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((500, 375), (500, 375)),
        ((2047, 4000), (2047, 4000)),
        ((2048, 2048), (1024, 1024)),
        ((4032, 3024), (2016, 1512)),
        ((5000, 4097), (1250, 1025)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_photo_is_read_at_a_fraction_of_its_size_in_every_format(size, expected, kind):
    image = read_photo(encoded(marked(*size), kind))
    assert image.size == expected
    assert corners(image) == [RED, GREEN, BLUE, WHITE]


def test_a_reduced_png_is_the_mean_of_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (2050, 2048), dtype=np.uint8)
    image = np.asarray(read_photo(encoded(Image.fromarray(pixels), compress_level=1)))
    by_hand = pixels.reshape(1025, 2, 1024, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(image[..., 0], by_hand, atol=0.5)


def test_a_phone_photo_of_48_megapixels_is_read():
    data = encoded(marked(8000, 6000), "JPEG", quality=50)
    assert read_photo(data).size == (2000, 1500)


@pytest.mark.parametrize(
    ("size", "kind", "options"),
    [
        ((7100, 7100), "JPEG", {}),
        ((14000, 12714), "PNG", {}),  # 178 megapixels: Pillow itself only warns
        ((8000, 6000), "WEBP", {}),
        ((8000, 6000), "JPEG", {"progressive": True}),
        ((49_000, 1000), "BMP", {}),
    ],
)
def test_a_photo_that_takes_too_much_memory_is_refused_before_it_is_decoded(size, kind, options):
    image = Image.new("1" if kind in ("PNG", "BMP") else "L", size)
    data = encoded(image, kind, **options)
    start = time.perf_counter()
    with pytest.raises(PhotoError, match=f"too large, {size[0]} x {size[1]} pixels"):
        read_photo(data)
    assert time.perf_counter() - start < 0.5


def test_a_file_of_more_than_10_mb_is_refused_without_a_look():
    with pytest.raises(PhotoError, match=r"10\.0 MB, and at most 10 MB"):
        read_photo(bytes(photo.MAX_BYTES + 1))


def test_a_progressive_jpeg_with_thousands_of_scans_is_refused():
    data = encoded(Image.effect_noise((64, 64), 50).convert("L"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:-2] + data[last:-2] * 1000 + data[-2:]
    with pytest.raises(PhotoError, match="too large"):
        read_photo(bomb)
    assert read_photo(data).size == (64, 64)


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_refused_with_one_line(kind):
    data = encoded(Image.effect_noise((200, 200), 80).convert("RGB"), kind)
    assert read_photo(data)
    for share in (0.02, 0.3, 0.6):
        with pytest.raises(PhotoError) as caught:
            read_photo(data[: int(len(data) * share)])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"x", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4", b"GIF89a"])
def test_what_is_no_photo_is_refused_and_told_what_to_send(data):
    with pytest.raises(PhotoError, match="send one of JPEG, PNG"):
        read_photo(data)


def test_formats_with_fragile_decoders_are_not_even_tried():
    for kind in ("PPM", "ICO", "TGA", "PCX", "SGI", "JPEG2000"):
        with pytest.raises(PhotoError, match="send one of"):
            read_photo(encoded(marked(), kind))


@with_heif
def test_a_heic_photo_of_12_megapixels_is_read():
    assert read_photo(encoded(marked().resize((4032, 3024)), "HEIF")).size == (2016, 1512)


@pytest.mark.parametrize(
    ("readable", "line"), [(True, "send one of"), (False, "HEIC photos are not read on this machine: send .* as JPEG")]
)
def test_a_heic_photo_is_told_apart_where_it_cannot_be_read(monkeypatch, readable, line):
    monkeypatch.setattr(photo, "HEIF", readable)
    with pytest.raises(PhotoError, match=line):
        read_photo(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_flipped_bits_and_cut_pieces_give_an_image_or_one_line(kind):
    data = encoded(marked(96, 64).resize((96, 64)), kind)
    chance = random.Random(0)
    for _attempt in range(60):
        broken = bytearray(data)
        for _flip in range(chance.choice([1, 3, 20])):
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.3:
            del broken[chance.randrange(len(broken)) :]
        outcome, _seconds = judge(bytes(broken))
        assert outcome in ("classify", "reject")


# -- thumbnails ---------------------------------------------------------------------------------------------------


def test_a_thumbnail_is_a_jpeg_of_the_asked_side_and_never_larger_than_the_photo():
    small = Image.open(io.BytesIO(thumbnail(marked(640, 320), 100)))
    assert (small.format, small.size) == ("JPEG", (100, 50))
    assert corners(small) == [RED, GREEN, BLUE, WHITE]
    assert Image.open(io.BytesIO(thumbnail(marked(64, 32), 100))).size == (64, 32)
    assert Image.open(io.BytesIO(thumbnail(Image.new("RGB", (2000, 1)), 100))).size == (100, 1)


# -- the hostile folder -------------------------------------------------------------------------------------------


def hostile_files() -> list[dict[str, str]]:
    with (HOSTILE / "INDEX.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_every_hostile_file_ends_as_its_index_expects():
    if not (HOSTILE / "INDEX.tsv").exists():
        if os.environ.get("DOGPOC_REQUIRE_PHOTOS") == "1":
            pytest.fail(f"DOGPOC_REQUIRE_PHOTOS=1, and {HOSTILE} is not here")
        pytest.skip(f"no folder of hostile files at {HOSTILE}; set DOGPOC_BAD_IMAGES")
    wrong, before = [], peak_memory()
    for row in hostile_files():
        outcome, seconds = judge((HOSTILE / row["file"]).read_bytes())
        readable = photo.HEIF and row["file"] == "pil__hopper.heif"  # the index is made without pillow-heif
        if not (readable or row["expect"] in ("either", outcome)) or seconds > 1:
            wrong.append((row["file"], row["expect"], outcome, seconds))
    assert not wrong
    assert peak_memory() - before < 150e6
