"""Persons on foot, cycles, and riders on them: joints with rounded limbs between."""

import numpy as np

from .canvas import Colour, Facet, Thing
from .shapes import USUAL_HUE, Bone, any_colour, dim, jointed, ngon, polygon, ring

BLACK: Colour = (28.0, 28.0, 30.0)
LAMP: Colour = (215.0, 30.0, 25.0)


def skin(rng: np.random.Generator) -> Colour:
    """A skin tone from pale to dark."""
    return dim((236.0, 188.0, 156.0), rng.uniform(0.3, 1.0))


def _head(
    x: float, y: float, z: float, rng: np.random.Generator, cap: Colour | None
) -> list[Facet]:
    """A face with hair, or with a helmet or cap, about its own middle."""
    hair = cap or any_colour(rng, (0.1, 0.5), (0.05, 0.5))
    turned = rng.choice((-0.035, 0.0, 0.035))
    at = np.array((0.0, 0.0, z))
    return [
        Facet(ngon(x, y, 0.125, 10) + at, hair),
        Facet(ngon(x + turned, y - 0.03, 0.1, 10) + at, skin(rng)),
        Facet(polygon([(x - 0.12, y + 0.03), (x + 0.12, y + 0.03), (x, y + 0.14)]) + at, hair),
    ]


def person(rng: np.random.Generator) -> Thing:
    """A person on foot: walking or standing, trousers, skirt or coat, perhaps with a bag."""
    tall = rng.uniform(1.5, 1.9) if rng.random() < 0.85 else rng.uniform(1.0, 1.4)
    stride = rng.uniform(0.0, 0.34)
    swing = 0.8 * stride * rng.choice((-1, 1))
    coat = any_colour(rng, (0.3, 0.9), (0.2, 0.95), USUAL_HUE["person"])
    legs, shoe = any_colour(rng, value=(0.08, 0.8)), any_colour(rng)
    hip, shoulder, hand = 0.9, 1.42, skin(rng)
    knees = (0.4 * stride + 0.07, -0.4 * stride - 0.07)
    feet = (stride + 0.05, -stride - 0.08)
    parts: list[tuple[list[Bone], Colour]] = []
    for knee, foot in zip(knees, feet, strict=True):
        leg: list[Bone] = [
            (0.3 * knee, hip, 0, knee, 0.48, 0, 0.2, 0.15),
            (knee, 0.5, 0, foot, 0.07, 0, 0.15, 0.11),
        ]
        parts.append((leg, dim(legs, 1.0 if foot > 0 else 0.75)))
        parts.append(([(foot - 0.05, 0.04, 0, foot + 0.14, 0.04, 0, 0.09, 0.08)], shoe))
    for side, lag, shade in ((-1, -swing, 0.8), (1, swing, 0.9)):
        elbow, wrist = side * 0.24 + lag * 0.4, side * 0.22 + lag
        arm: list[Bone] = [
            (side * 0.19, shoulder - 0.05, 0, elbow, 1.1, 0, 0.13, 0.11),
            (elbow, 1.12, 0, wrist, 0.86, 0, 0.11, 0.08),
        ]
        parts += [(arm, dim(coat, shade)), ([(wrist, 0.87, 0, wrist, 0.79, 0, 0.08, 0.07)], hand)]
    parts.append(([(0, 1.44, 0, 0, 1.56, 0, 0.1, 0.1)], hand))
    drawn = jointed(parts)
    hem = rng.choice((0.86, 0.86, 0.55))
    wide = 0.19 + (0.1 if hem < 0.8 else 0.0)
    body = [(-wide, hem), (wide, hem), (0.17, 1.1), (0.24, 1.38), (0.1, 1.48), (-0.1, 1.48)]
    trunk = [Facet(polygon([*body, (-0.24, 1.38), (-0.17, 1.1)]), coat)]
    if rng.random() < 0.5:
        scarf = polygon([(-0.04, hem), (0.04, hem), (0.06, 1.46), (-0.06, 1.46)])
        trunk.append(Facet(scarf, any_colour(rng)))
    if rng.random() < 0.35:
        bag = polygon([(0.16, 0.75), (0.40, 0.75), (0.36, 1.08), (0.18, 1.08)])
        trunk.append(Facet(bag, any_colour(rng)))
    cap = any_colour(rng) if rng.random() < 0.25 else None
    # Legs and the far arm, the trunk, the near arm and the neck, the head.
    facets = drawn[:6] + trunk + drawn[6:] + _head(0, 1.63, 0, rng, cap)
    scale = tall / 1.76
    mirror = rng.choice((-1, 1))
    shaped = [facet._replace(shape=facet.shape * (mirror * scale, scale, 1)) for facet in facets]
    return Thing("person", shaped, tall=tall, grain="cloth")


