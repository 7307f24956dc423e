"""What a run leaves for its reader: curves, pictures, a record."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn
from torch.profiler import profile, schedule

from psa_seg.engine.describe import begin, measure_inference, training_memory
from psa_seg.engine.distributed import once
from psa_seg.engine.guard import BAD_STEPS
from psa_seg.engine.panels import CLASSES, CONFUSION, find_metric, write_scores
from psa_seg.engine.pictures import (
    Pictured,
    draw_curves,
    draw_samples,
    find_gating,
)
from psa_seg.errors import UserError
from psa_seg.evaluation import ConfusionMetric
from psa_seg.records import Record, read, write
from psa_seg.records.files import NAME


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes curves, samples, a confusion matrix, scores by class and a record where it works.

    Args:
        samples: how many validation images `samples.png` shows, spread over the set.
    """

    priority = "LOWEST"  # CheckpointHook is ready when a validation is made up for
    makes_up = True

    def __init__(self, samples: int = 6) -> None:
        self.samples = samples
        self.pictured: dict[int, Pictured] = {}
        self.gated: Tensor | None = None

    def before_train(self, runner: Runner) -> None:
        """Start the clock; a resumed run goes on with its record.

        Checkpoints are written before the validation of the same iteration: where a run was
        stopped in between, that validation is made up for; so is the last one, where it was stopped
        before the pictures were drawn.
        """
        self.metric = _require_metric(runner)
        count = len(runner.val_dataloader)
        self.chosen = set(np.linspace(0, count - 1, min(self.samples, count)).astype(int).tolist())
        self.path = Path(runner.work_dir, NAME)
        self.record, owes = once(lambda: self._take_up(runner))
        self.started = time.monotonic() - self.record.wall_time_s
        self._watch(runner)
        if owes:
            runner.val_loop.run()
        self.validated = False  # in this attempt: memory that it took is not training's
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def _take_up(self, runner: Runner) -> tuple[Record, bool]:
        """The record to go on with, and whether the validation of this very iteration is owed."""
        try:
            now = begin(runner)
        except ValueError as error:
            raise UserError(
                f"the record of this run could not be read: {error}\n"
                "  do         correct the config, or its data set's classes"
            ) from error
        if runner.iter == 0 or not self.path.is_file():
            earlier = now
        else:
            earlier = read(self.path)
            now = _continued(now, earlier, self.path, runner.iter)
        due = runner.iter % runner.val_interval == 0 or runner.iter == runner.max_iters
        last = now.validations[-1].iteration if now.validations else 0
        done = last == runner.iter and (earlier.is_complete or runner.iter < runner.max_iters)
        owes = runner.iter > 0 and due and not done
        if owes:
            now = replace(now, validations=now.until(runner.iter - 1))
        return now, owes

    def _watch(self, runner: Runner) -> None:
        """Keep what goes into the attention whose spatial gate the pictures show."""
        self.gating, self.gated = find_gating(runner.bare_model), None
        if (runner.cfg.model.get("test_cfg") or {}).get("mode", "whole") != "whole":
            self.gating = None  # its input would be of a part of the image
        if self.gating:
            self.gating.register_forward_pre_hook(self._see)

    def _see(self, attention: nn.Module, inputs: tuple[Tensor]) -> None:
        if not attention.training:
            self.gated = inputs[0].detach()

    @master_only
    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """See what memory a step takes."""
        if not self.validated:
            memory = max(self.record.training_memory, training_memory(), key=lambda m: m.MiB)
            self.record = replace(self.record, training_memory=memory)

    @master_only
    def before_val(self, runner: Runner) -> None:
        """Write what is known so far: a run may be killed while it validates."""
        self._write(runner)

    @master_only
    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[Any]
    ) -> None:
        """Keep the pictures of the latest validation."""
        if batch_idx in self.chosen:
            sample = outputs[0].cpu()
            sample.pop("seg_logits", None)  # upstream's segmentors: 160 MB at Cityscapes' size
            gate = None
            if self.gating and self.gated is not None:
                spatial = self.gating.gates_of(self.gated[:1]).spatial
                gate = None if spatial is None else spatial[0].cpu().numpy()
            self.pictured[batch_idx] = Pictured(sample, gate)

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the counts to the record."""
        validation = self.metric.validation(runner.iter)
        self.record = replace(self.record, validations=(*self.record.validations, validation))
        self.validated, self.gated = True, None
        self._write(runner)

    def _write(self, runner: Runner) -> None:
        elapsed = round(time.monotonic() - self.started, 1)
        left_out = runner.message_hub.runtime_info.get(BAD_STEPS, 0)
        self.record = replace(self.record, wall_time_s=elapsed, left_out=left_out)
        write(self.path, self.record)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Measure inference, draw the pictures, and say where everything is."""
        size = runner.val_dataloader.dataset[0]["inputs"].shape[1:]
        model, plain = runner.bare_model, runner.build_plain()
        cost = measure_inference(model, plain, tuple(size))
        self.record = replace(self.record, inference=cost)
        score, figure = self.record.score, self.record.figure
        history = [(v.iteration, figure(validation=v)) for v in self.record.validations]
        work_dir, title = Path(runner.work_dir), runner.cfg.data_name
        losses, _ = runner.message_hub.get_scalar("train/loss").data
        draw_curves(work_dir / "curves.png", losses, history, score, title)
        if self.pictured:
            rows = [self.pictured[i] for i in sorted(self.pictured)]
            meta = runner.val_dataloader.dataset.metainfo
            draw_samples(work_dir / "samples.png", rows, meta, title)
        write_scores(work_dir, self.record.last, self.record.classes, title)
        self._write(runner)  # complete: a run that was killed before makes up for all of this
        runner.logger.info(
            f"{title}: {score} {history[-1][1]:.2f} after {runner.iter} iterations; see "
            f"{work_dir}/curves.png, samples.png, {CONFUSION}, {CLASSES}, record.json"
        )


