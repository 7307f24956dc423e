"""Cityscapes' own figures: those of cityscapesscripts, the evaluator that its server runs.

MMSegmentation's `CityscapesMetric` wraps the same evaluator, but writes every prediction to disk
and reports neither the IoU over classes nor anything unrounded. Here predictions stay in memory,
and counts are what processes exchange.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS
from PIL import Image
from prettytable import PrettyTable

from psa_seg.datasets.labels import CLASSES, LABEL_ID_OF
from psa_seg.errors import DataError, UserError
from psa_seg.evaluation.confusion import add_up

Stats = dict[str, dict[str, dict[str, Any]]]
SUMS = ("tp", "fn", "tpWeighted", "fnWeighted")


@METRICS.register_module()
class CityscapesPixelMetric(BaseMetric):
    """IoU and iIoU over classes and over categories, in percent, as on Cityscapes' benchmark.

    iIoU weighs each instance by how much smaller it is than its class is on average. It needs
    `*_gtFine_instanceIds.png` beside each `*_gtFine_labelIds.png`; where one is missing, the log
    says so, and there is no iIoU.

    Attributes:
        confusion: int64 `[34, 34]`, pixels by label id of truth (row) and prediction (column), of
            the last evaluation; None before.

    Raises:
        UserError: where cityscapesscripts is missing, or does not work with what is installed.
    """

    default_prefix = "cityscapes"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scripts = load_evaluator()
        self.args = copy.copy(self.scripts.args)
        self.confusion: np.ndarray | None = None
        self._start()

    def _start(self) -> None:
        self.counts = self.scripts.generateMatrix(self.args)
        self.stats: Stats = self.scripts.generateInstanceStats(self.args)
        self.images = 0
        self.without_instances = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count a batch: `pred_sem_seg` in train ids against the label ids at `seg_map_path`.

        Raises:
            UserError: for a data set that is not labelled as Cityscapes is.
        """
        if tuple(self.dataset_meta["classes"]) != CLASSES:
            raise UserError(
                "CityscapesPixelMetric scores the 19 classes of Cityscapes, in their order\n"
                f"  given      {len(self.dataset_meta['classes'])} classes, "
                f"{self.dataset_meta['classes'][0]} first\n"
                "  do         leave --official (or this metric) out for this data set"
            )
        for sample in data_samples:
            labels = LABEL_ID_OF[sample["pred_sem_seg"]["data"].squeeze(0).cpu().numpy()]
            self._count(labels, sample["seg_map_path"])
        self.images += len(data_samples)

    def _count(self, labels: np.ndarray, truth: str) -> None:
        if "labelIds" not in Path(truth).name:
            raise UserError(
                f"CityscapesPixelMetric scores label ids, and the masks are others: {truth}\n"
                "  do         set the type of the data set to RawCityscapesDataset, which reads "
                "*_labelIds.png"
            )
        # The evaluator itself looks for instances under this path.
        self.args.evalInstLevelScore = Path(truth.replace("labelIds", "instanceIds")).is_file()
        self.without_instances += not self.args.evalInstLevelScore
        file = BytesIO()  # the evaluator opens what it is given, be it a path or a file
        Image.fromarray(labels).save(file, "PPM")
        try:
            with redirect_stdout(StringIO()) as printed:
                self.scripts.evaluatePair(file, truth, self.counts, self.stats, {}, self.args)
        except (SystemExit, TypeError) as error:  # of a size it would tell by the file's name
            reason = printed.getvalue().strip() or "it is not of the size of its prediction"
            raise DataError(
                f"cityscapesscripts refuses a mask: {truth}\n  {reason}\n"
                "  do         take the masks as downloaded, of the size of their images"
            ) from error

    def evaluate(self, size: int) -> dict[str, float]:
        """Figures over all processes, in each of them.

        Args:
            size: images in the set.

        Raises:
            UserError: where the sampler gave another number of images to the processes.
        """
        values = [entry[name] for entry, name in _entries(self.stats)]
        sums = torch.tensor(values, dtype=torch.float64)
        counts, lacking = (
            torch.from_numpy(self.counts.astype(np.int64)),
            torch.tensor(self.without_instances),
        )
        add_up(self.images, size, counts, sums, lacking)
        for (entry, name), value in zip(_entries(self.stats), sums.tolist(), strict=True):
            entry[name] = value
        if lacking:
            print_log(
                f"no iIoU: {int(lacking)} of {size} images have no *_instanceIds.png beside their "
                "*_labelIds.png",
                logger="current",
            )
        figures = self.compute_metrics([counts.numpy(), None if lacking else self.stats])
        self._start()
        return {f"{self.prefix}/{name}": value for name, value in figures.items()}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Print both tables, keep the counts, return the means.

        Args:
            results: int64 counts `[34, 34]`, and the sums over instances; without them, no iIoU.
        """
        counts, stats = results
        self.confusion = counts
        by, args = self.scripts, self.args
        means = {}
        for kind, keys, iou, instance_iou in (
            ("class", args.evalLabels, by.getIouScoreForLabel, by.getInstanceIouScoreForLabel),
            (
                "category",
                list(by.category2labels),
                by.getIouScoreForCategory,
                by.getInstanceIouScoreForCategory,
            ),
        ):
            scores = {"IoU": {key: iou(key, counts, args) for key in keys}}
            if stats:
                scores["iIoU"] = {key: instance_iou(key, counts, stats, args) for key in keys}
            table = PrettyTable([kind, *scores], align="r", float_format=".2")
            table.align[kind] = "l"
            for key in keys:
                row = [100 * of[key] for of in scores.values()]
                if not np.isnan(row).all():
                    name = by.id2label[key].name if kind == "class" else key
                    table.add_row([name, *("-" if np.isnan(value) else value for value in row)])
            print_log(f"By cityscapesscripts, in percent:\n{table}", logger="current")
            for name, of in scores.items():
                means[f"{name}_{kind}"] = 100 * by.getScoreAverage(of, args)
        return means


def _entries(stats: Stats) -> Iterator[tuple[dict[str, Any], str]]:
    """Where each sum over instances stands, in one order in every process."""
    for kind in stats.values():
        for entry in kind.values():
            for name in SUMS:
                yield entry, name


def load_evaluator() -> ModuleType:
    """cityscapesscripts' pixel-level evaluator.

    Raises:
        UserError: where it is missing, or does not work with what is installed.
    """
    remedy = (
        "\n  do         pip install 'psa-seg[cityscapes]', or in the source tree '.[cityscapes]'"
    )
    try:
        from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluator
    except Exception as error:  # an old package meets new ones: whatever that makes it say
        raise UserError(
            f"cityscapesscripts, Cityscapes' own evaluator, cannot be loaded\n  {error}{remedy}"
        ) from error
    if not hasattr(np, "in1d"):
        raise UserError(
            f"cityscapesscripts needs numpy.in1d, which numpy {np.__version__} has not{remedy}"
        )
    return evaluator
