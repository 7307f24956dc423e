"""What lies flat: road, pavement, grass, rails, and the paint and dirt on them; and shadows."""

from collections.abc import Sequence

import cv2
import numpy as np

from . import texture
from .canvas import SKY, Camera, Canvas, Colour, Facet, Thing
from .shapes import any_colour, circle, dim, panel

TEXELS = 35.0  # of a texture, per metre of ground
FAR = 220.0  # metres; beyond, the ground is a line


def strip(left: float, right: float, near: float = 0.7, far: float = FAR) -> np.ndarray:
    """A band of ground [1, 64, 3] between two x, fine enough to follow the bend."""
    z = near * (far / near) ** np.linspace(0, 1, 32)
    band = np.zeros((1, 64, 3))
    band[0, :32, 0], band[0, 32:, 0] = left, right
    band[0, :32, 2], band[0, 32:, 2] = z, z[::-1]
    return band


class Ground:
    """Paints the ground of one canvas; every texture lies in perspective."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas, self._rng = canvas, canvas.rng
        self._top = max(0, int(canvas.camera.vanish[1]) + 1)
        self._x, self._z = (plane[self._top :] for plane in canvas.camera.ground())
        # Fixed point makes remap fast, and holds some 900 m.
        self._maps = cv2.convertMaps(
            np.clip(self._x, -900, 900) * np.float32(TEXELS),
            np.clip(self._z, 0, 900) * np.float32(TEXELS),
            cv2.CV_16SC2,
        )
        self._fade = np.clip(14 / self._z, 0.12, 1).astype(np.float32)

    def lay(self, label: str, facets: list[Facet], grain: np.ndarray | None = None) -> None:
        """Paint facets on the ground; an empty label only adds colour."""
        if facets:
            self._canvas.paint(Thing(label, facets, grain=grain))

    def grain(self, name: str, slabs: tuple[float, float] | None = None) -> np.ndarray:
        """Gains float32 [H, W] of a tile of :mod:`texture`, and joints between slabs.

        Args:
            name: of the tile.
            slabs: width and length of a slab in metres.
        """
        start = self._rng.integers(0, texture.SIDE, 2)
        tile = np.roll(texture.tiles()[name], start, axis=(0, 1))
        gain = cv2.remap(tile, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        if slabs:
            x, z = self._x * np.float32(1 / slabs[0]), self._z * np.float32(1 / slabs[1])
            joint = (x - np.floor(x) < 0.07) | (z - np.floor(z) < 0.07)
            gain -= np.float32(0.22) * joint
        whole = np.ones(self._canvas.camera.size, np.float32)
        whole[self._top :] += (gain - 1) * self._fade
        return whole

    def depth(self) -> None:
        """Give the ground its distance, pixel by pixel."""
        below = self._canvas.depth[self._top :]
        np.copyto(below, self._z, where=below < SKY / 2)

    def shadows(self, things: Sequence[Thing], sun: np.ndarray, strength: float) -> None:
        """Darken the ground below things, and where they stand in the sun's way."""
        camera = self._canvas.camera
        contact, cast = np.zeros((2, *camera.size), np.uint8)
        fall = -np.clip(sun[[0, 2]] / max(float(sun[1]), 0.2), -2.5, 2.5)
        for thing in things:
            if not thing.tall:
                continue
            corners = np.array([(i, j) for i in (-1, 1) for j in (-1, 1)]) * thing.half + thing.at
            moved = corners + fall * min(thing.tall, 14.0)
            for mask, spots in ((contact, corners), (cast, np.concatenate((corners, moved)))):
                flat = np.zeros((len(spots), 3))
                flat[:, ::2] = spots
                hull = cv2.convexHull(_pixels(camera, flat))
                cv2.fillConvexPoly(mask, hull, 255)
        spread = camera.size[0] // 64 * 2 + 1
        soft = cv2.GaussianBlur(contact[self._top :], (spread, spread), 0)
        hard = cv2.blur(cast[self._top :], (3, 3))
        dark = cv2.LUT(soft, (1 - np.arange(256, dtype=np.float32) * (0.55 / 255)))
        dark *= cv2.LUT(hard, (1 - np.arange(256, dtype=np.float32) * (strength / 255)))
        self._canvas.gain[self._top :] *= dark


def lines(rng: np.random.Generator, edges: Sequence[float] | np.ndarray) -> list[Facet]:
    """Lane lines: broken between lanes, whole along the outer edges."""
    rects = []
    for index, x in enumerate(edges):
        period, length = (6.0, 3.0) if 0 < index < len(edges) - 1 else (4.0, 4.05)
        for z in np.arange(rng.uniform(1, 4), 90, period):
            rects.append((x - 0.08, z, x + 0.08, z + length))
    return [Facet(panel("top", rects, 0.0), any_colour(rng, (0.0, 0.15), (0.7, 1.0)))]


def wear(rng: np.random.Generator, left: float, right: float, paint: Colour) -> list[Facet]:
    """Patches, cracks and manholes on a road of this colour between two x."""
    patches = [
        (x, z, x + rng.uniform(0.6, 2.5), z + rng.uniform(1, 6))
        for x, z in zip(rng.uniform(left, right - 2.5, 4), rng.uniform(4, 30, 4), strict=True)
    ]
    facets = [
        Facet(panel("top", [patch], 0.0), dim(paint, rng.uniform(0.7, 0.9))) for patch in patches
    ]
    for _ in range(rng.integers(1, 4)):
        path = np.cumsum(rng.normal((0.0, 0.5), (0.22, 0.4), (9, 2)), 0)
        path += np.array((rng.uniform(left, right), rng.uniform(5, 16)))
        crack = np.zeros((8, 4, 3))
        crack[..., ::2] = np.stack((path[:-1], path[1:], path[1:], path[:-1]), 1)
        crack[:, 2:, 0] += 0.05
        facets.append(Facet(crack, dim(paint, 0.5)))
    for _ in range(rng.integers(0, 3)):
        lid = circle(14)[:, [0, 0, 1]] * (0.35, 0.0, 0.35)
        at = np.array((rng.uniform(left, right), 0.0, rng.uniform(5, 25)))
        facets.append(Facet((lid + at)[None], dim(paint, 0.45)))
        facets.append(Facet((lid * 0.8 + at)[None], dim(paint, 0.75)))
    return facets


def zebra(left: float, right: float, near: float) -> list[Facet]:
    """A crossing: broad bars along the road."""
    bars = [(x, near, x + 0.5, near + 3.2) for x in np.arange(left + 0.3, right - 0.4, 1.0)]
    return [Facet(panel("top", bars, 0.0), (225, 225, 220))]


def rails(middle: float) -> list[Facet]:
    """Two rails, each a dark groove beside a bright head."""
    facets = []
    for x in (middle - 0.72, middle + 0.72):
        facets.append(Facet(strip(x - 0.12, x + 0.08, 1.0, 120), (45, 43, 42)))
        facets.append(Facet(strip(x - 0.05, x + 0.02, 1.0, 120), (190, 188, 185)))
    return facets


def sleepers(middle: float) -> list[Facet]:
    """Sleepers across a bed of gravel."""
    bars = [(middle - 1.2, z, middle + 1.2, z + 0.25) for z in np.arange(2, 60, 0.8)]
    return [Facet(panel("top", bars, 0.0), (85, 75, 68))]


def _pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    return np.clip(camera.project(points), -8e3, 8e3).astype(np.int32)
