"""Poles and what hangs on them, and the clutter that no class claims."""

import numpy as np

from .canvas import Colour, Facet, Thing
from .shapes import USUAL_HUE, any_colour, box, dim, jointed, limbs, ngon, panel, polygon

LAMPS: tuple[Colour, ...] = ((240.0, 50.0, 35.0), (250.0, 180.0, 40.0), (60.0, 225.0, 130.0))
SIGN_RED: Colour = (200.0, 30.0, 35.0)
SIGN_BLUE: Colour = (30.0, 80.0, 175.0)
PALE: Colour = (238.0, 238.0, 235.0)
INK: Colour = (25.0, 25.0, 30.0)


def _shaft(rng: np.random.Generator, tall: float, thick: float) -> tuple[list[Facet], Colour]:
    """A round pole, lighter along one side, with a sleeve at its foot."""
    paint = any_colour(rng, (0.0, 0.25), (0.3, 0.8), USUAL_HUE["pole"])
    facets = jointed(
        [
            ([(0, 0, 0, 0, tall, 0, thick, 0.8 * thick)], paint),
            ([(0, 0, 0, 0, min(1.0, 0.2 * tall), 0, 1.6 * thick, 1.5 * thick)], dim(paint, 0.8)),
            ([(0.2 * thick, 0, 0, 0.2 * thick, tall, 0, thick / 4, thick / 5)], dim(paint, 1.35)),
        ]
    )
    return facets, paint


def lamp_post(rng: np.random.Generator, side: int) -> Thing:
    """A street lamp with its arm over the road, or a mast for wires."""
    tall, thick = rng.uniform(5, 9), rng.uniform(0.16, 0.3)
    facets, paint = _shaft(rng, tall, thick)
    reach = -side * rng.uniform(1.0, 2.4)
    facets.append(Facet(limbs([(0, tall - 0.1, 0, reach, tall + 0.3, 0, 0.13, 0.12)]), paint))
    head = limbs([(0.7 * reach, tall + 0.2, 0, 1.2 * reach, tall + 0.28, 0, 0.22, 0.18)])
    facets.append(Facet(head, PALE, 0.9))
    return Thing("pole", facets, half=(0.15, 0.15), tall=tall, grain="panel")


def bollard(rng: np.random.Generator) -> Thing:
    """A thick short post at the kerb."""
    tall = rng.uniform(0.8, 1.2)
    facets, _ = _shaft(rng, tall, 0.2)
    band = polygon([(-0.1, 0.8 * tall), (0.1, 0.8 * tall), (0.1, 0.92 * tall), (-0.1, 0.92 * tall)])
    return Thing("pole", [*facets, Facet(band, PALE)], half=(0.15, 0.15), tall=tall, grain="panel")


def _signal(
    x: float, y: float, state: int, housing: Colour, rng: np.random.Generator
) -> list[Facet]:
    """A housing with three lamps one above the other, of which one shines."""
    facets = [
        Facet(polygon([(x - a, y - b), (x + a, y - b), (x + a, y + b), (x - a, y + b)]), paint)
        for a, b, paint in ((0.28, 0.62, dim(housing, 1.5)), (0.22, 0.56, housing))
    ]
    for row, colour in enumerate(LAMPS):
        on = row == state
        tone = dim(colour, rng.uniform(0.85, 1.0) if on else 0.25)
        facets.append(Facet(ngon(x, y + 0.36 - 0.36 * row, 0.15, 12), tone, 1.0 if on else 0.0))
    return facets


def traffic_light(rng: np.random.Generator, side: int) -> list[Thing]:
    """Signals on a pole, sometimes with a second head on an arm over the road."""
    tall, state = rng.uniform(2.8, 3.6), int(rng.choice((0, 1, 2), p=(0.45, 0.15, 0.4)))
    shaft, paint = _shaft(rng, tall, 0.2)
    housing = any_colour(rng, (0.0, 0.5), (0.05, 0.25))
    heads = _signal(0.0, tall - 0.55, state, housing, rng)
    if rng.random() < 0.6:
        reach = -side * rng.uniform(2.0, 3.5)
        shaft.append(Facet(limbs([(0, 0, 0, 0, tall + 2.0, 0, 0.24, 0.2)]), paint))
        shaft.append(Facet(limbs([(0, tall + 1.9, 0, reach, tall + 2.1, 0, 0.2, 0.14)]), paint))
        heads += _signal(reach, tall + 1.7, state, housing, rng)
    half = (0.2, 0.2)
    return [
        Thing("pole", shaft, half=half, tall=tall, grain="panel"),
        Thing("traffic light", heads, half=half, grain="panel"),
    ]


