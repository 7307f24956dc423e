"""Scores beside mIoU: along contours, of thin things, of confidence. All are counts that add up.

`boundary`: boundary IoU (Cheng et al., "Boundary IoU", 2021, arXiv 2103.16562): IoU of the bands
that lie within a class and near its contour, by class. A band is 2 % of the image's diagonal wide,
and the image's edge is a contour, as in the authors' code. What is ignored has no contour.

`f1`: F1 within two pixels, by class: a predicted pixel is right if the truth has its class at most
two pixels away (Euclidean), and a true one is found if the prediction has; precision and recall are
of the whole set. So are cracks scored, whose annotations are no more exact. Others allow other
distances: only figures of one distance can be compared.

`calibration`: expected calibration error (Guo et al., "On Calibration of Modern Neural Networks",
2017, arXiv 1706.04599), over all pixels that are not ignored: by how much the probability of the
predicted class differs from the share of right pixels, in 15 bins of equal width.
"""

import math
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from psa_seg.errors import UserError
from psa_seg.records.scores import BINS, COLUMNS, UNIT, shape

RATIO = 0.02  # of a band's width to the diagonal
TOLERANCE = 2  # pixels
SCORES = {"boundary": "mBIoU", "f1": "mF1", "calibration": "ECE"}  # over all classes


def wrong(names: Any) -> str:
    """What is wrong where these are to be scored; empty if nothing is."""
    if not isinstance(names, list | tuple):
        return f"also is {names!r}, and must be a list: {[*COLUMNS]}"
    strange = [name for name in names if not (isinstance(name, str) and name in COLUMNS)]
    return f"there is no score {strange[0]!r}: choose of {', '.join(COLUMNS)}" if strange else ""


def none(name: str, classes: int) -> Tensor:
    """The counts of a score before the first image, int64 `[classes or bins, numbers]`."""
    return torch.zeros(shape(name, classes), dtype=torch.int64)


def count(
    name: str, sample: dict[str, Any], prediction: Tensor, truth: Tensor, classes: int, ignored: int
) -> Tensor:
    """The counts of one image.

    Args:
        name: `boundary`, `f1` or `calibration`.
        sample: as the model gives it.
        prediction: class ids `[H, W]`.
        truth: class ids `[H, W]`, some of them `ignored`.
        classes: how many.
        ignored: truth value of the pixels that do not count.
    """
    if name == "calibration":
        return calibration(_confidence(sample), prediction == truth, truth != ignored)
    maps = prediction.cpu().numpy(), truth.cpu().numpy()
    by_class = boundary if name == "boundary" else f1
    return torch.from_numpy(by_class(*maps, classes, ignored))


def boundary(prediction: np.ndarray, truth: np.ndarray, classes: int, ignored: int) -> np.ndarray:
    """Pixels in both bands, and in either, int64 `[classes, 2]`."""
    void = truth == ignored
    width = max(1, round(RATIO * math.hypot(*truth.shape)))
    found = np.zeros((classes, 2), np.int64)
    for index in range(classes):
        masks = (truth == index, (prediction == index) & ~void)
        if not (masks[0].any() or masks[1].any()):
            continue
        true, predicted = (_band(mask, void, width) for mask in masks)
        found[index] = (true & predicted).sum(), (true | predicted).sum()
    return found


def _band(mask: np.ndarray, void: np.ndarray, width: int) -> np.ndarray:
    """Pixels of `mask` that have one of another class, or the edge, at most `width` away."""
    solid = np.pad((mask | void).astype(np.uint8), 1)
    inner = cv2.erode(solid, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (inner == 0)


def f1(prediction: np.ndarray, truth: np.ndarray, classes: int, ignored: int) -> np.ndarray:
    """Predicted pixels, right ones, true pixels, found ones, int64 `[classes, 4]`."""
    void = truth == ignored
    reach = np.arange(-TOLERANCE, TOLERANCE + 1) ** 2
    disk = (reach[:, None] + reach <= TOLERANCE**2).astype(np.uint8)
    found = np.zeros((classes, 4), np.int64)
    for index in range(classes):
        true, predicted = truth == index, (prediction == index) & ~void
        near = [cv2.dilate(mask.astype(np.uint8), disk) > 0 for mask in (true, predicted)]
        right, found_again = predicted & near[0], true & near[1]
        found[index] = [part.sum() for part in (predicted, right, true, found_again)]
    return found


def calibration(confidence: Tensor, right: Tensor, counted: Tensor) -> Tensor:
    """Pixels, right ones, and the sum of confidence in steps of 1 / `UNIT`, int64 `[bins, 3]`.

    Args:
        confidence: probability of the predicted class, `[H, W]`, rounded to those steps: sums are
            of whole numbers, the same in any order.
        right: whether that class is the true one.
        counted: whether the pixel counts.
    """
    steps = (confidence[counted].double() * UNIT).round().long().clamp(0, UNIT)
    bins = ((steps * BINS + UNIT - 1) // UNIT - 1).clamp(min=0)  # bin k is (k / 15, (k + 1) / 15]
    parts = (torch.ones_like(steps), right[counted].long(), steps)
    found = torch.zeros(BINS, len(parts), dtype=torch.int64, device=steps.device)
    for column, part in enumerate(parts):
        found[:, column].index_add_(0, bins, part)
    return found.cpu()


def _confidence(sample: dict[str, Any]) -> Tensor:
    """`[H, W]`, as this package's segmentors give it, or from the logits of others."""
    if "confidence" in sample:
        return sample["confidence"]["data"].squeeze(0)
    if "seg_logits" not in sample:
        raise UserError(
            "the model gives no confidence, which calibration is a score of\n"
            "  do         take a Lean... segmentor as model.type, or leave calibration out"
        )
    logits: Tensor = sample["seg_logits"]["data"]
    if len(logits) == 1:
        probability = logits[0]  # upstream has taken the sigmoid already
        return torch.where(sample["pred_sem_seg"]["data"][0] > 0, probability, 1 - probability)
    return logits.softmax(dim=0).amax(dim=0)
