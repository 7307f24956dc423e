"""Noise that is drawn once per process and then cut from: grain, leaves, grass, bricks, cloud."""

from functools import cache

import cv2
import numpy as np

SIDE = 512  # tiles are square and wrap around, so a cut may start anywhere


def fractal(rng: np.random.Generator, octaves: tuple[tuple[int, int, float], ...]) -> np.ndarray:
    """Tileable noise [SIDE, SIDE] float32, mean 0.

    ``octaves`` are (rows, columns, weight); both numbers divide SIDE.
    """
    total = np.zeros((SIDE, SIDE), np.float32)
    for rows, columns, weight in octaves:
        cells = rng.standard_normal((rows, columns)).astype(np.float32)
        # A margin of the other side's cells makes the seam invisible.
        wide = np.pad(cells, 2, mode="wrap")
        scale = SIDE // rows, SIDE // columns
        big = cv2.resize(wide, None, fx=scale[1], fy=scale[0], interpolation=cv2.INTER_CUBIC)
        total += weight * big[2 * scale[0] :, 2 * scale[1] :][:SIDE, :SIDE]
    return total - total.mean()


def _bricks(rng: np.random.Generator) -> np.ndarray:
    """Courses of bricks, each of its own brightness, with dark joints."""
    rows, columns = SIDE // 8, SIDE // 16
    tile = np.repeat(np.repeat(rng.normal(0.0, 0.10, (rows, columns)), 8, 0), 16, 1)
    tile[::8] -= 0.22
    for row in range(rows):
        course = tile[8 * row : 8 * row + 8]
        course[:, ::16] -= 0.18
        course[:] = np.roll(course, 8 * (row % 2), axis=1)
    return tile.astype(np.float32)


@cache
def tiles() -> dict[str, np.ndarray]:
    """Brightness gains around 1 by name, float32 [SIDE, SIDE], the same in every process."""
    rng = np.random.default_rng(0)
    recipes: dict[str, tuple[tuple[int, int, float], ...]] = {
        "plain": ((8, 8, 0.04), (32, 32, 0.03), (256, 256, 0.02)),
        "stain": ((8, 16, 0.10), (32, 64, 0.06), (128, 128, 0.05)),
        "asphalt": ((4, 4, 0.07), (16, 16, 0.06), (64, 64, 0.05), (512, 512, 0.10)),
        "leaf": ((16, 16, 0.10), (64, 64, 0.15), (128, 128, 0.20), (256, 256, 0.16)),
        "grass": ((16, 16, 0.10), (32, 128, 0.14), (64, 512, 0.20)),
        "cloth": ((32, 16, 0.10), (64, 64, 0.06), (256, 256, 0.03)),
        "panel": ((4, 8, 0.05), (16, 8, 0.04), (256, 256, 0.01)),
    }
    bank = {name: fractal(rng, octaves) for name, octaves in recipes.items()}
    bank["brick"] = _bricks(rng) + bank["plain"]
    return {name: np.clip(1 + tile, 0.25, 1.75).astype(np.float32) for name, tile in bank.items()}


@cache
def wide_noise(name: str) -> np.ndarray:
    """A float32 tile doubled both ways, so that a cut never meets the edge; mean about 0.

    ``cloud`` is smooth with standard deviation about 1; ``sensor`` is white noise in RGB.
    """
    rng = np.random.default_rng(1)
    if name == "sensor":
        return rng.standard_normal((2 * SIDE, 2 * SIDE, 3)).astype(np.float32)
    tile = fractal(rng, ((4, 4, 0.8), (8, 8, 0.5), (32, 16, 0.3), (64, 32, 0.15)))
    return np.tile(tile / tile.std(), (2, 2))


def cut(name: str, shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> np.ndarray:
    """A random cut of a tile: float32 [H, W]; ``zoom`` > 1 shows it smaller, as from afar."""
    tile = tiles()[name]
    rows, columns = (min(SIDE, max(2, round(length * zoom))) for length in shape)
    top, left = rng.integers(0, SIDE - rows + 1), rng.integers(0, SIDE - columns + 1)
    piece = tile[top : top + rows, left : left + columns]
    if (rows, columns) == tuple(shape):
        return piece
    return cv2.resize(piece, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def warm() -> None:
    """Draw every tile now: processes forked after this share them."""
    tiles()
    wide_noise("cloud")
    wide_noise("sensor")
