"""The few shapes that everything is put together from, as polygons in metres."""

import colorsys
import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from .canvas import Colour, Facet, turn

# On each face: the axis of a, the axis that stands still, the axis of b.
_AXES = {
    "near": (0, 2, 1),
    "far": (0, 2, 1),
    "left": (2, 0, 1),
    "right": (2, 0, 1),
    "top": (0, 1, 2),
}

# Hues, 0..1 from red through green and blue: what a thing has more often than not.
USUAL_HUE = {
    "road": 0.60,
    "sidewalk": 0.95,
    "building": 0.09,
    "wall": 0.78,
    "fence": 0.48,
    "pole": 0.60,
    "person": 0.62,
    "rider": 0.20,
    "truck": 0.58,
    "bus": 0.14,
    "train": 0.00,
    "motorcycle": 0.88,
    "bicycle": 0.33,
}

Rects = Sequence[tuple[float | np.floating, ...]] | np.ndarray


@cache
def circle(sides: int) -> np.ndarray:
    """The unit circle [sides, 2] as cosines and sines."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    return np.stack((np.cos(angle), np.sin(angle)), 1)


def any_colour(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.0, 0.75),
    value: tuple[float, float] = (0.15, 0.95),
    usual: float | None = None,
) -> Colour:
    """A colour, RGB in 0..255, of any hue; nine in ten have the ``usual`` hue, if there is one.

    A usual hue lets a small network begin with something; the tenth, and light and
    weather over all, forbid it to end there.
    """
    hue = rng.random()
    if usual is not None and rng.random() < 0.9:
        hue = (usual + 0.06 * (hue - 0.5)) % 1.0
    rgb = colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))
    return rgb[0] * 255, rgb[1] * 255, rgb[2] * 255


def dim(colour: Colour, factor: float) -> Colour:
    """The colour, brighter or darker."""
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue


def panel(face: str, rects: Rects, at: float) -> np.ndarray:
    """Upright or level rectangles [M, 4, 3] in the plane of a box's face.

    Args:
        face: ``near``, ``far`` (z = at), ``left``, ``right`` (x = at) or ``top`` (y = at).
        rects: (a0, b0, a1, b1), where a runs along x or z, and b along y (z on the top).
        at: where the plane lies, in metres.
    """
    rows = np.asarray(rects, float)
    corners = np.empty((len(rows), 4, 3))
    level, other, upright = _AXES[face]
    corners[..., level] = rows[:, [2, 0, 0, 2] if face in ("far", "left") else [0, 2, 2, 0]]
    corners[..., other] = at
    corners[..., upright] = rows[:, [1, 1, 3, 3]]
    return corners


def box(
    width: float, length: float, bottom: float, height: float, colour: Colour, middle: float = 0.0
) -> list[Facet]:
    """The five outer faces of a box whose centre lies at z = ``middle``."""
    x, z0, z1 = width / 2, middle - length / 2, middle + length / 2
    return [
        Facet(panel("top", [(-x, z0, x, z1)], height), dim(colour, 1.1)),
        Facet(panel("far", [(-x, bottom, x, height)], z1), colour),
        Facet(panel("left", [(z0, bottom, z1, height)], -x), colour),
        Facet(panel("right", [(z0, bottom, z1, height)], x), colour),
        Facet(panel("near", [(-x, bottom, x, height)], z0), colour),
    ]


def both_sides(rects: Rects, x: float, colour: Colour, glow: float = 0.0) -> list[Facet]:
    """Rectangles on the left and the right face of something 2x wide."""
    return [
        Facet(panel("left", rects, -x), colour, glow),
        Facet(panel("right", rects, x), colour, glow),
    ]


def discs(
    centres: Sequence[tuple[float, float]], radius: float, x: float, colour: Colour
) -> list[Facet]:
    """Discs about (z, y) on the left and the right face of something 2x wide."""
    right = np.empty((len(centres), 12, 3))
    right[..., 0] = x
    right[..., :0:-1] = np.asarray(centres, float)[:, None] + radius * circle(12)
    return [Facet((right * (-1, 1, 1))[:, ::-1], colour), Facet(right, colour)]


def polygon(corners: Sequence[tuple[float, float]] | np.ndarray, z: float = 0.0) -> np.ndarray:
    """One upright polygon [1, K, 3] that faces the camera, from corners (x, y)."""
    shape = np.empty((1, len(corners), 3))
    shape[0, :, :2], shape[..., 2] = corners, z
    return shape


def ngon(x: float, y: float, radius: float, sides: int, start: float = 0.0) -> np.ndarray:
    """A regular polygon [1, sides, 3] that faces the camera."""
    sine, cosine = radius * math.sin(start), radius * math.cos(start)
    return polygon(np.add(circle(sides) @ ((cosine, sine), (-sine, cosine)), (x, y)))


def blob(rng: np.random.Generator, x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """A ragged round [1, 36, 3] that faces the camera, as a crown of leaves."""
    lumps = np.roll(circle(12), rng.integers(12), axis=0)[:, 0]
    radius = 1 + 0.10 * rng.standard_normal(36) + 0.08 * np.tile(lumps, 3)
    return polygon(np.add(circle(36) * radius[:, None] * (rx, ry), (x, y)))


# How far the two rounded ends stand out, in thicknesses along the bar.
_TIPS = np.array(((-0.3,), (0.3,)))

Bone = tuple[float, float, float, float, float, float, float, float]


def limbs(bones: Sequence[Bone] | np.ndarray, yaw: float = 0.0) -> np.ndarray:
    """Rounded bars [M, 6, 3] between joints, broad side to the camera.

    Args:
        bones: (x, y, z, x, y, z, thickness, thickness), before turning.
        yaw: radians; what is returned is turned already.
    """
    rows = np.asarray(bones, float)
    ends = rows[:, :6].reshape(-1, 2, 3)
    joints = turn(ends, yaw) if yaw else ends
    along = joints[:, 1, :2] - joints[:, 0, :2]
    length = np.sqrt((along * along).sum(1, keepdims=True))
    along = np.where(length > 1e-3, along / np.maximum(length, 1e-3), (0.0, 1.0))
    across = along[:, ::-1] * (-0.5, 0.5)
    shape = np.repeat(joints, 3, axis=1)
    thick = rows[:, 6:, None]
    shape[:, [0, 5], :2] -= thick * across[:, None]
    shape[:, [2, 3], :2] += thick * across[:, None]
    shape[:, [1, 4], :2] += (thick * along[:, None]) * _TIPS
    return shape


def jointed(parts: Sequence[tuple[Sequence[Bone], Colour]], yaw: float = 0.0) -> list[Facet]:
    """One facet per group of limbs of a colour."""
    shapes = limbs([bone for bones, _ in parts for bone in bones], yaw)
    facets, start = [], 0
    for bones, colour in parts:
        facets.append(Facet(shapes[start : start + len(bones)], colour))
        start += len(bones)
    return facets


def ring(y: float, z: float, outer: float, inner: float, yaw: float) -> np.ndarray:
    """A wheel's rim [16, 4, 3] in the plane of z and y, turned by ``yaw``."""
    rim = np.zeros((16, 4, 3))
    one, two = circle(16), np.roll(circle(16), -1, axis=0)
    for corner, (flat, radius) in enumerate(
        ((one, outer), (two, outer), (two, inner), (one, inner))
    ):
        rim[:, corner, :0:-1] = np.add(radius * flat, (z, y))
    return turn(rim, yaw)