def _rider(rng: np.random.Generator, yaw: float, seat: float, foot: float, grip: float) -> Thing:
    """A rider above a saddle at z = -0.2, reaching for bars at z = 0.38."""
    coat = any_colour(rng, (0.5, 0.9), (0.4, 0.95), USUAL_HUE["rider"])
    legs, helmet = any_colour(rng, value=(0.08, 0.8)), any_colour(rng)
    neck = seat + 0.53
    thighs: list[Bone] = [
        (side * 0.09, seat + 0.05, -0.2, side * 0.12, seat - 0.25 - 0.1 * side, 0.2, 0.2, 0.16)
        for side in (-1, 1)
    ]
    shins: list[Bone] = [
        (
            side * 0.12,
            seat - 0.25 - 0.1 * side,
            0.2,
            side * 0.12,
            foot - 0.1 * side,
            0.02,
            0.15,
            0.1,
        )
        for side in (-1, 1)
    ]
    arms: list[Bone] = [
        (side * 0.2, neck - 0.06, 0.1, side * 0.25, grip, 0.38, 0.13, 0.09) for side in (-1, 1)
    ]
    trunk: list[Bone] = [
        (side * 0.08, seat + 0.02, -0.2, side * 0.12, neck, 0.08, 0.22, 0.24) for side in (-1, 1)
    ]
    sine, cosine = np.sin(yaw), np.cos(yaw)
    over = np.array((0.16 * sine, 0.0, 0.16 * cosine))
    facets = jointed(
        [
            (arms[:1], dim(coat, 0.75)),
            (thighs[:1] + shins[:1], dim(legs, 0.75)),
            (trunk, coat),
            (thighs[1:] + shins[1:], legs),
            (arms[1:], dim(coat, 0.9)),
            ([(0, neck, 0.1, 0, neck + 0.12, 0.14, 0.1, 0.1)], skin(rng)),
        ],
        yaw,
    )
    head = _head(float(over[0]), neck + 0.2, float(over[2]), rng, helmet)
    return Thing("rider", facets + head, half=(0.3, 0.3), tall=seat + 0.8, grain="cloth")


def bicycle(rng: np.random.Generator, yaw: float) -> Thing:
    """A bicycle: two wide open wheels, a frame of thin tubes, saddle and bars."""
    paint = any_colour(rng, (0.3, 0.9), (0.2, 0.95), USUAL_HUE["bicycle"])
    rubber = dim(BLACK, rng.uniform(0.7, 3.0))
    facets = []
    for z in (-0.52, 0.52):
        facets.append(Facet(ring(0.34, z, 0.34, 0.0, yaw), rubber, ink=False))
        facets.append(Facet(ring(0.34, z, 0.35, 0.27, yaw), rubber))
    tubes: list[Bone] = [
        (0, 0.34, -0.52, 0, 0.82, -0.22, 0.05, 0.05),
        (0, 0.34, -0.52, 0, 0.34, -0.05, 0.05, 0.05),
        (0, 0.34, -0.05, 0, 0.9, -0.24, 0.06, 0.05),
        (0, 0.34, -0.05, 0, 0.80, 0.34, 0.06, 0.06),
        (0, 0.80, -0.2, 0, 0.84, 0.34, 0.06, 0.06),
        (0, 0.34, 0.52, 0, 1.0, 0.32, 0.05, 0.05),
    ]
    tyres: list[Bone] = [(0, 0.0, z, 0, 0.68, z, 0.05, 0.05) for z in (-0.52, 0.52)]
    loose: list[Bone] = [
        (0, 0.94, -0.36, 0, 0.94, -0.12, 0.07, 0.06),
        (-0.28, 1.02, 0.3, 0.28, 1.02, 0.3, 0.05, 0.05),
        (0, 0.34, -0.12, 0, 0.34, 0.02, 0.12, 0.12),
    ]
    lamp: Bone = (0, 0.64, -0.74, 0, 0.64, -0.7, 0.1, 0.1)
    facets += jointed([(tyres, rubber), (tubes, paint), (loose, BLACK), ([lamp], LAMP)], yaw)
    facets[-1] = facets[-1]._replace(glow=0.7)
    return Thing("bicycle", facets, half=_footprint(yaw, 0.87), tall=0.8, grain="panel")