def _require_metric(runner: Runner) -> ConfusionMetric:
    metric = find_metric(runner.val_evaluator)
    if metric is None:
        raise UserError(
            "val_evaluator has no ConfusionMetric, which ReportHook takes its figures from\n"
            "  do         add dict(type='ConfusionMetric') to it, or set custom_hooks=[]"
        )
    return metric


def _continued(now: Record, earlier: Record, path: Path, iteration: int) -> Record:
    """The record of a run whose `earlier` part ended after an iteration.

    Raises:
        UserError: where data, score or plan are not those that the earlier part tells of.
    """
    if earlier.data_hash != now.data_hash:
        raise UserError(
            f"images or masks differ from those that this run began with: {path}\n"
            f"  there      data {earlier.data_hash}, by names and sizes of the files\n"
            f"  here       data {now.data_hash}\n"
            "  do         put the files back, or choose another --work-dir"
        )
    if earlier.score != now.score:
        raise UserError(
            f"this run began with the score {earlier.score}, and not with {now.score}: {path}\n"
            "  do         leave `score` as it was, or choose another --work-dir"
        )
    if now.attentions and now.plan and now.plan != earlier.plan:
        raise UserError(
            f"the experiment's plan differs from the one that this run began with: {path}\n"
            f"  there      {earlier.plan or 'no plan'}\n"
            f"  here       {now.plan}\n"
            "  do         leave it as it was, or give the changed experiment a file of its own"
        )
    known: dict[str, Any] = {"plan": earlier.plan}
    if earlier.version != now.version:  # it began under another rule, and is known by that one
        same = ("version", "config_hash", "setting")
        known |= {name: getattr(earlier, name) for name in same} | {"start": {}}
    return replace(
        now,
        validations=earlier.until(iteration),
        wall_time_s=earlier.wall_time_s,
        training_memory=earlier.training_memory,
        attempts=(*earlier.attempts, *now.attempts),
        **known,
    )


@HOOKS.register_module()
class PaceHook(Hook):
    """Prints loss and ETA when the logger has been silent for a while, whatever its interval.

    Args:
        seconds: of silence.
    """

    priority = "LOWEST"

    def __init__(self, seconds: float = 10) -> None:
        self.seconds = seconds

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.told = time.monotonic()
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self.interval = loggers[0].interval if loggers else 0

    @master_only
    def after_train_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        """Print, if it is time."""
        now = time.monotonic()
        if self.interval and self._logger_speaks(runner, batch_idx):
            self.told = now
        elif now - self.told >= self.seconds:
            _, line = runner.log_processor.get_log_after_iter(runner, batch_idx, "train")
            runner.logger.info(line)
            self.told = now

    def _logger_speaks(self, runner: Runner, batch_idx: int) -> bool:
        """Whether mmengine's hook prints at this step: at the end of a short pass, too."""
        loader = runner.train_dataloader
        is_short = len(loader) <= self.interval
        return self.every_n_inner_iters(batch_idx, self.interval) or (
            is_short and self.end_of_epoch(loader, batch_idx)
        )


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
