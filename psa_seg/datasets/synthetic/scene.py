"""One street: who and what stands where, and the picture of it all."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import plan, weather
from .canvas import Canvas, Facet, Thing, paint_order
from .furniture import bollard, clutter, lamp_post, traffic_light, traffic_sign
from .ground import Ground
from .people import bicycle, motorcycle, person, ridden
from .shapes import any_colour, polygon
from .street import building, bush, fence, hedge, tower, tree, wall
from .vehicles import VEHICLES

VERSION = 1
"""Part of every seed: raised whenever a drawn pixel changes."""

FRONTS = {"building": 0.42, "wall": 0.19, "fence": 0.21, "hedge": 0.08, "open": 0.1}


class Scene(NamedTuple):
    """A picture and all its labels.

    Attributes:
        image: uint8 RGB [H, W, 3].
        label_ids: uint8 [H, W], Cityscapes label ids.
        instance_ids: uint16 [H, W]; ``1000 * id + n`` for the n-th object (in the order of
            ``objects``) of a label with instances, else the id.
        objects: (label name, polygon [[x, y], ...]) from back to front.
    """

    image: np.ndarray
    label_ids: np.ndarray
    instance_ids: np.ndarray
    objects: list[tuple[str, list[list[int]]]]


class Street:
    """Places things on a plan, out of each other's way."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas, layout: plan.Plan, lit: bool):
        self.rng, self.canvas, self.plan, self.lit = rng, canvas, layout, lit
        self.things: list[Thing] = []
        self._taken: list[tuple[float, float, float, float]] = []

    def populate(self) -> None:
        """Vehicles, cycles and persons."""
        rng, middles, junction = self.rng, self.plan.middles(), self.plan.junction
        if self.plan.rail is not None:
            self._drive("train", self.plan.rail, (14, 40))
        if junction is not None and rng.random() < 0.6:
            kind = str(rng.choice(("car", "bus", "truck", "train")))
            self._drive(kind, rng.uniform(-8, 8), (junction + 2, junction + 6), across=True)
        for kind, chance, reach in (("bus", 0.45, (11, 30)), ("truck", 0.42, (9, 35))):
            if rng.random() < chance:
                self._drive(kind, float(rng.choice(middles)), reach)
        for _ in range(rng.integers(1, 4)):
            self._drive("car", float(rng.choice(middles)), (7, 50))
        for side in self.plan.sides:
            for z in np.arange(rng.uniform(4, 9), 45, 6.3).tolist() if side.parking else ():
                if rng.random() < 0.65:
                    self._drive("car", side.kerb - side.sign * 1.15, (z, z + 0.5))
        for make, chance in ((bicycle, 0.65), (motorcycle, 0.65)):
            self._cycles(make, chance)
        left, right = (side.kerb for side in self.plan.sides)
        for _ in range(rng.integers(2, 9)):
            side = self.plan.sides[rng.integers(2)]
            on_road = rng.random() < 0.25
            x = rng.uniform(left, right) if on_road else rng.uniform(min(side.walk), max(side.walk))
            self._put([person(rng)], x, (5, 28))

    def _cycles(self, make: Callable[[np.random.Generator, float], Thing], chance: float) -> None:
        """A ridden one on the road, and parked ones on the pavement."""
        rng, right = self.rng, self.plan.sides[1]
        if rng.random() < chance:
            yaw = float(rng.choice((-1, 1)) * rng.uniform(0.2, 1.5) + rng.choice((0, np.pi)))
            x = float(rng.choice((*self.plan.middles(), right.kerb - 0.7)))
            self._put(ridden(rng, make(rng, yaw), yaw), x, (4.5, 18))
        for _ in range(rng.integers(0, 3)):
            side = self.plan.sides[rng.integers(2)]
            yaw = float(rng.choice((-1, 1)) * rng.uniform(0.5, 1.6))
            self._put([make(rng, yaw)], side.kerb + side.sign * 1.3, (5, 20))

    def line_sides(self) -> None:
        """Houses, walls, fences, hedges and trees along both sides, and the end of the street."""
        rng, junction = self.rng, self.plan.junction
        for side in self.plan.sides:
            kinds = rng.choice(list(FRONTS), 16, p=list(FRONTS.values()))
            # One kind often rules a side, so that walls and fences are long as well as many.
            if rng.random() < 0.5:
                kinds[rng.random(16) < 0.5] = kinds[0]
            far = rng.uniform(-4, 3)
            for kind in kinds:
                near, length = far, rng.uniform(7, 16)
                far += length
                if far > 85:
                    break
                if junction is None or far < junction - 1 or near > junction + 9:
                    self._front(str(kind), side, length, near + length / 2)
        self._end_of_street(str(rng.choice(("towers", "trees", "open"))))

    def _front(self, kind: str, side: plan.Side, length: float, z: float) -> None:
        rng, x = self.rng, side.front
        if not self._in_view(x, z + length / 2):
            return
        if kind == "building":
            self._house(side, x, length, z)
            return
        if kind == "wall":
            self._stand([wall(rng, side.sign, length)], x, z)
        elif kind == "fence":
            self._stand([fence(rng, length, max(z, 4.0))], x, z)
        elif kind == "hedge":
            self._stand([hedge(rng, side.sign, length)], x, z)
        for _ in range(rng.integers(0, 3)):
            at = x + side.sign * rng.uniform(1.5, 9), max(z + rng.uniform(-0.5, 0.5) * length, 3.0)
            if self._in_view(*at):
                self._stand([tree(rng)], *at)
        if rng.random() < 0.35:
            self._house(side, x + side.sign * 10, length, z)

    def _house(self, side: plan.Side, x: float, length: float, z: float) -> None:
        house = building(self.rng, side.sign, length, self.lit, near=z < 45)
        self._stand([house], x + side.sign * house.half[0], z)

    def _end_of_street(self, kind: str) -> None:
        """What closes the view: a row of houses or trees far off, or nothing."""
        rng = self.rng
        for x in range(-70, 70, 14) if kind != "open" else ():
            thing = tower(rng, self.lit) if kind == "towers" else tree(rng)
            self._stand([thing], x + rng.uniform(-5, 5), rng.uniform(88, 115))

    def furnish(self) -> None:
        """Poles, lights, signs, trees, bushes and clutter between kerb and front."""
        rng = self.rng
        for side in self.plan.sides:
            kerb = side.kerb + side.sign * 0.5
            for z in np.arange(rng.uniform(5, 14), 60, rng.uniform(11, 24)).tolist():
                self._stand([lamp_post(rng, side.sign)], kerb, z)
            for _ in range(rng.integers(0, 3)):
                self._stand(traffic_sign(rng), kerb, self._far(5, 26))
            if rng.random() < 0.62:
                junction = self.plan.junction
                near = self._far(6, 24) if junction is None else junction - 1
                self._stand(traffic_light(rng, side.sign), kerb, near)
            if rng.random() < 0.3:
                for z in np.arange(rng.uniform(5, 9), 26, rng.uniform(1.6, 3)).tolist():
                    self._stand([bollard(rng)], side.kerb + side.sign * 0.3, z)
            green = side.grass[0] != side.grass[1]
            for _ in range(rng.integers(0, 4 if green else 2)):
                at = (sum(side.grass) / 2 if green else kerb), self._far(7, 60)
                if self._in_view(*at):
                    self._stand([tree(rng) if rng.random() < 0.6 else bush(rng)], *at)
            if rng.random() < 0.25:
                self._stand([clutter(rng)], side.walk[1] - side.sign * 0.6, self._far(6, 25))

    def _drive(self, kind: str, x: float, reach: tuple[float, float], across: bool = False) -> None:
        rng = self.rng
        yaw = rng.normal(0, 0.04) + (np.pi if x < -plan.LANE / 2 else 0.0)
        if across:
            yaw = float(rng.choice((-1, 1)) * np.pi / 2)
        thing = VEHICLES[kind](rng, yaw)
        wide, long = thing.half
        sine, cosine = abs(np.sin(yaw)), abs(np.cos(yaw))
        thing.half = (wide * cosine + long * sine, wide * sine + long * cosine)
        near = max(reach[0], 4.5) + (0.0 if across else thing.half[1])
        self._put([thing], x, (near, max(near + 0.5, reach[1])))

    def _far(self, near: float, far: float) -> float:
        """A distance; the near ones, which look large, are as likely as the far ones."""
        return float(np.exp(self.rng.uniform(np.log(near), np.log(far))))

    def _in_view(self, x: float, z: float) -> bool:
        """Whether something up to 4 m wide at this place can be seen."""
        camera = self.canvas.camera
        if z < 2:
            return False
        column = camera.vanish[0] + camera.focal * (x / z + camera.bend * z)
        reach = 4 * camera.focal / z
        return -reach < column < camera.size[1] + reach

    def _put(self, group: list[Thing], x: float, reach: tuple[float, float]) -> None:
        """Stand things where nobody stands yet; give up after some tries."""
        wide, long = group[0].half
        for _ in range(5):
            z = self._far(*reach)
            if all(
                x + wide <= left or right <= x - wide or z + long <= near or far <= z - long
                for left, right, near, far in self._taken
            ):
                self._taken.append((x - wide, x + wide, z - long, z + long))
                self._stand(group, x, z)
                return

    def _stand(self, group: list[Thing], x: float, z: float) -> None:
        for nearer, thing in enumerate(group):
            # A hair nearer each: what belongs together stays together in the painter's order.
            thing.at = (float(x), float(z) - 1e-3 * nearer)
            self.things.append(thing)


