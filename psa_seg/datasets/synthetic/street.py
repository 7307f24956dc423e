"""What lines a street: façades, walls, fences, trees, poles, lights, signs and odd clutter."""

import numpy as np

from .canvas import Colour, Facet, Thing
from .shapes import USUAL_HUE, any_colour, blob, box, dim, limbs, panel, polygon

LEAVES = (
    (75, 120, 40),  # summer
    (45, 85, 45),  # fir
    (120, 140, 60),  # olive
    (170, 130, 50),  # early autumn
    (165, 85, 45),  # late autumn
    (205, 150, 170),  # blossom
    (100, 95, 80),  # winter
)
LEAF_SHARES = (0.34, 0.22, 0.16, 0.09, 0.08, 0.04, 0.07)


def _grid(
    a: tuple[float, float], b: tuple[float, float], counts: tuple[int, int], fill: float
) -> np.ndarray:
    """Rectangles [M, 4] in rows and columns over a by b, each filling a share of its cell."""
    columns, rows = np.linspace(*a, counts[0] + 1), np.linspace(*b, counts[1] + 1)
    gap_a, gap_b = (columns[1] - columns[0]) * (1 - fill) / 2, (rows[1] - rows[0]) * 0.22
    rects = np.empty((counts[1], counts[0], 4))
    rects[..., 0], rects[..., 2] = columns[:-1] + gap_a, columns[1:] - gap_a
    rects[..., 1], rects[..., 3] = rows[:-1, None] + gap_b, rows[1:, None] - gap_b
    return rects.reshape(-1, 4)


def building(
    rng: np.random.Generator, side: int, length: float, lit: bool, near: bool = True
) -> Thing:
    """A house whose front looks at the road.

    Args:
        rng: draws everything else.
        side: -1 left of the road, 1 right of it.
        length: metres along the road.
        lit: whether lamps burn behind the windows.
        near: whether frames, doors and shops can be made out.
    """
    storeys = int(rng.integers(2, 8))
    storey, depth = rng.uniform(2.8, 3.6), rng.uniform(6, 12)
    tall, half = storeys * storey + 0.8, length / 2
    paint = any_colour(rng, (0.1, 0.6), (0.25, 0.97), USUAL_HUE["building"])
    trim = dim(paint, rng.choice((0.6, 1.3)))
    front, x = ("right", depth / 2) if side < 0 else ("left", -depth / 2)
    facets = box(depth, length, 0.0, tall, paint)
    across = max(1, round(length / rng.uniform(1.8, 3.6)))
    share = rng.uniform(0.35, 0.7)
    panes = _grid((-half, half), (storey, storeys * storey), (across, storeys - 1), share)
    bands = [(-half, storey * n - 0.1, half, storey * n + 0.08) for n in range(1, storeys + 1)]
    bands.append((-half, tall - 0.5, half, tall))
    facets.append(Facet(panel(front, bands, x), trim))
    day = any_colour(rng, (0.0, 0.4), (0.1, 0.6))
    if near:
        frames = panes + np.array((-0.12, -0.12, 0.12, 0.12))
        facets.append(Facet(panel(front, frames, x), dim(trim, rng.uniform(0.8, 1.3))))
    facets.append(Facet(panel(front, panes, x), day))
    bright = panes[rng.random(len(panes)) < (0.45 if lit else 0.06)]
    if len(bright):
        facets.append(Facet(panel(front, bright, x), (250.0, 210.0, 130.0), 1.0 * lit))
    if near:
        bars = panes.copy()
        bars[:, 0] = (panes[:, 0] + panes[:, 2]) / 2 - 0.04
        bars[:, 2] = bars[:, 0] + 0.08
        facets.append(Facet(panel(front, bars, x), trim))
        facets += _ground_floor(rng, front, x, half, storey, trim, lit)
    ends = _grid((-depth / 2, depth / 2), (storey, storeys * storey), (3, storeys - 1), 0.35)
    facets.append(Facet(panel("near", ends, -half), day))
    grain = str(rng.choice(("plain", "stain", "brick")))
    return Thing("building", facets, half=(depth / 2, half), tall=tall, solid=True, grain=grain)


