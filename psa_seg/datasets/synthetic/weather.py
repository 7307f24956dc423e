"""Light and weather: the sky, and what the air and the sensor do to a painted canvas."""

from typing import NamedTuple

import cv2
import numpy as np

from . import texture
from .canvas import SKY, Canvas, Colour, Facet, Thing
from .shapes import any_colour


class Mood(NamedTuple):
    """A kind of day.

    Attributes:
        weight: how often it comes.
        zenith: RGB of the sky overhead.
        skyline: RGB of the sky at the horizon.
        light: RGB gain on all that does not shine by itself.
        shadow: how dark a cast shadow is, 0..1.
        fog: 1/m; what part of the sight each metre takes.
        cloud: how much of the sky is clouded, 0..1.
        wet: how strongly the ground mirrors, 0..1.
    """

    weight: float
    zenith: Colour
    skyline: Colour
    light: Colour
    shadow: float
    fog: float
    cloud: float
    wet: float


MOODS = (
    Mood(3, (85, 140, 215), (190, 215, 235), (1.05, 1.03, 0.98), 0.5, 0.002, 0.5, 0.0),  # noon
    Mood(3, (185, 190, 197), (222, 224, 226), (0.92, 0.95, 1.0), 0.0, 0.004, 0.9, 0.0),  # overcast
    Mood(2, (95, 110, 165), (250, 180, 120), (1.1, 0.9, 0.72), 0.4, 0.004, 0.6, 0.0),  # sunset
    Mood(1, (150, 110, 160), (245, 175, 190), (1.0, 0.85, 0.95), 0.15, 0.003, 0.6, 0.0),  # dawn
    Mood(1, (60, 75, 120), (130, 120, 140), (0.6, 0.62, 0.78), 0.0, 0.004, 0.5, 0.1),  # dusk
    Mood(1, (22, 25, 45), (62, 56, 66), (0.42, 0.42, 0.52), 0.0, 0.004, 0.4, 0.15),  # night
    Mood(2, (150, 155, 162), (185, 188, 190), (0.78, 0.82, 0.88), 0.0, 0.008, 0.9, 0.5),  # rain
    Mood(1, (205, 208, 210), (214, 216, 218), (0.95, 0.97, 1.0), 0.0, 0.022, 0.2, 0.1),  # fog
    Mood(1, (225, 215, 190), (240, 232, 215), (1.1, 1.05, 0.92), 0.55, 0.006, 0.3, 0.0),  # haze
)


def pick(rng: np.random.Generator) -> Mood:
    """A mood with its own shade of sky."""
    weights = np.array([mood.weight for mood in MOODS])
    mood = MOODS[rng.choice(len(MOODS), p=weights / weights.sum())]
    tint, bright = any_colour(rng, (0.0, 0.25), (1.0, 1.0)), rng.uniform(0.75, 1.1)
    zenith, skyline = (
        (
            sky[0] * tint[0] * bright / 255,
            sky[1] * tint[1] * bright / 255,
            sky[2] * tint[2] * bright / 255,
        )
        for sky in (mood.zenith, mood.skyline)
    )
    return mood._replace(zenith=zenith, skyline=skyline, fog=mood.fog * rng.uniform(0.5, 1.8))


