"""The camera, and the canvas on which things are painted: colour and label from one mask."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from ..labels import LABELS
from . import texture

NEAR = 0.6  # metres; what lies closer is pushed back to here, far outside the picture
SKY = 1e4  # metres; the depth of what no fog hides
SHIFT = 4  # cv2 takes vertices in 1/16 pixel

Colour = tuple[float, float, float]
_LABEL = {row.name: row for row in LABELS}


class Camera(NamedTuple):
    """A pinhole camera above a road that bends.

    Coordinates are metres: x to the right, y up from the ground, z away from the camera. At
    distance z the whole world is moved to the right by ``bend * z**2``.

    Attributes:
        size: rows and columns of the picture.
        focal: focal length in pixels.
        vanish: column and row of the vanishing point.
        height: metres above the ground.
        bend: 1/m, positive to the right.
    """

    size: tuple[int, int]
    focal: float
    vanish: tuple[float, float]
    height: float
    bend: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] in metres -> columns and rows [N, 2] in pixels."""
        z = np.maximum(points[:, 2], NEAR)
        scale = self.focal / z
        screen = np.empty((len(points), 2))
        screen[:, 0] = self.vanish[0] + points[:, 0] * scale + self.focal * self.bend * z
        screen[:, 1] = self.vanish[1] + (self.height - points[:, 1]) * scale
        return screen

    def ground(self) -> tuple[np.ndarray, np.ndarray]:
        """The x and z, float32 [H, W], of the ground that each pixel would see."""
        rows, columns = self.size
        below = np.maximum(np.arange(rows, dtype=np.float32) - self.vanish[1], 0.5)[:, None]
        z = self.focal * self.height / below
        x = (np.arange(columns, dtype=np.float32) - self.vanish[0]) * z / self.focal
        return (x - self.bend * z * z).astype(np.float32), np.repeat(z, columns, 1)


class Facet(NamedTuple):
    """Polygons of one colour.

    Attributes:
        shape: [M, K, 3] metres, M polygons of K vertices; on a solid thing the vertices run
            counter-clockwise seen from outside.
        colour: RGB, 0..255.
        glow: 0 = lit by the sun only, 1 = a lamp.
        ink: False for what belongs to the thing but is seen through, such as a wheel's spokes.
    """

    shape: np.ndarray
    colour: Colour
    glow: float = 0.0
    ink: bool = True


@dataclass
class Thing:
    """Something that stands in the world, or lies on the ground.

    Attributes:
        label: Cityscapes name; empty for what only adds colour, such as paint on the road.
        facets: in the order of painting, relative to ``at``.
        at: x and z in metres.
        half: half the footprint's extent along x and z, in metres; for order and shadow.
        tall: metres; how long the shadow is.
        yaw: radians; 0 looks away from the camera.
        solid: whether facets that look away from the camera are hidden.
        grain: name of the texture, or its gains as float32 [H, W] of the picture; None keeps
            the texture that lies below.
    """

    label: str
    facets: list[Facet]
    at: tuple[float, float] = (0.0, 0.0)
    half: tuple[float, float] = (0.3, 0.3)
    tall: float = 0.0
    yaw: float = 0.0
    solid: bool = False
    grain: str | np.ndarray | None = "plain"


def turn(points: np.ndarray, yaw: float) -> np.ndarray:
    """Points [..., 3] turned about the vertical by ``yaw`` radians."""
    sine, cosine = np.sin(yaw), np.cos(yaw)
    return points @ np.array(((cosine, 0, -sine), (0, 1, 0), (sine, 0, cosine)))