def _ground_floor(
    rng: np.random.Generator,
    front: str,
    x: float,
    half: float,
    storey: float,
    trim: Colour,
    lit: bool,
) -> list[Facet]:
    """Either shops with a lit pane and an awning, or a door between small windows."""
    colour = any_colour(rng)
    if rng.random() < 0.55:
        shops = max(1, round(half / 2.5))
        panes = _grid((-half, half), (-0.3, storey - 0.4), (shops, 1), 0.86)
        board = [(-half, storey - 0.75, half, storey - 0.1)]
        shade = panes + np.array((0, storey * 0.48, 0, 0.1))
        return [
            Facet(panel(front, [(-half, 0, half, storey)], x), dim(colour, 0.7)),
            Facet(panel(front, panes, x), any_colour(rng, (0, 0.4), (0.15, 0.8)), 0.8 * lit),
            Facet(panel(front, board, x), any_colour(rng, (0.2, 0.9))),
            Facet(panel(front, shade, x), any_colour(rng, (0.1, 0.9))),
        ]
    doors = [(at - 0.6, 0.0, at + 0.6, 2.2) for at in np.arange(-half + 2, half - 1, 7.0)]
    windows = [(at - 0.6, 0.9, at + 0.6, 2.2) for at in np.arange(-half + 4.5, half - 1, 3.5)]
    base = [(-half, 0.0, half, 0.6)]
    facets = [Facet(panel(front, base, x), dim(trim, 0.8))]
    for rects, tone in ((doors, colour), (windows, any_colour(rng, (0, 0.4), (0.1, 0.5)))):
        if rects:
            facets.append(Facet(panel(front, rects, x), tone))
    return facets


def tower(rng: np.random.Generator, lit: bool) -> Thing:
    """A house far off, of which little more than the outline can be seen."""
    wide, tall = rng.uniform(8, 18), rng.uniform(8, 32)
    facets = box(
        wide, 4.0, 0.0, tall, any_colour(rng, (0.1, 0.5), (0.25, 0.9), USUAL_HUE["building"])
    )
    counts = int(rng.integers(3, 7)), max(2, round(tall / 3.2))
    panes = _grid((-wide / 2, wide / 2), (1.0, tall - 0.5), counts, rng.uniform(0.35, 0.7))
    day = any_colour(rng, (0.0, 0.4), (0.1, 0.6))
    pane, glow = ((250.0, 210.0, 130.0), 0.5) if lit else (day, 0.0)
    facets.append(Facet(panel("near", panes, -2.0), pane, glow))
    return Thing("building", facets, half=(wide / 2, 2.0), tall=tall, solid=True)


def wall(rng: np.random.Generator, side: int, length: float) -> Thing:
    """A free-standing wall: courses of big blocks between pillars, under a coping."""
    tall, half = rng.uniform(1.6, 3.2), length / 2
    paint = any_colour(rng, (0.1, 0.5), (0.25, 0.9), USUAL_HUE["wall"])
    front, x = ("right", 0.2) if side < 0 else ("left", -0.2)
    dark = dim(paint, 0.62)
    facets = box(0.4, length, 0.0, tall, paint)
    courses = np.arange(0.4, tall - 0.2, 0.45)
    facets.append(Facet(panel(front, [(-half, y, half, y + 0.06) for y in courses], x), dark))
    joints = [
        (at + 0.5 * (row % 2), y - 0.4, at + 0.5 * (row % 2) + 0.06, y)
        for row, y in enumerate(courses)
        for at in np.arange(-half, half - 0.6, 1.0)
    ]
    facets.append(Facet(panel(front, joints, x), dark))
    pillars = [(at, 0.0, at + 0.5, tall) for at in np.arange(-half, half, 4.0)]
    facets.append(Facet(panel(front, pillars, x), dim(paint, 1.15)))
    facets.append(Facet(panel(front, [(-half, tall - 0.2, half, tall)], x), dim(paint, 1.3)))
    if rng.random() < 0.4:
        low, start = 0.3 * tall, rng.uniform(-half, half - 2)
        facets.append(
            Facet(
                panel(front, [(start, low, start + 2.5, 0.8 * tall)], x), any_colour(rng, (0.4, 1))
            )
        )
    return Thing("wall", facets, half=(0.2, half), tall=tall, solid=True, grain="stain")


