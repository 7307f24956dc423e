"""What a run leaves for its reader: curves, pictures, a record."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.profiler import profile, schedule

from psa_seg.engine.pictures import draw_curves, draw_samples, save_panel
from psa_seg.engine.record import read_record, write_record
from psa_seg.errors import UserError
from psa_seg.evaluation import ConfusionMetric, scores


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes `curves.png`, `samples.png` and `record.json` into the work directory.

    Args:
        samples: how many validation images `samples.png` shows, spread over the set.
    """

    priority = "LOWEST"  # CheckpointHook is ready when a validation is made up for

    def __init__(self, samples: int = 6) -> None:
        self.samples = samples
        self.pictured: dict[int, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Start the clock; a resumed run goes on with its record.

        Checkpoints are written before the validation of the same iteration: where a run was
        stopped in between, that validation is made up for.
        """
        metrics = [m for m in runner.val_evaluator.metrics if isinstance(m, ConfusionMetric)]
        if len(metrics) != 1:
            raise UserError(
                "val_evaluator has no ConfusionMetric, which ReportHook takes its figures from\n"
                "  do         add dict(type='ConfusionMetric') to it, or set custom_hooks=[]"
            )
        self.metric = metrics[0]
        count = len(runner.val_dataloader)
        self.chosen = set(np.linspace(0, count - 1, min(self.samples, count)).astype(int).tolist())
        self.record = Path(runner.work_dir, "record.json")
        self.validations, spent = read_record(self.record, runner.iter)
        self.started = time.monotonic() - spent
        due = runner.iter % runner.val_interval == 0 or runner.iter == runner.max_iters
        done = any(v["iteration"] == runner.iter for v in self.validations)
        owed = [runner.iter > 0 and due and not done]
        broadcast_object_list(owed)  # the record is on the first rank's disk
        if owed[0]:
            runner.val_loop.run()

    @master_only
    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[Any]
    ) -> None:
        """Keep the pictures of the latest validation."""
        if batch_idx in self.chosen:
            sample = outputs[0].cpu()
            sample.pop("seg_logits", None)  # upstream's segmentors: 160 MB at Cityscapes' size
            self.pictured[batch_idx] = sample

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the confusion matrix to the record."""
        assert self.metric.confusion is not None, "validated without a confusion matrix"
        validation = {"iteration": runner.iter, "confusion": self.metric.confusion.tolist()}
        self.validations.append(validation)
        write_record(self.record, runner, self.validations, time.monotonic() - self.started)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Draw the pictures, and say where everything is."""
        history = [
            (v["iteration"], float(scores(np.array(v["confusion"]))["mIoU"]))
            for v in self.validations
        ]
        work_dir, title = Path(runner.work_dir), runner.cfg.data_name
        losses, _ = runner.message_hub.get_scalar("train/loss").data
        draw_curves(work_dir / "curves.png", losses, history, title)
        if self.pictured:
            pictured = [self.pictured[i] for i in sorted(self.pictured)]
            meta = runner.val_dataloader.dataset.metainfo
            draw_samples(work_dir / "samples.png", pictured, meta, title)
        runner.logger.info(
            f"{title}: mIoU {history[-1][1]:.2f} after {runner.iter} iterations; see "
            f"{work_dir}/curves.png, samples.png, record.json"
        )


@HOOKS.register_module()
class PanelHook(Hook):
    """Writes one picture per tested image: image, truth and prediction side by side.

    Args:
        out_dir: folder of the pictures, made if need be.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[Any]
    ) -> None:
        """Write the pictures of one batch."""
        meta = runner.test_dataloader.dataset.metainfo
        for sample in outputs:
            save_panel(self.out_dir / f"{Path(sample.img_path).stem}.png", sample, meta)


@HOOKS.register_module()
class ProfileHook(Hook):
    """Records steps of the first process with torch.profiler: a trace, and a table in the log.

    Two steps go before: the first ones choose kernels and fill caches.

    Args:
        steps: how many to record.
    """

    BEFORE = 2

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Start."""
        self.profiler = profile(
            schedule=schedule(wait=self.BEFORE - 1, warmup=1, active=self.steps, repeat=1),
            on_trace_ready=lambda _: self._write(runner),
            profile_memory=True,
        )
        self.profiler.start()

    @master_only
    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """One step further."""
        self.profiler.step()

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Stop."""
        self.profiler.stop()

    def _write(self, runner: Runner) -> None:
        path = Path(runner.work_dir, "trace.json")
        self.profiler.export_chrome_trace(str(path))
        order = f"self_{'cuda' if torch.cuda.is_available() else 'cpu'}_time_total"
        table = self.profiler.key_averages().table(sort_by=order, row_limit=15)
        runner.logger.info(
            f"{self.steps} steps, by operator:\n{table}\n"
            f"{path}: open it at https://ui.perfetto.dev or chrome://tracing"
        )