@dataclass
class Canvas:
    """What has been painted so far.

    ``image`` is bare colour; ``gain`` the texture on it, ``glow`` what shines by itself and
    ``depth`` (metres) what fog needs. ``outlines`` are (label name, [[x, y], ...]).
    """

    camera: Camera
    rng: np.random.Generator
    sun: np.ndarray
    outlines: list[tuple[str, list[list[int]]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        size = self.camera.size
        self.image = np.zeros((*size, 3), np.uint8)
        self.label_ids = np.zeros(size, np.uint8)
        self.instance_ids = np.zeros(size, np.uint16)
        self.gain = np.ones(size, np.float32)
        self.glow = np.zeros(size, np.uint8)
        self.depth = np.full(size, SKY, np.float32)

    def paint(self, thing: Thing) -> None:
        """Paint one thing over all that is there."""
        starts, world = self._placed(thing)
        screen = self.camera.project(world)
        rows, columns = self.camera.size
        (left, top), (right, bottom) = screen.min(0).tolist(), screen.max(0).tolist()
        if bottom - top < 1.5 and thing.tall:
            return
        left, top = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
        right, bottom = min(math.ceil(right) + 2, columns), min(math.ceil(bottom) + 2, rows)
        if right - left < 2 or bottom - top < 2:
            return
        window = slice(top, bottom), slice(left, right)
        flats = ((screen - (left, top)) * (1 << SHIFT)).astype(np.int32)
        patch = self.image[window].copy()
        ink, shine = self._ink(thing, flats, self._shades(thing, world, starts), patch)
        if thing.label:
            body = ink
            for facet, start in zip(thing.facets, starts, strict=True):
                if not facet.ink:
                    body = cv2.fillPoly(body.copy(), _polygons(facet, flats, start), 1, 8, SHIFT)
            ink &= self._mark(thing.label, body, window)
        distance = max(float(world[:, 2].mean()), NEAR)
        cv2.copyTo(patch, ink, self.image[window])
        cv2.copyTo(shine, ink, self.glow[window])
        if thing.grain is not None:
            cv2.copyTo(self._grain(thing.grain, window, distance), ink, self.gain[window])
        np.copyto(self.depth[window], np.float32(distance), where=ink.view(bool))

    def _ink(
        self, thing: Thing, flats: np.ndarray, shades: list[float], patch: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill the facets into the patch; return the masks of what was inked and what shines."""
        ink = np.zeros(patch.shape[:2], np.uint8)
        shine = np.zeros_like(ink)
        lamps = any(facet.glow for facet in thing.facets)
        start = 0
        for facet, shade in zip(thing.facets, shades, strict=True):
            polygons = _polygons(facet, flats, start)
            start += facet.shape.size // 3
            if shade and facet.ink:
                red, green, blue = facet.colour
                tone = min(red * shade, 255), min(green * shade, 255), min(blue * shade, 255)
                cv2.fillPoly(ink, polygons, 1, 8, SHIFT)
                cv2.fillPoly(patch, polygons, tone, 8, SHIFT)
                if lamps:
                    cv2.fillPoly(shine, polygons, round(255 * facet.glow), 8, SHIFT)
        return ink, shine

    def _placed(self, thing: Thing) -> tuple[list[int], np.ndarray]:
        """Where each facet's corners start, and all corners [N, 3] in the world."""
        sizes = [facet.shape.size // 3 for facet in thing.facets]
        starts = [0, *itertools.accumulate(sizes[:-1])]
        world = np.concatenate([facet.shape.reshape(-1, 3) for facet in thing.facets])
        if thing.yaw:
            world = turn(world, thing.yaw)
        return starts, world + np.array((thing.at[0], 0.0, thing.at[1]))

    def _shades(self, thing: Thing, world: np.ndarray, starts: list[int]) -> list[float]:
        """How the sun lights each facet; 0 for one that looks away from the camera."""
        if not thing.solid:
            return [1.0] * len(starts)
        index = np.array(starts)
        first = world[index]
        one, other = world[index + 1] - first, world[index + 2] - first
        turned = [1, 2, 0], [2, 0, 1]
        normals = other[:, turned[0]] * one[:, turned[1]] - other[:, turned[1]] * one[:, turned[0]]
        normals /= np.sqrt((normals * normals).sum(1, keepdims=True)) + 1e-9
        # The bend is a shear that grows with distance: near enough, the camera moves aside.
        eye = np.array((-self.camera.bend * thing.at[1] ** 2, self.camera.height, 0.0))
        seen = ((first - eye) * normals).sum(1) < 0
        shades: list[float] = np.where(seen, 0.8 + 0.25 * (normals @ self.sun), 0.0).tolist()
        return shades

    def _mark(self, label: str, body: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
        """Write the labels of a silhouette and note its outline; return the mask they cover."""
        row = _LABEL[label]
        corner = (window[1].start, window[0].start)
        outlines, _ = cv2.findContours(
            body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=corner
        )
        outlines = [outline for outline in outlines if len(outline) > 2]
        if row.has_instances and outlines:
            # One polygon is one instance; a part cut off by the picture's edge is let go.
            outlines = [max(outlines, key=cv2.contourArea)]
        whole = np.zeros_like(body)
        if not outlines:
            return whole
        instance = row.id
        if row.has_instances:
            instance = 1000 * row.id + self.counts[label]
            self.counts[label] += 1
        back = (-corner[0], -corner[1])
        for pixels, value in ((whole, 1), (self.label_ids, row.id), (self.instance_ids, instance)):
            part = pixels if pixels is whole else pixels[window]
            cv2.drawContours(part, outlines, -1, value, cv2.FILLED, offset=back)
        self.outlines += [(label, outline[:, 0].tolist()) for outline in outlines]
        return whole

    def _grain(
        self, grain: str | np.ndarray, window: tuple[slice, slice], distance: float
    ) -> np.ndarray:
        if isinstance(grain, np.ndarray):
            return grain[window]
        shape = (window[0].stop - window[0].start, window[1].stop - window[1].start)
        zoom = min(max(distance / 12, 0.4), 1.6) * 256 / self.camera.size[0]
        return texture.cut(grain, shape, self.rng, zoom)


def _polygons(facet: Facet, flats: np.ndarray, start: int) -> list[np.ndarray]:
    count, sides, _ = facet.shape.shape
    if count == 1:
        return [flats[start : start + sides]]
    return list(flats[start : start + count * sides].reshape(count, sides, 2))


def paint_order(things: Sequence[Thing]) -> list[Thing]:
    """Things from back to front.

    A footprint that lies wholly beyond another, or wholly outside it on the same side of the
    camera, is painted first; among those that are free, the farthest.
    """
    at = np.array([thing.at for thing in things])
    half = np.array([thing.half for thing in things])
    low, high = at - half, at + half
    beyond = low[:, None, 1] >= high[None, :, 1] - 1e-6
    outer = (low[:, None, 0] >= high[None, :, 0]) & (high[None, :, 0] > 0)
    outer |= (high[:, None, 0] <= low[None, :, 0]) & (low[None, :, 0] < 0)
    before = (beyond & ~beyond.T) | (outer & ~outer.T & ~beyond.T)
    np.fill_diagonal(before, False)
    waiting = before.sum(0)
    far = at[:, 1].copy()
    order = []
    for _ in things:
        # Footprints that interlock may leave none free: then the one with fewest before it.
        least = waiting.min()
        index = int(np.argmax(np.where(waiting == least, far, -np.inf)))
        order.append(things[index])
        waiting = waiting - before[index]
        waiting[index] = len(things) + 1
        before[:, index] = False
    return order