def _plate(rng: np.random.Generator, y: float) -> list[Facet]:
    """One sign about (0, y): ban, warning, order, stop, yield, priority, or a board."""
    size, kind = rng.uniform(0.36, 0.6), int(rng.integers(7))
    fade = rng.uniform(0.6, 1.05)
    inner, up = 0.72 * size, np.pi / 2
    symbol = Facet(
        polygon(
            [
                (-0.1, y - 0.3 * size),
                (0.1, y - 0.3 * size),
                (0.06, y + 0.35 * size),
                (-0.12, y + 0.3 * size),
            ]
        ),
        INK,
    )
    bar = polygon(
        [
            (-0.6 * size, y - 0.14 * size),
            (0.6 * size, y - 0.14 * size),
            (0.6 * size, y + 0.14 * size),
            (-0.6 * size, y + 0.14 * size),
        ]
    )
    plates: tuple[list[Facet], ...] = (
        [Facet(ngon(0, y, size, 16), SIGN_RED), Facet(ngon(0, y, inner, 16), PALE), symbol],
        [
            Facet(ngon(0, y, 1.2 * size, 3, up), SIGN_RED),
            Facet(ngon(0, y, 0.75 * size, 3, up), PALE),
            symbol,
        ],
        [Facet(ngon(0, y, size, 16), SIGN_BLUE), Facet(bar, PALE)],
        [Facet(ngon(0, y, size, 8, np.pi / 8), SIGN_RED), Facet(bar, PALE)],
        [
            Facet(ngon(0, y, 1.2 * size, 3, -up), SIGN_RED),
            Facet(ngon(0, y, 0.75 * size, 3, -up), PALE),
        ],
        [Facet(ngon(0, y, size, 4), PALE), Facet(ngon(0, y, 0.8 * size, 4), (240, 190, 30))],
        _board(rng, y, size),
    )
    return [facet._replace(colour=dim(facet.colour, fade)) for facet in plates[kind]]


def _board(rng: np.random.Generator, y: float, size: float) -> list[Facet]:
    """A direction board with lines of writing."""
    wide, tall = 2.2 * size, 0.9 * size
    back = any_colour(rng, (0.0, 0.9), (0.2, 0.95))
    lines = [
        (-0.8 * wide, y + at * tall, rng.uniform(0, 0.8) * wide, y + (at + 0.3) * tall)
        for at in (-0.6, 0.2)
    ]
    return [
        Facet(panel("near", [(-wide, y - tall, wide, y + tall)], 0.0), PALE),
        Facet(
            panel("near", [(-0.95 * wide, y - 0.9 * tall, 0.95 * wide, y + 0.9 * tall)], 0.0), back
        ),
        Facet(panel("near", lines, 0.0), PALE if sum(back) < 380 else INK),
    ]


def traffic_sign(rng: np.random.Generator) -> list[Thing]:
    """One or two plates on a pole."""
    tall = rng.uniform(2.3, 3.3)
    shaft, _ = _shaft(rng, tall, 0.12)
    plates = _plate(rng, tall - 0.4)
    if rng.random() < 0.3:
        plates += _plate(rng, tall - 1.55)
    half = (0.2, 0.2)
    return [
        Thing("pole", shaft, half=half, tall=tall, grain="panel"),
        Thing("traffic sign", plates, half=half, grain="plain"),
    ]


def clutter(rng: np.random.Generator) -> Thing:
    """A bin or box that stays, or a sack or trolley that will be gone tomorrow."""
    paint = any_colour(rng)
    if rng.random() < 0.6:
        tall = rng.uniform(0.7, 1.3)
        facets = box(0.7, 0.6, 0.05, tall, paint)
        facets.append(
            Facet(panel("near", [(-0.38, tall - 0.15, 0.38, tall)], -0.3), dim(paint, 0.6))
        )
        return Thing("static", facets, half=(0.35, 0.3), tall=tall, solid=True)
    facets = [
        Facet(ngon(0.0, 0.25, 0.3, 7, 0.3), paint),
        Facet(ngon(0.1, 0.52, 0.1, 5), dim(paint, 0.7)),
    ]
    return Thing("dynamic", facets, half=(0.3, 0.2), tall=0.5)
