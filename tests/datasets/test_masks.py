"""Any mask that Pillow reads gives the same class numbers, or one message with its path."""

import struct
import zlib

import mmcv
import numpy as np
import pytest
from PIL import Image

from psa_seg.datasets import masks
from psa_seg.datasets.colours import differing
from psa_seg.datasets.headers import MOST_PIXELS, header
from psa_seg.errors import DataError
from tests.datasets.own import scene

_, MASK = scene(5)
COLOURS = np.array([[0, 0, 0], [128, 64, 128], [250, 170, 30]], np.uint8)
NUMBERS = {0: 0, 1: 1, 2: 2}
TINTS = {0x000000: 0, 0x804080: 1, 0xFAAA1E: 2}


def palette(mask):
    image = Image.fromarray(mask).convert("P")
    image.putpalette(COLOURS.ravel().tolist())
    return image


KINDS = {
    "8 bit": (lambda: Image.fromarray(MASK), ".png", NUMBERS, False),
    "palette": (lambda: palette(MASK), ".png", NUMBERS, False),
    "palette, by its colours": (lambda: palette(MASK), ".png", TINTS, True),
    "16 bit": (
        lambda: Image.fromarray(MASK.astype(np.uint16) * 1000),
        ".png",
        {0: 0, 1000: 1, 2000: 2},
        False,
    ),
    "16 bit TIFF": (lambda: Image.fromarray(MASK.astype(np.uint16)), ".tif", NUMBERS, False),
    "32 bit": (
        lambda: Image.fromarray(MASK.astype(np.int32) - 1),
        ".tif",
        {-1: 0, 0: 1, 1: 2},
        False,
    ),
    "whole numbers as floats": (
        lambda: Image.fromarray(MASK.astype(np.float32)),
        ".tif",
        NUMBERS,
        False,
    ),
    "RGB": (lambda: Image.fromarray(COLOURS[MASK]), ".png", TINTS, True),
    "RGBA": (lambda: Image.fromarray(COLOURS[MASK]).convert("RGBA"), ".png", TINTS, True),
    "RGB as BMP": (lambda: Image.fromarray(COLOURS[MASK]), ".bmp", TINTS, True),
    "grey saved as RGB": (lambda: Image.fromarray(np.dstack([MASK] * 3)), ".png", NUMBERS, False),
    "grey with alpha": (lambda: Image.fromarray(MASK).convert("LA"), ".png", NUMBERS, False),
    "WebP without loss": (lambda: Image.fromarray(COLOURS[MASK]), ".webp", TINTS, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_mask(tmp_path, kind):
    make, suffix, ids, colours = KINDS[kind]
    path = tmp_path / f"mask{suffix}"
    make().save(path, **({"lossless": True} if suffix == ".webp" else {}))
    found = masks.encode(masks.read(path, colours), ids)
    assert found.dtype == np.uint8
    assert np.array_equal(found, MASK)
    counts = masks.count(path, colours)
    assert {ids[value]: n for value, n in counts.items()} == dict(enumerate(np.bincount(MASK.flat)))


def test_one_bit(tmp_path):
    Image.fromarray(MASK > 0).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "1"
    assert np.array_equal(masks.read(tmp_path / "mask.png"), (MASK > 0).astype(np.uint8))


def test_values_that_stand_for_nothing_are_named():
    for values in (MASK, MASK.astype(np.int32) * 1000):
        with pytest.raises(ValueError, match=r"^1, 2$|^1000, 2000$"):
            masks.encode(values, {0: 0, 300: 1})


def png_header(width, height):
    """A PNG that says it is this large, and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [body, b"IDAT" + zlib.compress(b""), b"IEND"]
    chunks = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def missing(path):
    pass


def folder(path):
    path.mkdir()


def loop(path):
    path.symlink_to(path.name)


BAD = {
    "missing": (missing, "not found"),
    "a folder of that name": (folder, "is a folder, and no image"),
    "a link that leads to itself": (loop, "not found"),
    "empty": (lambda p: p.write_bytes(b""), "cut short, or no image"),
    "a text": (lambda p: p.write_text("mask"), "cut short, or no image"),
    "30,000 x 30,000": (lambda p: p.write_bytes(png_header(30000, 30000)), "more pixels than"),
    "above the bound by a row": (
        lambda p: p.write_bytes(png_header(9459, 9461)),
        "more pixels than",
    ),
    "large, and empty": (lambda p: p.write_bytes(png_header(9000, 9000)), "mask cannot be read"),
    "channels that differ": (lambda p: Image.fromarray(COLOURS[MASK]).save(p), "channels"),
    "transparent": (lambda p: Image.fromarray(np.dstack([MASK, MASK])).save(p), "transparent"),
    "fractions": (lambda p: Image.fromarray(MASK / np.float32(3)).save(p, "TIFF"), "fractions"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_mask_is_a_message_with_its_path(tmp_path, kind):
    make, words = BAD[kind]
    path = tmp_path / "x.png"
    make(path)
    with pytest.raises(DataError, match=words) as error:
        masks.read(path)
    assert str(path) in str(error.value)
    if "pixels" in words:
        assert f"{MOST_PIXELS:,}" in str(error.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_header_tells_the_size_as_opencv_loads_it(tmp_path, suffix, orientation):
    path = tmp_path / f"image{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene(0)[0]).save(path, exif=exif)
    found = header(path)
    assert found.orientation == (orientation if 0 < orientation < 9 else 1)
    assert mmcv.imfrombytes(path.read_bytes()).shape[1::-1] == found.loaded


@pytest.mark.parametrize(
    ("suffix", "options", "lossy"),
    [
        (".jpg", {}, True),
        (".webp", {}, True),
        (".webp", {"lossless": True}, False),
        (".tif", {"compression": "jpeg"}, True),
        (".tif", {"compression": "tiff_lzw"}, False),
        (".png", {}, False),
        (".bmp", {}, False),
    ],
)
def test_a_header_tells_what_comes_back_as_something_else(tmp_path, suffix, options, lossy):
    Image.fromarray(scene(0)[0]).save(tmp_path / f"x{suffix}", **options)
    assert header(tmp_path / f"x{suffix}").lossy == lossy


@pytest.mark.parametrize("kind", ["F", "I;16"])
def test_numbers_are_no_colours(tmp_path, kind):
    dtype = np.float32 if kind == "F" else np.uint16
    Image.fromarray(MASK.astype(dtype)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="and no colours"):
        masks.read(tmp_path / "x.tif", colours=True)


def test_colours_of_many_classes_differ():
    found = np.array(differing(255))
    assert len(np.unique(found, axis=0)) == 255
    assert differing(9) == differing(200)[:9]
    first = found[:40].astype(int)
    apart = np.abs(first[:, None] - first[None]).max(-1) + 255 * np.eye(40)
    assert apart.min() >= 32
    assert not {(0, 0, 0), (255, 255, 255)} & {*map(tuple, found.tolist())}