def fence(rng: np.random.Generator, length: float, distance: float) -> Thing:
    """A fence seen through between its bars: pickets, rails or a grating."""
    tall, half = rng.uniform(1.1, 2.2), length / 2
    paint = any_colour(rng, (0.3, 0.8), (0.1, 0.8), USUAL_HUE["fence"])
    # Far bars merge into a grey veil: fewer of them keep the gaps open.
    pitch = max(rng.uniform(0.16, 0.4), 0.03 * distance)
    at = np.arange(-half, half, pitch)
    thick = pitch * rng.uniform(0.2, 0.45)
    bars = np.stack((at, np.full_like(at, 0.1), at + thick, np.full_like(at, tall)), 1)
    rails = [(-half, y, half, y + 0.09) for y in (0.15, 0.55 * tall, tall - 0.12)]
    posts = [(post, 0.0, post + 0.16, tall + 0.12) for post in np.arange(-half, half, 2.5)]
    facets = [
        Facet(panel("right", [(-half, 0.0, half, tall)], 0.0), paint, ink=False),
        Facet(panel("right", bars, 0.0), paint),
        Facet(panel("right", rails, 0.0), dim(paint, 0.8)),
        Facet(panel("right", posts, 0.0), dim(paint, 0.7)),
    ]
    return Thing("fence", facets, half=(0.1, half), tall=0.5 * tall, grain="panel")


def leaves(rng: np.random.Generator) -> Colour:
    """Foliage: mostly green, but also blossom, autumn, olive or bare."""
    kind, scatter = LEAVES[rng.choice(len(LEAVES), p=LEAF_SHARES)], rng.uniform(0.85, 1.15, 3)
    red, green, blue = scatter * kind * rng.uniform(0.5, 1.25)
    return red, green, blue


def hedge(rng: np.random.Generator, side: int, length: float) -> Thing:
    """A clipped hedge along the pavement."""
    tall, half, paint = rng.uniform(1.0, 2.2), length / 2, leaves(rng)
    at = np.linspace(-half, half, max(4, round(length * 2)))
    top = tall + rng.normal(0, 0.08, len(at))
    x = 0.4 if side < 0 else -0.4
    edge = np.stack((np.full_like(at, x), top, at), 1)
    foot = np.array(((x, 0.0, half), (x, 0.0, -half)))
    facets = [Facet(panel("near", [(-0.4, 0.0, 0.4, tall)], -half), dim(paint, 0.7))]
    facets += [Facet(np.concatenate((edge, foot))[None], paint)]
    return Thing("vegetation", facets, half=(0.4, half), tall=tall, grain="leaf")


def tree(rng: np.random.Generator) -> Thing:
    """A trunk with branches under a crown of several clumps, or a cone of a fir."""
    tall, paint = rng.uniform(4, 9), leaves(rng)
    bark, girth = any_colour(rng, (0.1, 0.4), (0.15, 0.5)), rng.uniform(0.18, 0.4)
    fork, reach = 0.45 * tall, tall * rng.uniform(0.22, 0.34)
    trunk = limbs(
        [
            (0, 0, 0, 0, fork, 0, girth * 1.3, girth),
            (0, fork, 0, reach * 0.5, fork * 1.5, 0, girth * 0.7, 0.08),
            (0, fork, 0, -reach * 0.5, fork * 1.4, 0, girth * 0.7, 0.08),
        ]
    )
    facets = [Facet(trunk, bark)]
    if rng.random() < 0.2:
        for tier in range(4):
            low, wide = tall * (0.15 + 0.2 * tier), reach * (1.0 - 0.22 * tier)
            corners = [(-wide, low), (wide, low), (0, low + 0.38 * tall)]
            facets.append(Facet(polygon(corners), dim(paint, 0.75 + 0.1 * tier)))
    else:
        facets.append(Facet(blob(rng, 0, 0.68 * tall, reach, 0.3 * tall), dim(paint, 0.75)))
        for _ in range(5):
            x, y = rng.uniform(-0.6, 0.6) * reach, tall * rng.uniform(0.55, 0.85)
            size = reach * rng.uniform(0.35, 0.6)
            facets.append(
                Facet(
                    blob(rng, x, y, size, size),
                    dim(paint, 0.7 + 0.5 * (y / tall - 0.4) + rng.uniform(0, 0.25)),
                )
            )
    return Thing("vegetation", facets, half=(0.4, 0.4), tall=tall, grain="leaf")


def bush(rng: np.random.Generator) -> Thing:
    """A low bush."""
    size, paint = rng.uniform(0.4, 1.1), leaves(rng)
    facets = [Facet(blob(rng, 0, size * 0.7, size, size * 0.8), dim(paint, 0.8))]
    facets.append(Facet(blob(rng, 0.2 * size, size * 0.85, size * 0.6, size * 0.5), paint))
    return Thing("vegetation", facets, half=(0.4, 0.4), tall=size, grain="leaf")
