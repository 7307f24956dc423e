"""Pictures under the colours of their classes, and rows that say which colour is which class."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from psa_seg.datasets.colours import RGB
from psa_seg.engine.letters import east_asian_letters, shown

LETTERS = (12, 40)  # pixels: least and most height of a row of the legend's letters
ROWS = 28  # of such rows, about as many as fit into a picture's shorter side


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """uint8 RGB `[H, W, 3]` of a picture in whatever way a pipeline loads it."""
    if picture.ndim == 2 or picture.shape[2] < 3:
        picture = np.stack([picture.reshape(*picture.shape[:2], -1)[..., 0]] * 3, axis=2)
    return np.ascontiguousarray(picture[..., 2::-1]).clip(0, 255).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """A PNG of uint8 RGB `[H, W, 3]`, or of one channel as it is."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", picture)[1].tobytes()


def coloured(labels: np.ndarray, palette: Sequence[RGB]) -> np.ndarray:
    """uint8 RGB `[H, W, 3]` of class numbers `[H, W]`."""
    return np.array(palette, np.uint8)[labels]


def blend(image: np.ndarray, colours: np.ndarray, opacity: float) -> np.ndarray:
    """Colours over an image, both uint8 `[H, W, 3]`."""
    return cv2.addWeighted(image, 1 - opacity, colours, opacity, 0)


def legend(classes: Sequence[tuple[str, RGB]], size: Sequence[int]) -> np.ndarray:
    """A picture's legend, uint8 RGB, as wide as the picture.

    Args:
        classes: names and colours, in the order in which they are named.
        size: rows and columns of the picture.
    """
    height, width = _letters(size), size[1]
    lines, left = [np.full((height * 3 // 2, width, 3), 255, np.uint8)], 0
    for name, colour in classes:
        entry = _entry(shown(name), colour, height)[:, :width]
        if left and left + entry.shape[1] > width:
            lines.append(np.full_like(lines[0], 255))
            left = 0
        lines[-1][:, left : left + entry.shape[1]] = entry
        left += entry.shape[1]
    return np.concatenate(lines)


def heading(text: str, size: Sequence[int]) -> np.ndarray:
    """A line of text above a picture, uint8 RGB, as wide as the picture."""
    height = _letters(size)
    line = np.full((height * 3 // 2, size[1], 3), 255, np.uint8)
    drawn = _text(text, height)[:, : size[1]]
    start = (size[1] - drawn.shape[1]) // 2
    line[: len(drawn), start : start + drawn.shape[1]] = drawn
    return line


def _letters(size: Sequence[int]) -> int:
    """Height of letters beside a picture, in pixels."""
    return int(np.clip(min(size[:2]) / ROWS, *LETTERS))


@cache
def _entry(name: str, colour: RGB, height: int) -> np.ndarray:
    """A patch of the colour and the name, uint8 RGB, half as high again as its letters."""
    text, gap = _text(name, height), height // 2
    start = gap + height + gap // 2
    entry = np.full((height * 3 // 2, start + text.shape[1] + gap, 3), 255, np.uint8)
    entry[gap // 2 : gap // 2 + height, gap : gap + height] = colour
    entry[: len(text), start : start + text.shape[1]] = text
    return entry


@cache
def _text(text: str, height: int) -> np.ndarray:
    """Letters in black, uint8 RGB, half as high again as they are."""
    full, points = height * 3 // 2, 72 / 100 * height * 0.8
    with east_asian_letters():
        figure = Figure(figsize=(height * len(text.encode()) / 100 + 1, full / 100), dpi=100)
        canvas = FigureCanvasAgg(figure)
        drawn = figure.text(0, 0.5, text, va="center", fontsize=points, parse_math=False)
        canvas.draw()
        width = int(np.ceil(drawn.get_window_extent().width))
        return np.array(canvas.buffer_rgba())[:full, :width, :3]
