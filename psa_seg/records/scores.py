"""The figures that a confusion matrix gives."""

from collections.abc import Sequence

import numpy as np


def scores(confusion: np.ndarray | Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Figures of a confusion matrix, in percent.

    Args:
        confusion: `[classes, classes]`, pixels by truth (row) and prediction (column).

    Returns:
        `IoU` and `Acc` per class (NaN for a class that neither truth nor prediction has), their
        means over the others `mIoU` and `mAcc`, and the share of right pixels `aAcc`. Of a matrix
        that counts no pixel, all are NaN.
    """
    counts = np.asarray(confusion)
    right = np.diag(counts).astype(np.float64)
    truth, predicted = counts.sum(axis=1), counts.sum(axis=0)
    iou, acc = _share(right, truth + predicted - right), _share(right, truth)
    return {
        "IoU": iou,
        "Acc": acc,
        "mIoU": _mean(iou),
        "mAcc": _mean(acc),
        "aAcc": _share(right.sum(), counts.sum()),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Percent; NaN of nothing."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return 100 * np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)]
    return known.mean() if len(known) else np.asarray(np.nan)
