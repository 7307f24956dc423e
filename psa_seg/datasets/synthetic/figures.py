"""Figures of people whose joints are known, drawn by a program: poses without a download.

Limbs of any colour before anything, one figure a picture, seen from the front. The pictures are no
substitute for photographs of people, nor comparable with them.
"""

from typing import NamedTuple

import cv2
import numpy as np

from .shapes import any_colour
from .weather import window

# Names of the joints, and the limbs between them; left and right are the figure's own.
JOINTS = (
    *("head", "neck", "left shoulder", "right shoulder", "left elbow", "right elbow"),
    *("left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee"),
    *("left ankle", "right ankle"),
)
LIMBS = ((2, 4), (4, 6), (3, 5), (5, 7), (8, 10), (10, 12), (9, 11), (11, 13))
TORSO = (2, 9)  # left shoulder to right hip: by this length errors are measured
FINE = 4  # binary digits behind the point, of what OpenCV draws


class Figure(NamedTuple):
    """A picture of a figure.

    Args:
        image: uint8 `[size, size, 3]`, RGB.
        joints: float32 `[14, 2]`, x and y of each of `JOINTS` in pixels.
    """

    image: np.ndarray
    joints: np.ndarray


def draw_figure(seed: int, size: int = 128) -> Figure:
    """The figure of that seed, in a square picture of `size` pixels a side."""
    rng = np.random.default_rng([seed, 14])
    joints = _pose(rng)
    low, high = joints.min(0), joints.max(0)
    joints *= size * rng.uniform(0.55, 0.85) / (high - low).max()
    low, high = joints.min(0), joints.max(0)
    margin = 0.06 * size
    joints += rng.uniform(margin - low, np.maximum(size - margin - high, margin - low))
    image = _background(rng, size)
    _paint(rng, image, joints)
    noise = rng.normal(0, rng.uniform(2, 12), image.shape)
    image = (image * rng.uniform(0.6, 1.1) + noise).clip(0, 255).astype(np.uint8)
    return Figure(image, joints.astype(np.float32))


def _pose(rng: np.random.Generator) -> np.ndarray:
    """Joints of a figure whose torso is about 1 long; y goes down."""

    def turned(length: float, angle: float) -> np.ndarray:
        return length * np.array([np.sin(angle), np.cos(angle)])

    lean = rng.normal(0, 0.15)
    joints = np.zeros((len(JOINTS), 2))
    shoulder, hip = rng.uniform(0.28, 0.38), rng.uniform(0.16, 0.22)
    across = np.array([np.cos(lean), -np.sin(lean)])
    joints[0] = turned(0.35, np.pi + lean + rng.normal(0, 0.15))
    bottom = turned(1.0, lean)
    for side, sign in enumerate((1, -1)):  # its left is on the right of the picture
        joints[2 + side] = sign * shoulder * across + [0, 0.08]
        joints[8 + side] = bottom + sign * hip * across
        raised, bent = sign * rng.uniform(0.1, 2.6), sign * rng.uniform(-0.3, 1.6)
        joints[4 + side] = joints[2 + side] + turned(0.55, raised)
        joints[6 + side] = joints[4 + side] + turned(0.5, raised + bent)
        swung, knee = sign * rng.uniform(-0.1, 0.7), -sign * rng.uniform(-0.1, 0.7)
        joints[10 + side] = joints[8 + side] + turned(0.75, swung)
        joints[12 + side] = joints[10 + side] + turned(0.75, swung + knee)
    return joints


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise of two colours, with shapes on it that are no limbs."""
    cloud = np.clip(0.5 + 0.3 * window("cloud", (size, size), rng), 0, 1)[..., None]
    first, second = _colour(rng), _colour(rng)
    image = np.ascontiguousarray(first + (second - first) * cloud, np.float32)
    for _ in range(rng.integers(2, 7)):
        corner = rng.integers(0, size, 2)
        far = corner + rng.integers(size // 10, size // 3, 2)
        cv2.rectangle(image, corner.tolist(), far.tolist(), _colour(rng).tolist(), -1)
    return image


def _paint(rng: np.random.Generator, image: np.ndarray, joints: np.ndarray) -> None:
    torso = float(np.linalg.norm(joints[TORSO[0]] - joints[TORSO[1]]))
    thick = torso * rng.uniform(0.16, 0.24)
    skin, shirt, trousers = (_colour(rng) for _ in range(3))
    corners = joints[[2, 3, 9, 8]]
    for first, second in LIMBS:
        colour = trousers if first >= 8 else skin if first >= 4 else shirt
        _line(image, joints[first], joints[second], thick, colour)
    cv2.fillConvexPoly(image, _fixed(corners), shirt.tolist(), cv2.LINE_AA, FINE)
    _line(image, joints[1], joints[0], 0.6 * thick, skin)
    radius = int(1.1 * thick * 2**FINE)
    cv2.circle(image, _fixed(joints[0]).tolist(), radius, skin.tolist(), -1, cv2.LINE_AA, FINE)


def _line(
    image: np.ndarray, a: np.ndarray, b: np.ndarray, thick: float, colour: np.ndarray
) -> None:
    start, end, width = _fixed(a).tolist(), _fixed(b).tolist(), max(1, round(thick))
    cv2.line(image, start, end, colour.tolist(), width, cv2.LINE_AA, FINE)


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * 2**FINE).astype(np.int32)


def _colour(rng: np.random.Generator) -> np.ndarray:
    return np.asarray(any_colour(rng), np.float64)