def sky(canvas: Canvas, mood: Mood) -> None:
    """Fill the canvas with sky: a gradient down to the horizon, and clouds."""
    columns = canvas.camera.size[1]
    horizon = canvas.camera.vanish[1]
    frame = np.array([[(-1, 1, 0.5), (1, 1, 0.5), (1, -1, 0.5), (-1, -1, 0.5)]]) * (99, 99, 1)
    canvas.paint(Thing("sky", [Facet(frame, mood.skyline)], grain=canvas.gain.copy()))
    # Clouds are soft: half the resolution is enough.
    deep, half = round(horizon) + 2, ((round(horizon) + 3) // 2, (columns + 1) // 2)
    down = np.linspace(0, 1, half[0], dtype=np.float32)[:, None, None]
    zenith, skyline = np.array((mood.zenith, mood.skyline), np.float32)
    noise = window("cloud", half, canvas.rng)[..., None]
    cover = np.clip((noise + 3 * mood.cloud - 1.8) * 1.2, 0, 1) * 0.85
    clear = zenith + down * (skyline - zenith)
    shade = clear + cover * (skyline * (1.05 + 0.12 * noise) - clear)
    shade = np.clip(shade, 0, 255).astype(np.uint8)
    canvas.image[:deep] = cv2.resize(shade, (columns, deep))
    canvas.depth[:] = SKY


def window(name: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random cut of the wide noise ``name``, stretched where the picture is larger."""
    tile = texture.wide_noise(name)
    rows, columns = min(shape[0], tile.shape[0]), min(shape[1], tile.shape[1])
    top, left = rng.integers(tile.shape[0] - rows + 1), rng.integers(tile.shape[1] - columns + 1)
    piece = tile[top : top + rows, left : left + columns]
    return piece if piece.shape[:2] == shape else cv2.resize(piece, shape[::-1])


def _mirrored(canvas: Canvas, image: np.ndarray, wet: float) -> np.ndarray:
    """The picture with what stands on wet ground mirrored in it."""
    rows, columns = canvas.camera.size
    flat = np.isin(canvas.label_ids, (7, 8, 10))
    row = np.arange(rows)[:, None]
    foot = np.maximum.accumulate(np.where(flat, 0, row), axis=0)
    source = np.clip(2 * foot - row, 0, rows - 1)
    mirror = cv2.blur(image[source, np.arange(columns)], (3, 9))
    puddle = np.clip(0.6 + 0.5 * window("cloud", (rows, columns), canvas.rng), 0.1, 1.2)
    share = (wet * puddle * flat * np.clip(1.1 - (row - foot) / rows, 0, 1))[..., None]
    damp = image * (1 - 0.25 * wet * flat[..., None])
    return (damp + 0.6 * share * (mirror - damp)).astype(np.float32)


def develop(canvas: Canvas, mood: Mood) -> np.ndarray:
    """The photograph, uint8 RGB [H, W, 3]: light, wetness, fog, lens, exposure and sensor."""
    rng, size = canvas.rng, canvas.camera.size
    open_sky = cv2.compare(canvas.depth, SKY / 2, cv2.CMP_GT)
    glow = cv2.LUT(canvas.glow, np.arange(256, dtype=np.float32) / 255)
    shining = bool(canvas.glow.any())
    light = cv2.multiply(cv2.merge([canvas.gain] * 3), (*mood.light, 0))
    if shining:
        glow3 = cv2.merge([glow] * 3)
        light += (1 - light) * glow3
    bare = canvas.image.astype(np.float32)
    image = bare * light
    cv2.copyTo(bare, open_sky, image)
    if mood.wet:
        image = _mirrored(canvas, image, mood.wet * rng.uniform(0.6, 1.2))
    air = np.maximum(cv2.exp(canvas.depth * np.float32(-mood.fog)), glow * 0.8)
    air[open_sky > 0] = 1
    skyline = (*mood.skyline, 0)
    image = cv2.multiply(cv2.subtract(image, skyline), cv2.merge([air] * 3))
    image = cv2.add(image, skyline)
    if shining:
        small = cv2.resize(bare * glow3, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        halo = cv2.GaussianBlur(small, (0, 0), 1.5) * np.float32((1.4 - min(mood.light)) * 0.5)
        image += cv2.resize(halo, size[::-1])
    if mood.wet > 0.3:
        image += _streaks(size, rng)
    return _expose(image, rng)


def _streaks(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Rain: thin slanted lines, float32 [H, W, 1]."""
    fall = np.zeros(size, np.float32)
    slant = int(rng.integers(-4, 5))
    for column, row in rng.integers(0, size[::-1], (120, 2)).tolist():
        cv2.line(fall, (column, row), (column + slant, row + size[0] // 16), 22.0)
    return fall[..., None]


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A little blur, a white balance, an exposure, a contrast, and noise."""
    size = image.shape[:2]
    image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.35, 0.8))
    gain = np.exp(rng.normal(0, 0.05, 3) + rng.normal(0, 0.12))
    contrast = rng.uniform(0.75, 1.1)
    image = cv2.multiply(image, (*(gain * contrast), 0))
    image = cv2.add(image, (128 * (1 - contrast) * 0.8,) * 3)
    noise = window("sensor", size, rng)
    return cv2.addWeighted(image, 1.0, noise, rng.uniform(1.0, 6.0), 0.0, dtype=cv2.CV_8U)