def motorcycle(rng: np.random.Generator, yaw: float) -> Thing:
    """A motorcycle or scooter: fat small wheels, a closed body, tank, seat, screen and lamp."""
    paint = any_colour(rng, (0.4, 0.95), (0.2, 0.95), USUAL_HUE["motorcycle"])
    seat = dim(BLACK, rng.uniform(0.8, 2.0))
    facets = []
    for z in (-0.62, 0.65):
        facets.append(Facet(ring(0.31, z, 0.33, 0.0, yaw), BLACK))
        facets.append(Facet(ring(0.31, z, 0.17, 0.0, yaw), (140, 140, 145)))
    engine: list[Bone] = [
        (0, 0.38, -0.35, 0, 0.42, 0.32, 0.42, 0.4),
        (0, 0.3, 0.65, 0, 0.95, 0.42, 0.12, 0.12),
        (0.12, 0.28, -0.8, 0.12, 0.3, 0.1, 0.13, 0.1),
    ]
    body: list[Bone] = [
        (0, 0.72, -0.6, 0, 0.68, 0.1, 0.2, 0.34),
        (0, 0.74, -0.05, 0, 0.86, 0.36, 0.3, 0.36),
        (0, 0.62, 0.7, 0, 0.68, 0.5, 0.1, 0.14),
        (0, 0.78, 0.42, 0, 1.02, 0.46, 0.34, 0.3),
    ]
    parts: list[tuple[list[Bone], Colour]] = [
        ([(0, 0.03, z, 0, 0.6, z, 0.17, 0.17) for z in (-0.62, 0.65)], BLACK),
        (engine, (85, 85, 90)),
        (body, paint),
        ([(0, 0.84, -0.7, 0, 0.84, 0.05, 0.13, 0.15)], seat),
        ([(-0.36, 1.05, 0.34, 0.36, 1.05, 0.34, 0.06, 0.06)], BLACK),
        ([(0, 1.02, 0.45, 0, 1.24, 0.38, 0.3, 0.24)], (120, 135, 145)),
        ([(0, 0.74, -0.85, 0, 0.74, -0.78, 0.16, 0.16)], LAMP),
        ([(0, 0.92, 0.6, 0, 0.92, 0.64, 0.2, 0.2)], (250, 245, 220)),
    ]
    facets += jointed(parts, yaw)
    facets[-2:] = [lamp._replace(glow=0.9) for lamp in facets[-2:]]
    return Thing("motorcycle", facets, half=_footprint(yaw, 0.95), tall=0.9, grain="panel")


def _footprint(yaw: float, reach: float) -> tuple[float, float]:
    return 0.3 + reach * abs(np.sin(yaw)), 0.3 + reach * abs(np.cos(yaw))


def ridden(rng: np.random.Generator, cycle: Thing, yaw: float) -> list[Thing]:
    """A cycle and, painted after it, the rider on it."""
    seats = {"bicycle": (0.95, 0.28, 1.02), "motorcycle": (0.88, 0.30, 1.05)}
    rider = _rider(rng, yaw, *seats[cycle.label])
    # The same footprint, a hair nearer, keeps the pair together in the painter's order.
    rider.half = cycle.half
    return [cycle, rider]
