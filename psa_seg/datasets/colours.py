"""Colours of classes that have none: each as far from all before it as there is room."""

from functools import cache
from itertools import product

import numpy as np

RGB = tuple[int, int, int]
# Told apart by those who do not see all colours alike (Okabe and Ito, 2008); grey for their black,
# which is what is ignored.
FIRST = ("404040", "e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7")
LEVELS = (32, 80, 128, 176, 224)  # neither black nor white
FINER = range(20, 240, 24)  # for more classes than that gives


def rgb(value: int) -> RGB:
    """Red, green and blue of `0xRRGGBB`."""
    return value >> 16, value >> 8 & 255, value & 255


def differing(number: int) -> list[RGB]:
    """As many colours, of which the first are the same for any number."""
    return list(_all()[:number])


@cache
def _all() -> tuple[RGB, ...]:
    chosen = [rgb(int(text, 16)) for text in FIRST]
    for levels in (LEVELS, FINER):
        left = np.array(list(product(levels, repeat=3)))
        nearest = np.min([((left - colour) ** 2).sum(1) for colour in chosen], axis=0)
        while len(chosen) < (128 if levels is LEVELS else 255) and nearest.any():
            best = int(nearest.argmax())
            chosen.append(tuple(left[best].tolist()))
            nearest = np.minimum(nearest, ((left - left[best]) ** 2).sum(1))
    return tuple(chosen)
