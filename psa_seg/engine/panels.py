"""What a test leaves for its reader: pictures of images, a confusion matrix, scores by class."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from psa_seg import files
from psa_seg.datasets.pairs import without_endings
from psa_seg.engine.pictures import draw_confusion, save_panel
from psa_seg.evaluation import ConfusionMetric
from psa_seg.evaluation.confusion import HEADINGS
from psa_seg.records import Validation

CONFUSION, CLASSES = "confusion.png", "classes.csv"


def write_scores(folder: Path, validation: Validation, names: Sequence[str], title: str) -> None:
    """`confusion.png` and `classes.csv`, which has percent and pixels of each class.

    A class that does not occur has no score, and its cell is empty.
    """
    matrix, figures = np.array(validation.confusion), validation.scores()
    draw_confusion(folder / CONFUSION, matrix, names, title)
    columns = {heading: figures[key] for key, heading in HEADINGS.items() if key in figures}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", *columns, "pixels of truth", "pixels of prediction"])
    for i, name in enumerate(names):
        scores = [float(column[i]) for column in columns.values()]
        cells = ["" if np.isnan(score) else f"{score:.4f}" for score in scores]
        writer.writerow([name, *cells, matrix[i].sum(), matrix[:, i].sum()])
    files.write(folder / CLASSES, text.getvalue())


def find_metric(evaluator: Evaluator) -> ConfusionMetric | None:
    """The evaluator's one confusion matrix; None of none or several."""
    found = [metric for metric in evaluator.metrics if isinstance(metric, ConfusionMetric)]
    return found[0] if len(found) == 1 else None


@HOOKS.register_module()
class ScoresHook(Hook):
    """Writes `confusion.png` and `classes.csv` beside the log of a test."""

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write them."""
        metric = find_metric(runner.test_evaluator)
        if metric is None:
            return
        folder, names = Path(runner.log_dir), runner.test_dataloader.dataset.metainfo["classes"]
        write_scores(folder, metric.validation(1), names, runner.cfg.data_name)
        runner.logger.info(f"by class: {folder / CLASSES}, {CONFUSION}")


@HOOKS.register_module()
class PanelHook(Hook):
    """Writes one picture per tested image: image, truth, prediction and errors side by side.

    Each keeps the path that its image has below the folder that all have in common.

    Args:
        out_dir: folder of the pictures, made if need be.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)

    def before_test(self, runner: Runner) -> None:
        """Name every picture: images of one name lie in several folders."""
        dataset = runner.test_dataloader.dataset
        paths = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
        common = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
        below = [Path(os.path.relpath(path, common)) for path in paths]
        self.names = dict(zip(paths, without_endings(below), strict=True))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[Any]
    ) -> None:
        """Write the pictures of one batch."""
        meta = runner.test_dataloader.dataset.metainfo
        for sample in outputs:
            save_panel(self.out_dir / f"{self.names[sample.img_path]}.png", sample, meta)

    @master_only
    def after_test(self, runner: Runner) -> None:
        """Say where they are."""
        runner.logger.info(f"image, truth, prediction and errors of each image: {self.out_dir}")
