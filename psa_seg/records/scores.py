"""The figures that counts give: of a confusion matrix, and of `psa_seg.evaluation.further`."""

from collections.abc import Sequence

import numpy as np

BINS = 15  # of confidence
UNIT = 2**16  # steps of confidence from 0 to 1
# What counts each score needs beside the confusion matrix, of the scores that a table can be of:
# means over classes, and, with the name of a class before it, that class's own.
MEANS = {"mIoU": "", "mAcc": "", "aAcc": "", "mBIoU": "boundary", "mF1": "f1"}
OF_A_CLASS = {"IoU": "", "Acc": "", "BIoU": "boundary", "F1": "f1"}
Counts = np.ndarray | Sequence[Sequence[int]]
COLUMNS = {"boundary": 2, "f1": 4, "calibration": 3}  # numbers that are counted a class, or a bin


def shape(name: str, classes: int) -> tuple[int, int]:
    """Rows and columns of what is counted for one of `COLUMNS`."""
    return BINS if name == "calibration" else classes, COLUMNS[name]


def scores(confusion: Counts) -> dict[str, np.ndarray]:
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


def needed(score: str, classes: Sequence[str]) -> str:
    """What a score counts beside the confusion matrix; empty for nothing.

    Args:
        score: `mIoU`, or another mean, or a class's own: `crack IoU`, `crack F1`.
        classes: their names.

    Raises:
        ValueError: where there is no such score.
    """
    name, _, kind = score.rpartition(" ")
    if score in MEANS:
        return MEANS[score]
    if name in classes and kind in OF_A_CLASS:
        return OF_A_CLASS[kind]
    raise ValueError(
        f"score {score!r} is none of {', '.join(MEANS)}, nor a class's "
        f"{', '.join(OF_A_CLASS)}: {classes[-1]} IoU, say"
    )


def boundary_scores(counts: Counts) -> dict[str, np.ndarray]:
    """Boundary IoU in percent: per class `BIoU`, NaN for one without a band, and the mean `mBIoU`.

    Args:
        counts: `[classes, 2]`, pixels in both bands and in either.
    """
    both, either = np.asarray(counts).T
    found = _share(both, either)
    return {"BIoU": found, "mBIoU": _mean(found)}


def f1_scores(counts: Counts) -> dict[str, np.ndarray]:
    """F1 in percent: per class, NaN for one that neither truth nor prediction has, and `mF1`.

    Args:
        counts: `[classes, 4]`, predicted pixels, right ones, true pixels, found ones.
    """
    predicted, right, true, again = np.asarray(counts).T
    precision, recall = np.nan_to_num(_share(right, predicted)), np.nan_to_num(_share(again, true))
    found = _share(2 * precision * recall / 100, precision + recall)
    found = np.where(predicted + true > 0, np.nan_to_num(found), np.nan)
    return {"F1": found, "mF1": _mean(found)}


def calibration_scores(counts: Counts) -> dict[str, np.ndarray]:
    """Expected calibration error `ECE`, in percent.

    Args:
        counts: `[bins, 3]`, pixels, right ones, sum of confidence in steps of 1 / `UNIT`.
    """
    pixels, right, confidence = np.asarray(counts, np.float64).T
    return {"ECE": _share(np.abs(right - confidence / UNIT).sum(), pixels.sum())}


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Percent; NaN of nothing."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return 100 * np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)]
    return known.mean() if len(known) else np.asarray(np.nan)
