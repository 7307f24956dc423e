"""Cars, trucks, buses and trains: solid bodies about their own middle, rear towards z < 0."""

from collections.abc import Callable

import numpy as np

from .canvas import Colour, Facet, Thing
from .shapes import USUAL_HUE, Rects, any_colour, both_sides, box, dim, discs, panel

TYRE: Colour = (24.0, 24.0, 27.0)
HUB: Colour = (150.0, 150.0, 155.0)
RED: Colour = (205.0, 25.0, 22.0)
WHITE: Colour = (245.0, 240.0, 215.0)

# length, width, height of the belt, of the roof, of the nose; then along the length, -0.5 at the
# rear: foot and top of the rear window, top and foot of the windscreen
CARS = (
    (4.5, 1.80, 0.95, 1.45, 0.78, -0.36, -0.20, 0.10, 0.26),  # saloon
    (4.0, 1.75, 0.98, 1.52, 0.82, -0.49, -0.40, 0.08, 0.26),  # hatchback
    (4.7, 1.85, 0.97, 1.50, 0.80, -0.49, -0.42, 0.10, 0.27),  # estate
    (4.6, 1.90, 1.12, 1.75, 1.00, -0.49, -0.43, 0.12, 0.26),  # off-roader
    (5.0, 1.95, 1.20, 2.05, 1.05, -0.50, -0.48, 0.26, 0.40),  # van
)


def glass(rng: np.random.Generator) -> Colour:
    """A window pane by day: dark, or with a piece of the sky in it."""
    return any_colour(rng, (0.0, 0.3), (0.08, 0.55))


def _ends(rects: Rects, z: float, colours: tuple[Colour, Colour], glow: float) -> list[Facet]:
    """Lamps and the like on the rear and on the front."""
    return [
        Facet(panel("near", rects, -z), colours[0], glow),
        Facet(panel("far", rects, z), colours[1], glow),
    ]


def car(rng: np.random.Generator, yaw: float) -> Thing:
    """A car of any make and colour."""
    length, width, belt, roof, nose, *marks = CARS[rng.integers(len(CARS))]
    length *= rng.uniform(0.92, 1.08)
    rear_foot, rear_top, front_top, front_foot = (mark * length for mark in marks)
    half, end, low = width / 2, length / 2, 0.28
    paint, pane = any_colour(rng, (0.0, 0.9), (0.08, 0.97)), glass(rng)
    outline = np.array(  # z, y, half the width there
        [
            (-end, low, half),
            (-end + 0.02, 0.8 * belt, half),
            (-end + 0.06, belt, half - 0.04),
            (rear_foot, belt + 0.02, half - 0.05),
            (rear_top, roof, half - 0.25),
            (front_top, roof, half - 0.25),
            (front_foot, belt, half - 0.05),
            (end - 0.12, nose, half - 0.08),
            (end, 0.8 * nose, half - 0.06),
            (end, low, half - 0.04),
        ]
    )
    z, y, x = outline.T
    left, right = np.stack((-x, y, z), 1), np.stack((x, y, z), 1)
    strips = np.stack((left[:-1], right[:-1], right[1:], left[1:]), 1)
    tyres = [(-half, 0.0, -half + 0.24, 0.4), (half - 0.24, 0.0, half, 0.4)]
    dark = _ends(tyres, end - 0.45, (TYRE, TYRE), 0.0)
    dark += _ends([(-half + 0.1, 0.16, half - 0.1, 0.36)], end - 0.2, (TYRE, TYRE), 0.0)
    body = [
        Facet(strip[None], dim(paint, 1.08 if 2 <= n <= 6 else 1)) for n, strip in enumerate(strips)
    ]
    for index in (3, 5):
        middle = strips[index].mean(0)
        body.append(Facet((middle + (strips[index] - middle) * (0.88, 0.8, 0.8))[None], pane))
    lower, cabin = [0, 1, 2, 3, 6, 7, 8, 9], [3, 4, 5, 6]
    post = (rear_top + front_top) / 2
    for flank, step in ((left, 1), (right, -1)):
        body.append(Facet(flank[lower][::step][None], paint))
        body.append(Facet(flank[cabin][::step][None], paint))
        corners = flank[cabin]
        middle = corners.mean(0)
        window = middle + (corners - middle) * (1, 0.72, 0.86) + (0, 0.02, 0)
        body.append(Facet(window[::step][None], pane))
        bar = np.array(
            [(0, belt, post), (0, roof, post), (0, roof, post + 0.1), (0, belt, post + 0.1)]
        )
        bar[:, 0] = corners[[0, 1, 2, 3], 0]
        body.append(Facet(bar[::step][None], dim(paint, 0.8)))
    wheels = [(-0.31 * length, 0.32), (0.31 * length, 0.32)]
    body += discs(wheels, 0.37, half, dim(paint, 0.4)) + discs(wheels, 0.32, half + 0.01, TYRE)
    body += discs(wheels, 0.18, half + 0.02, HUB)
    body += both_sides([(post - 0.9, 0.72, post - 0.7, 0.77)], half, dim(paint, 0.5))
    lamps = [(-half + 0.05, 0.58, -half + 0.42, 0.76), (half - 0.42, 0.58, half - 0.05, 0.76)]
    body += _ends(lamps, end, (RED, WHITE), rng.uniform(0.2, 1.0))
    body += _ends([(-half, low, half, low + 0.14)], end, (dim(paint, 0.5),) * 2, 0.0)
    body += _ends([(-0.26, 0.48, 0.26, 0.6)], end + 0.01, ((235, 235, 225), (235, 235, 225)), 0.0)
    return Thing(
        "car", dark + body, half=(half, end), tall=roof, yaw=yaw, solid=True, grain="panel"
    )


