"""The plan of a street: the camera, and where road, rails, pavements and grass lie."""

from typing import NamedTuple

import numpy as np

from .canvas import Camera, Colour, Facet
from .ground import Ground, lines, rails, sleepers, strip, wear, zebra
from .shapes import USUAL_HUE, any_colour, dim

LANE = 3.2  # metres
EARTH: tuple[Colour, ...] = (
    (85, 125, 50),
    (110, 145, 70),
    (70, 100, 60),
    (165, 150, 90),
    (130, 105, 80),
)


class Side(NamedTuple):
    """One side of the street: ``sign`` is -1 left, 1 right; all else is x in metres.

    Attributes:
        sign: -1 left of the camera, 1 right of it.
        kerb: where the road ends.
        parking: whether cars are parked along the kerb.
        walk: where the pavement begins and ends, going outwards.
        grass: likewise the green strip; of no width where there is none.
        front: where houses, walls and fences stand.
        paved: whether the ground goes on paved behind the front.
    """

    sign: int
    kerb: float
    parking: bool
    walk: tuple[float, float]
    grass: tuple[float, float]
    front: float
    paved: bool


class Plan(NamedTuple):
    """Where everything flat lies; x and z in metres, the camera at 0, 0.

    Attributes:
        lanes: x of the outer edges of the lanes; the camera drives at x = 0.
        rail: x of the middle of the tram's track, if there is one.
        bedded: whether the track lies in the road, not in a bed of its own.
        junction: z where a road crosses, if one does.
        sides: left and right.
    """

    lanes: tuple[float, float]
    rail: float | None
    bedded: bool
    junction: float | None
    sides: tuple[Side, Side]

    def middles(self) -> np.ndarray:
        """x of the middle of each lane."""
        return np.arange(self.lanes[0] + LANE / 2, self.lanes[1], LANE)


def look(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    """A camera somewhere in a car or a van."""
    return Camera(
        size=size,
        focal=rng.uniform(0.75, 1.15) * size[1],
        vanish=(rng.uniform(0.33, 0.67) * size[1], rng.uniform(0.34, 0.5) * size[0]),
        height=rng.uniform(1.2, 2.4),
        bend=float(rng.choice((0.0, 1.0)) * rng.normal(0, 0.0011)),
    )


def draw_up(rng: np.random.Generator) -> Plan:
    """A street of one to five lanes, with or without a tram, parked cars and green strips."""
    left = -LANE * (0.5 + rng.choice((0, 1, 2), p=(0.15, 0.6, 0.25)))
    right = LANE * (0.5 + rng.choice((0, 1), p=(0.8, 0.2)))
    lanes = float(left), float(right)
    rail = None
    if rng.random() < 0.45:
        if rng.random() < 0.6:
            left, rail = left - 3.4, left - 1.7
        else:
            right, rail = right + 3.4, right + 1.7
    junction = float(rng.uniform(14, 32)) if rng.random() < 0.35 else None
    sides = _side(rng, -1, float(left)), _side(rng, 1, float(right))
    return Plan(lanes, rail, bool(rng.random() < 0.5), junction, sides)


def _side(rng: np.random.Generator, sign: int, edge: float) -> Side:
    parking = bool(rng.random() < 0.35)
    kerb = edge + sign * (2.3 if parking else 0.3)
    wide, green = rng.uniform(2.5, 6.0), rng.uniform(2.0, 6.0) * (rng.random() < 0.65)
    split = wide if rng.random() < 0.6 else green
    inner, outer = (kerb, kerb + sign * split), (kerb + sign * split, kerb + sign * (wide + green))
    walk, grass = (inner, outer) if split == wide else (outer, inner)
    return Side(sign, kerb, parking, walk, grass, outer[1], bool(rng.random() < 0.4))


def lay(plan: Plan, ground: Ground, rng: np.random.Generator) -> None:
    """Paint everything flat."""
    asphalt = any_colour(rng, (0.0, 0.15), (0.22, 0.5), USUAL_HUE["road"])
    stone = any_colour(rng, (0.1, 0.4), (0.4, 0.85), USUAL_HUE["sidewalk"])
    earth = dim(EARTH[rng.integers(len(EARTH))], rng.uniform(0.6, 1.3))
    pitch = rng.uniform(0.5, 1.6)
    grass = ground.grain("grass")
    slabs = ground.grain("plain", (pitch, pitch * rng.uniform(0.7, 2.0)))
    surface = ground.grain("asphalt")
    ground.lay("terrain", [Facet(strip(-150, 150), earth)], grass)
    paved = [side.walk for side in plan.sides]
    paved += [(side.front, side.front + 9 * side.sign) for side in plan.sides if side.paved]
    ground.lay("sidewalk", [Facet(strip(*span), stone) for span in paved], slabs)
    left, right = (side.kerb for side in plan.sides)
    ground.lay("road", [Facet(strip(left, right), asphalt)], surface)
    edges = np.append(plan.middles() - LANE / 2, plan.lanes[1])
    marks = wear(rng, left, right, asphalt) + lines(rng, edges)
    if plan.rail is not None and not plan.bedded:
        bed = any_colour(rng, (0.0, 0.35), (0.3, 0.6))
        track = strip(plan.rail - 1.6, plan.rail + 1.6)
        ground.lay("rail track", [Facet(track, bed)], grass)
        marks += sleepers(plan.rail)
    if plan.rail is not None:
        marks += rails(plan.rail)
    gutters = [strip(side.kerb - side.sign * 0.06, side.kerb) for side in plan.sides]
    ground.lay("", marks + [Facet(gutter, dim(asphalt, 0.5)) for gutter in gutters])
    kerbs = [strip(side.kerb, side.kerb + side.sign * 0.18) for side in plan.sides]
    pale = dim(stone, rng.uniform(1.15, 1.35))
    ground.lay("sidewalk", [Facet(kerb, pale) for kerb in kerbs], slabs)
    if plan.junction is not None:
        across = strip(-90, 90, plan.junction, plan.junction + 8)
        ground.lay("road", [Facet(across, asphalt)], surface)
    if rng.random() < (0.3 if plan.junction is None else 0.7):
        near = rng.uniform(7, 18) if plan.junction is None else plan.junction - 4
        ground.lay("", zebra(left, right, near))
    ground.depth()
