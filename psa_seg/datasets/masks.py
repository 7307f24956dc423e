"""Masks as they lie on a disk, whatever Pillow reads: their values, and the classes those mean.

A value is the number in a single channel, or, where a data set names colours, `0xRRGGBB`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from psa_seg.datasets.headers import header
from psa_seg.errors import DataError

LEVELS = 256  # of uint8
MOST_COLOURS = 4096  # a mask with more is a photograph, or was saved as one
LARGEST = 2**31
NUMBERS = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")  # modes of a number a pixel
MOST_NAMED = 8  # values in a message


def read(path: Path, colours: bool = False) -> np.ndarray:
    """The values in a mask, `[H, W]`: uint8 where it holds bytes, else int32.

    Args:
        path: of the mask.
        colours: whether values are colours; an alpha channel is left out then.

    Raises:
        DataError: with the path, for a file that is damaged, too large, or no mask: of several
            channels that differ, or of fractions.
    """
    header(path)
    try:
        with Image.open(path) as image:
            image.load()
            values = _packed(image) if colours else _single(image)
    except Exception as error:  # whatever a broken file makes Pillow say
        if isinstance(error, OSError) and error.errno:
            raise
        reason = " ".join(f"{error}".split())[:200] or type(error).__name__
        raise DataError(
            f"mask cannot be read: {path}\n"
            f"  because    {reason}\n"
            "  do         export it again: one channel, in a format without loss (PNG)"
        ) from None
    return values


def _packed(image: Image.Image) -> np.ndarray:
    if image.mode in NUMBERS:
        raise ValueError(f"it holds numbers ({image.mode}), and no colours")
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int32), 2, 0)
    return red << 16 | green << 8 | blue


def _single(image: Image.Image) -> np.ndarray:
    """The one channel that there is, or that all are equal to."""
    bands = image.getbands()
    if bands[-1] in ("A", "a") and len(bands) > 1:
        if image.getchannel(len(bands) - 1).getextrema() != (255, 255):
            raise ValueError("it is transparent in places: what is class there, and what is not?")
        bands = bands[:-1]
    if len(bands) > 1:
        first, *others = (image.getchannel(i).tobytes() for i in range(len(bands)))
        if any(other != first for other in others):
            raise ValueError(
                f"it has {len(bands)} channels ({image.mode}) that differ, and no class numbers; "
                "colours are read where a data.yaml gives `values`"
            )
    pixels = np.asarray(image.getchannel(0) if len(image.getbands()) > 1 else image)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if pixels.dtype == np.uint8:
        return pixels
    if not (np.isfinite(pixels) & (abs(pixels) < LARGEST) & (pixels == np.trunc(pixels))).all():
        raise ValueError("it holds fractions, and no class numbers")
    return pixels.astype(np.int32)


def count(path: Path, colours: bool = False) -> dict[int, int]:
    """How many pixels have each value.

    Raises:
        DataError: as of `read`, and for more colours than a mask has.
    """
    values = read(path, colours)
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=LEVELS)
        return {int(value): int(counts[value]) for value in counts.nonzero()[0]}
    found, numbers = np.unique(values, return_counts=True)
    if len(found) > MOST_COLOURS:
        raise DataError(
            f"{len(found)} different values, where a mask has a few: {path}\n"
            "  do         export it in a format without loss (PNG), without smoothing"
        )
    return dict(zip(found.tolist(), numbers.tolist(), strict=True))


def encode(values: np.ndarray, ids: Mapping[int, int]) -> np.ndarray:
    """Class numbers, uint8 `[H, W]`, of values.

    Args:
        values: of `read`.
        ids: class number of each value that there may be.

    Raises:
        ValueError: with the values that `ids` does not have.
    """
    keys = np.array(sorted(ids), np.int64)
    numbers = np.array([ids[key] for key in sorted(ids)], np.uint8)
    if values.dtype == np.uint8:
        inside = (keys >= 0) & (keys < LEVELS)
        table, known = np.zeros(LEVELS, np.uint8), np.zeros(LEVELS, bool)
        table[keys[inside]], known[keys[inside]] = numbers[inside], True
        if not known.all():
            _require(known[values], values)
        return table[values]
    places = np.searchsorted(keys, values).clip(max=len(keys) - 1)
    _require(keys[places] == values, values)
    return numbers[places]


def _require(known: np.ndarray, values: np.ndarray) -> None:
    if not known.all():
        raise ValueError(listed(np.unique(values[~known]).tolist()))


def listed(values: list[int], colours: bool = False) -> str:
    """Some values, for a message."""
    texts = [f"#{value:06x}" if colours else str(value) for value in values[:MOST_NAMED]]
    return ", ".join([*texts, *(["..."] if len(values) > MOST_NAMED else [])])