def _row(start: float, stop: float, count: int, gap: float, low: float, high: float) -> np.ndarray:
    """``count`` rectangles side by side from start to stop, ``gap`` apart."""
    edges = np.linspace(start, stop, count + 1)
    flat = np.ones(count)
    return np.stack((edges[:-1] + gap / 2, low * flat, edges[1:] - gap / 2, high * flat), 1)


def _wheels(places: list[float], radius: float, half: float) -> list[Facet]:
    centres = [(place, radius) for place in places]
    return discs(centres, radius, half + 0.01, TYRE) + discs(
        centres, radius * 0.5, half + 0.02, HUB
    )


def bus(rng: np.random.Generator, yaw: float) -> Thing:
    """A city bus: doors, a band of windows over big wheels, a lit sign with its line."""
    length, half, tall = rng.uniform(9, 12.5), 1.27, rng.uniform(2.9, 3.3)
    end, paint = length / 2, any_colour(rng, (0.5, 0.95), (0.4, 0.95), USUAL_HUE["bus"])
    trim, pane = any_colour(rng), glass(rng)
    glow = rng.uniform(0.0, 0.7)
    facets = _ends([(-1.2, 0.0, -0.9, 0.5), (0.9, 0.0, 1.2, 0.5)], end - 0.5, (TYRE, TYRE), 0.0)
    facets += box(2 * half, length, 0.3, tall, paint)
    facets += both_sides([(-end, 0.35, end, rng.uniform(0.6, 1.2))], half, trim)
    facets += both_sides(_row(-end + 0.2, end - 0.2, 7, 0.16, 1.35, 2.5), half, pane, glow)
    doors = [(end - 1.9, 0.4, end - 0.7, 2.5), (-0.6, 0.4, 0.6, 2.5)]
    facets += both_sides(doors, half, dim(trim, 0.5))
    facets += both_sides(_row(-0.55, 0.55, 2, 0.14, 0.6, 2.4), half, pane, glow)
    facets += both_sides(_row(end - 1.85, end - 0.75, 2, 0.14, 0.6, 2.4), half, pane, glow)
    facets += both_sides([(-end, 2.62, end, 2.8)], half, dim(trim, 0.8))
    facets += _wheels([-0.28 * length, 0.27 * length], 0.5, half)
    facets += _ends([(-1.1, 1.45, 1.1, 2.4)], end, (pane, pane), glow)
    facets += [Facet(panel("far", [(-1.2, 0.9, 1.2, 2.5)], end), pane)]
    facets += _ends([(-0.8, 2.55, 0.8, 2.82)], end + 0.01, ((25, 22, 20), (25, 22, 20)), 0.0)
    facets += _ends(_row(-0.7, 0.5, 5, 0.1, 2.6, 2.76), end + 0.02, ((250, 170, 40),) * 2, 1.0)
    facets += _ends([(-half, 0.3, half, 0.62)], end, (dim(trim, 0.7),) * 2, 0.0)
    facets += _ends(
        [(-1.2, 0.65, -0.95, 1.1), (0.95, 0.65, 1.2, 1.1)], end + 0.01, (RED, WHITE), 0.8
    )
    return Thing("bus", facets, half=(half, end), tall=tall, yaw=yaw, solid=True, grain="panel")


