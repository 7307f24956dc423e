"""Whether the counts of further scores can be of the pixels of a confusion matrix."""

from collections.abc import Mapping

import numpy as np

from psa_seg.records.scores import BINS, UNIT, Counts, shape


def contradiction(confusion: Counts, further: Mapping[str, Counts]) -> str:
    """What cannot be, in words; empty where all can.

    Args:
        confusion: `[classes, classes]`, pixels by truth (row) and prediction (column).
        further: as of `records.scores`, by name; empty for a score that was not counted.
    """
    matrix = np.array(confusion, dtype=object)  # whole numbers of any size
    checks = {"boundary": _boundary, "f1": _f1, "calibration": _calibration}
    for name, rows in further.items():
        if not rows:
            continue
        height, width = shape(name, len(matrix))
        if len(rows) != height or any(len(row) != width for row in rows):
            return f"{name} must be {height} rows of {width}"
        counts = np.array(rows, dtype=object)
        if counts.min() < 0:
            return f"{name} must count pixels"
        if wrong := checks[name](matrix, counts):
            return f"{name} {wrong}"
    return ""


def _boundary(matrix: np.ndarray, counts: np.ndarray) -> str:
    right, (both, either) = np.diag(matrix), counts.T
    if (both > either).any():
        return "has more pixels in both bands than in either"
    union = matrix.sum(0) + matrix.sum(1) - right
    within = (both <= right).all() and (either <= union).all()
    return "" if within else "has more pixels in bands than their classes have"


def _f1(matrix: np.ndarray, counts: np.ndarray) -> str:
    right, (predicted, near, true, found) = np.diag(matrix), counts.T
    if (predicted != matrix.sum(0)).any() or (true != matrix.sum(1)).any():
        return "is not of the confusion's pixels"
    if (near > predicted).any() or (found > true).any():
        return "has more pixels right than there are"
    exact = (near >= right).all() and (found >= right).all()
    return "" if exact else "has less pixels right than the confusion"


def _calibration(matrix: np.ndarray, counts: np.ndarray) -> str:
    pixels, right, confidence = counts.T
    if pixels.sum() != matrix.sum() or right.sum() != np.trace(matrix):
        return "is of other pixels"
    edges = pixels[:, None] * np.array([np.arange(BINS), np.arange(1, BINS + 1)]).T * UNIT
    within = (edges[:, 0] <= confidence * BINS) & (confidence * BINS <= edges[:, 1])
    if (right > pixels).any() or not within.all():
        return "has more pixels right, or another confidence, than its bins can have"
    return ""
