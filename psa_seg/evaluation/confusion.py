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
from psa_seg.records.scores import scores


@METRICS.register_module()
class ConfusionMetric(BaseMetric):
    """Class IoU, mIoU, mAcc and aAcc in percent, and the confusion matrix they come from.

    Attributes:
        confusion: int64 `[classes, classes]`, pixels by truth (row) and prediction (column), of
            the last evaluation; None before.

    Args:
        ignore_index: truth value of the pixels that do not count.
        **kwargs: as for `BaseMetric`.
    """

    SCORES = ("mIoU", "mAcc", "aAcc")

    def __init__(self, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index
        self.confusion: np.ndarray | None = None
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
            counts = counts.view(classes, classes).cpu()
            self.results[:] = [sum(self.results, start=counts)]
        self.images += len(data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        """Figures over all processes, in each of them; upstream would pass every matrix by disk.

        Args:
            size: images in the set.

        Raises:
            UserError: where the sampler gave another number of images to the processes, or no pixel
                of any image counts.
        """
        classes = len(self.dataset_meta["classes"])
        none = torch.zeros(classes, classes, dtype=torch.int64)  # more processes than images
        counts = sum(self.results, start=none)
        add_up(self.images, size, counts)
        self.results.clear()
        self.images = 0
        if not counts.any():
            raise UserError(
                f"no pixel of {size} images counts: every one is marked {self.ignore_index}\n"
                "  where      the masks of the set that is scored, or ConfusionMetric's "
                "ignore_index\n"
                "  do         give masks that hold classes; without a pixel there is no score"
            )
        return self.compute_metrics([counts.numpy()])

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Print the table per class, keep the matrix, return the means."""
        (self.confusion,) = (confusion,) = results
        figures = scores(confusion)
        table = PrettyTable(["class", "IoU", "accuracy"], align="r", float_format=".2")
        table.align["class"] = "l"
        names = self.dataset_meta["classes"]
        for name, iou, acc in zip(names, figures["IoU"], figures["Acc"], strict=True):
            table.add_row([name, *("absent" if np.isnan(v) else float(v) for v in (iou, acc))])
        print_log(f"IoU and accuracy per class, in percent:\n{table}", logger="current")
        return {name: float(figures[name]) for name in self.SCORES}


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