def truck(rng: np.random.Generator, yaw: float) -> Thing:
    """A lorry: a blind box or a tarpaulin behind a cab, on a dark chassis with many wheels."""
    length, half, tall = rng.uniform(6.5, 10), 1.25, rng.uniform(2.9, 3.9)
    end, cab = length / 2, 2.0
    load = any_colour(rng, (0.05, 0.5), (0.5, 0.97), USUAL_HUE["truck"])
    paint, pane = any_colour(rng), glass(rng)
    edge, trim = dim(load, rng.choice((0.6, 1.4))), any_colour(rng)
    middle, back = -cab / 2 - 0.15, end - cab - 0.3
    front = box(2.3, cab, 0.5, rng.uniform(2.5, 2.9), paint, end - cab / 2)
    front += both_sides([(end - 1.3, 1.5, end - 0.25, 2.3)], 1.15, pane)
    front += [Facet(panel("far", [(-1.05, 1.45, 1.05, 2.35)], end), pane)]
    front += [Facet(panel("far", [(-1.0, 0.7, 1.0, 1.2)], end), (30, 30, 32))]
    lamps = [(-1.1, 0.55, -0.75, 0.8), (0.75, 0.55, 1.1, 0.8)]
    front += [Facet(panel("far", lamps, end + 0.01), WHITE, 0.9)]
    chassis = box(2.2, length - 0.4, 0.45, 0.95, (38, 38, 40))
    tyres = [(-1.2, 0.0, -0.75, 0.95), (0.75, 0.0, 1.2, 0.95)]
    chassis += _ends(tyres, end - 0.7, (TYRE, TYRE), 0.0)
    chassis += _wheels([-end + 1.0, -end + 2.05, end - 1.1], 0.5, 1.18)
    cargo = box(2 * half, length - cab - 0.3, 0.95, tall, load, middle)
    ribs = np.arange(-end + 0.5, back, rng.choice((0.6, 1.2)))
    cargo += both_sides([(rib, 1.0, rib + 0.07, tall) for rib in ribs], half, edge)
    cargo += both_sides([(-end, 0.95, back, 1.1), (-end, tall - 0.12, back, tall)], half, edge)
    if rng.random() < 0.5:
        cargo += both_sides([(-end + 1.0, 1.6, back - 1.0, tall - 0.7)], half, trim)
    rear = [
        (-0.03, 1.0, 0.03, tall),
        (-0.75, 1.1, -0.69, tall - 0.1),
        (0.69, 1.1, 0.75, tall - 0.1),
    ]
    rear += [(-half, 0.95, half, 1.1), (-half, tall - 0.12, half, tall)]
    cargo += [Facet(panel("near", rear, -end), edge)]
    cargo += [Facet(panel("near", [(-1.15, 0.5, 1.15, 0.7)], -end + 0.1), (225, 60, 30))]
    cargo += [Facet(panel("near", lamps, -end), RED, 0.8)]
    # Each of the two boxes hides its own far sides only: the nearer one comes last.
    boxes = front + cargo if np.cos(yaw) > 0 else cargo + front
    return Thing(
        "truck", chassis + boxes, half=(half, end), tall=tall, yaw=yaw, solid=True, grain="panel"
    )


def train(rng: np.random.Generator, yaw: float) -> Thing:
    """A tram: long, jointed, close to the ground, its wheels behind skirts, a bow on its roof."""
    sections = int(rng.integers(2, 4))
    part, half, tall = rng.uniform(7, 9.5), 1.3, rng.uniform(3.3, 3.6)
    end = sections * part / 2
    paint = any_colour(rng, (0.5, 0.95), (0.3, 0.9), USUAL_HUE["train"])
    trim, pane, grey = any_colour(rng), glass(rng), (62.0, 62.0, 66.0)
    glow = rng.uniform(0.0, 0.7)
    facets = box(2.0, 2 * end - 1.0, tall, tall + 0.35, grey)
    facets += box(2 * half - 0.2, 2 * end - 0.5, 0.12, 0.4, (30, 30, 32))
    facets += box(2 * half, 2 * end, 0.35, tall, paint)
    facets += both_sides([(-end, 0.35, end, 1.0)], half, trim)
    facets += both_sides([(-end, 1.45, end, 2.75)], half, dim(pane, 0.6))
    for section in range(sections):
        start = -end + section * part
        facets += both_sides(
            _row(start + 0.5, start + part - 0.5, 6, 0.2, 1.5, 2.7), half, pane, glow
        )
        doors = _row(start + part / 2 - 0.8, start + part / 2 + 0.8, 2, 0.1, 0.4, 2.8)
        facets += both_sides(doors, half, dim(trim, 0.55))
        doors = _row(start + part / 2 - 0.7, start + part / 2 + 0.7, 2, 0.3, 0.9, 2.6)
        facets += both_sides(doors, half, pane, glow)
        if section:
            facets += both_sides([(start - 0.35, 0.3, start + 0.35, tall)], half, grey)
    facets += _ends([(-half, 0.35, half, 1.0)], end, (trim, trim), 0.0)
    facets += _ends([(-1.15, 1.3, 1.15, 2.75)], end, (dim(pane, 0.6),) * 2, 0.0)
    facets += _ends([(-0.75, 2.85, 0.75, 3.15)], end, ((25, 22, 20),) * 2, 0.0)
    facets += _ends(_row(-0.6, 0.4, 4, 0.1, 2.9, 3.08), end + 0.01, ((250, 170, 40),) * 2, 1.0)
    lamps = [(-1.1, 0.75, -0.8, 0.95), (0.8, 0.75, 1.1, 0.95), (-0.14, 1.05, 0.14, 1.25)]
    facets += _ends(lamps, end + 0.01, (WHITE, WHITE), 0.9)
    facets += _ends([(-0.7, 0.12, 0.7, 0.42)], end, ((30, 30, 32),) * 2, 0.0)
    return Thing("train", facets, half=(half, end), tall=tall, yaw=yaw, solid=True, grain="panel")


VEHICLES: dict[str, Callable[[np.random.Generator, float], Thing]] = {
    "car": car,
    "truck": truck,
    "bus": bus,
    "train": train,
}
