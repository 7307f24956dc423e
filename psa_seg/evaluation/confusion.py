"""mIoU from one exact confusion matrix.

MMSegmentation's `IoUMetric` sums areas in float32, which is exact to 2^24 pixels only, and rounds
to two decimals. Here counts stay integers, and every figure derives from them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from psa_seg.errors import DataError, UserError
from psa_seg.evaluation import further
from psa_seg.records import Validation

# Scores per class, and what a table calls them.
HEADINGS = {
    "IoU": "IoU",
    "Acc": "accuracy",
    "BIoU": "boundary IoU",
    "F1": f"F1 within {further.TOLERANCE} px",
}


@METRICS.register_module()
class ConfusionMetric(BaseMetric):
    """Class IoU, mIoU, mAcc and aAcc in percent, and the confusion matrix they come from.

    Attributes:
        confusion: int64 `[classes, classes]`, pixels by truth (row) and prediction (column), of
            the last evaluation; None before.
        counts: likewise, by name of a score of `also`.

    Args:
        ignore_index: truth value of the pixels that do not count.
        also: of `psa_seg.evaluation.further`: `boundary`, `f1`, `calibration`.
        **kwargs: as for `BaseMetric`.

    Raises:
        UserError: for another score.
    """

    SCORES = ("mIoU", "mAcc", "aAcc")

    def __init__(self, ignore_index: int = 255, also: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if wrong := further.wrong(also):
            raise UserError(
                f"{wrong}\n  where      ConfusionMetric's also\n  do         correct it"
            )
        self.ignore_index, self.also = ignore_index, tuple(also)
        self.confusion: np.ndarray | None = None
        self.counts: dict[str, np.ndarray] = {}
        self.images = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count one batch of predictions against their truth."""
        classes = len(self.dataset_meta["classes"])
        for sample in data_samples:
            prediction = sample["pred_sem_seg"]["data"].squeeze(0)
            truth = sample["gt_sem_seg"]["data"].squeeze(0).to(prediction.device)
            if prediction.shape != truth.shape:
                sizes = ("x".join(map(str, part.shape)) for part in (truth, prediction))
                raise DataError(
                    f"mask of {next(sizes)} for a prediction of {next(sizes)}\n"
                    f"  in         {sample.get('seg_map_path')}\n"
                    "  do         load masks after all that changes sizes; give each image a mask "
                    "of its size"
                )
            counted = truth != self.ignore_index
            rows, columns = truth[counted].long(), prediction[counted].long()
            _require_classes(rows, columns, classes, sample.get("seg_map_path"))
            counts = torch.bincount(rows * classes + columns, minlength=classes**2)
            found = [counts.view(classes, classes).cpu()]
            for name in self.also:
                found.append(
                    further.count(name, sample, prediction, truth, classes, self.ignore_index)
                )
            before = self.results or self._none()
            self.results[:] = [a + b for a, b in zip(before, found, strict=True)]
        self.images += len(data_samples)

    def _none(self) -> list[Tensor]:
        """Counts before the first image: the confusion matrix, then those of `also`."""
        classes = len(self.dataset_meta["classes"])
        matrix = torch.zeros(classes, classes, dtype=torch.int64)
        return [matrix, *(further.none(name, classes) for name in self.also)]

    def evaluate(self, size: int) -> dict[str, float]:
        """Figures over all processes, in each of them; upstream would pass every matrix by disk.

        Args:
            size: images in the set.

        Raises:
            UserError: where the sampler gave another number of images to the processes, or no pixel
                of any image counts.
        """
        counts = list(self.results) or self._none()  # there may be more processes than images
        add_up(self.images, size, *counts)
        self.results.clear()
        self.images = 0
        if not counts[0].any():
            raise UserError(
                f"no pixel of {size} images counts: every one is marked {self.ignore_index}\n"
                "  where      the masks of the set that is scored, or ConfusionMetric's "
                "ignore_index\n"
                "  do         give masks that hold classes; without a pixel there is no score"
            )
        return self.compute_metrics([part.numpy() for part in counts])

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Print the table per class, keep the counts, return the means."""
        self.confusion, self.counts = results[0], dict(zip(self.also, results[1:], strict=True))
        figures = self.validation(1).scores()
        columns = {HEADINGS[key]: figures[key] for key in HEADINGS if key in figures}
        table = PrettyTable(["class", *columns], align="r", float_format=".2")
        table.align["class"] = "l"
        for index, name in enumerate(self.dataset_meta["classes"]):
            values = [float(column[index]) for column in columns.values()]
            table.add_row([name, *("absent" if np.isnan(v) else v for v in values)])
        *first, last = columns
        print_log(f"{', '.join(first)} and {last} per class, in percent:\n{table}", "current")
        names = [*self.SCORES, *(further.SCORES[name] for name in self.also)]
        return {name: float(figures[name]) for name in names}

    def validation(self, iteration: int) -> Validation:
        """The last evaluation's counts, as a record has them."""
        assert self.confusion is not None, "validated without a confusion matrix"
        rows = {name: tuple(map(tuple, part.tolist())) for name, part in self.counts.items()}
        matrix = tuple(map(tuple, self.confusion.tolist()))
        return Validation(iteration=iteration, confusion=matrix, **rows)


def _require_classes(truth: Tensor, prediction: Tensor, classes: int, path: str | None) -> None:
    """Both hold classes alone: anything else would be counted in the cell of another pair.

    Raises:
        DataError: for a mask that does not.
        UserError: for a model that predicts what the data do not have.
    """
    if not len(truth):
        return
    least, most = torch.aminmax(truth)
    if least < 0 or most >= classes:
        raise DataError(
            f"label ids out of range: {int(least)} to {int(most)}\n"
            f"  in         {path}\n"
            f"  expected   0 to {classes - 1}, or what is ignored\n"
            "  do         replace that mask, or have the model and the metric ignore what it marks"
        )
    least, most = torch.aminmax(prediction)
    if least < 0 or most >= classes:
        raise UserError(
            f"the model predicts class {int(most if most >= classes else least)}, and the data "
            f"have {classes} classes, from 0 on\n"
            "  where      num_classes of the model's heads\n"
            "  do         give them as many classes as the data set has"
        )


def add_up(images: int, size: int, *tensors: torch.Tensor) -> None:
    """Sum each tensor over all processes, in place.

    Args:
        images: that this process has scored.
        size: images in the set.
        tensors: of one shape in all processes.

    Raises:
        UserError: where the sampler gave another number of images to the processes.
    """
    total = torch.tensor(images)
    for tensor in (*tensors, total):
        all_reduce(tensor)
    if total != size:
        raise UserError(
            f"{int(total)} images were scored, of a set of {size}\n"
            "  where      the sampler of val_dataloader or test_dataloader\n"
            "  do         dict(type='DefaultSampler', shuffle=False, round_up=False)"
        )