def _bonnet(canvas: Canvas) -> Thing:
    """The camera car's own bonnet along the bottom."""
    rng, camera = canvas.rng, canvas.camera
    rows, columns = camera.size
    at = np.linspace(-1, 1, 24)
    rise = rng.uniform(0.06, 0.16) * (1 - 0.35 * at**2) - rng.uniform(0, 0.05) * (abs(at) > 0.96)
    pixels = np.stack(((at + 1) / 2 * columns, rows * (1 - rise)), 1)
    pixels = np.concatenate((pixels, [(columns, rows + 9), (0, rows + 9)]))
    flat = (pixels - camera.vanish) / camera.focal * (1, -1)
    shape = polygon(np.add(flat, (-camera.bend, camera.height)), 1.0)
    return Thing(
        "ego vehicle", [Facet(shape, any_colour(rng, (0, 0.8), (0.08, 0.9)))], grain="panel"
    )


def draw_scene(seed: int, size: tuple[int, int] = (256, 512)) -> Scene:
    """Draw the street of this seed; the same seed and size give the same bytes.

    Args:
        seed: any non-negative integer.
        size: rows and columns in pixels.
    """
    rng = np.random.default_rng([VERSION, seed])
    mood = weather.pick(rng)
    sun = np.array((rng.uniform(-1, 1), rng.uniform(0.5, 1.2), rng.uniform(-1, 0.6)))
    canvas = Canvas(plan.look(rng, size), rng, sun / np.linalg.norm(sun))
    weather.sky(canvas, mood)
    ground, layout = Ground(canvas), plan.draw_up(rng)
    plan.lay(layout, ground, rng)
    street = Street(rng, canvas, layout, lit=min(mood.light) < 0.65)
    street.populate()
    street.line_sides()
    street.furnish()
    ground.shadows(street.things, canvas.sun, mood.shadow)
    for thing in paint_order(street.things):
        canvas.paint(thing)
    if rng.random() < 0.4:
        canvas.paint(_bonnet(canvas))
    image = weather.develop(canvas, mood)
    return Scene(image, canvas.label_ids, canvas.instance_ids, canvas.outlines)
