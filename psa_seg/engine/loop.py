"""The training loop: one recipe on any number of GPUs, replayable from any iteration."""

from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import all_reduce_params
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import DATASETS, LOOPS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from psa_seg.datasets.replay import NumberedDataset, NumberedSampler
from psa_seg.engine import signals
from psa_seg.engine.doctor.masks import ignored_id
from psa_seg.engine.guard import Guard
from psa_seg.engine.saving import makes_up, saved
from psa_seg.engine.signals import Interrupted
from psa_seg.errors import UserError


class Split(NamedTuple):
    """How the images of one optimizer step are spread."""

    images: int
    processes: int
    at_once: int  # images that one process holds in memory together
    accumulated: int  # forward and backward passes of each process before a step

    def __str__(self) -> str:
        """For the log."""
        return (
            f"{self.images} images a step = {counted(self.processes)} x {self.at_once} at once "
            f"x {self.accumulated} accumulated"
        )


def counted(processes: int) -> str:
    """`1 process`, `2 processes`."""
    return f"{processes} process{'es' * (processes > 1)}"


def split_batch(
    images: int, processes: int, micro_batch_size: int | None = None, batch_norm: bool = True
) -> Split:
    """Spread a step's `images` over `processes`, at most `micro_batch_size` of them at once.

    Args:
        images: of an optimizer step.
        processes: that share them.
        micro_batch_size: images that one holds at once; None for its whole share.
        batch_norm: whether the model has batch normalisation.

    Raises:
        UserError: where it cannot be done evenly, or leaves batch normalisation a single image.
    """
    if micro_batch_size is not None and type(micro_batch_size) is not int:
        raise UserError(f"train_cfg.micro_batch_size={micro_batch_size!r} is no whole number")
    share, rest = divmod(images, processes)
    at_once = share if micro_batch_size is None else min(micro_batch_size, share)
    if rest or at_once < 1 or share % at_once:
        raise UserError(
            f"{images} images a step cannot be spread evenly over {counted(processes)}"
            + (f", {micro_batch_size} at once" if micro_batch_size is not None else "")
            + f"\n  where      train_dataloader.batch_size={images} is the number for all GPUs "
            "together,\n             train_cfg.micro_batch_size what one GPU holds at once\n"
            f"  do         run on a number of GPUs that divides {images}, or change those two"
        )
    if batch_norm and at_once * (processes if torch.cuda.is_available() else 1) < 2:
        raise UserError(
            "batch normalisation needs two images at once, and one is left to it here\n"
            f"  where      {images} images a step, {counted(processes)}, {at_once} at once\n"
            "  do         raise train_dataloader.batch_size (for all GPUs together) or "
            "train_cfg.micro_batch_size"
        )
    return Split(images, processes, at_once, share // at_once)


@LOOPS.register_module()
class ReplayableTrainLoop(IterBasedTrainLoop):
    """`IterBasedTrainLoop` in which one iteration is one step of the optimizer on one batch.

    `train_dataloader.batch_size` is the number of images a step, on all GPUs together, so that
    learning rate and iterations fit any hardware. Which images, and which crops of them, follows
    from the seed and the iteration alone; dropout from seed, iteration and process.

    Args:
        runner: that runs it.
        dataloader: its config; the sampler must be a `NumberedSampler`.
        micro_batch_size: images that a GPU holds at once; by default its whole share of a batch.
            Batch normalisation then sees those only.
        **kwargs: as for `IterBasedTrainLoop`.

    Raises:
        UserError: for a batch that cannot be split so, and for another sampler.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict[str, Any],
        micro_batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        layers = [layer for layer in runner.model.modules() if isinstance(layer, _BatchNorm)]
        self.split = split_batch(
            dataloader["batch_size"], runner.world_size, micro_batch_size, bool(layers)
        )
        built = DATASETS.build(dataloader["dataset"])
        dataset = NumberedDataset(built, runner.seed, ignored_id(runner.cfg.model))
        share = self.split.images // self.split.processes
        super().__init__(runner, {**dataloader, "batch_size": share, "dataset": dataset}, **kwargs)
        if not isinstance(self.dataloader.sampler, NumberedSampler):
            raise UserError("train_dataloader.sampler must be dict(type='NumberedSampler')")

    def run(self) -> nn.Module:
        """Train; the optimizer wrapper counts passes, of which a step can take several."""
        passes = self.split.accumulated
        if passes > 1:
            self.runner.optim_wrapper.initialize_count_status(
                self.runner.model, self._iter * passes, self._max_iters * passes
            )
        self.guard = Guard(self.runner)
        try:
            return super().run()
        finally:
            signals.release()

    def run_iter(self, data_batch: dict[str, list[Any]]) -> None:
        """One step of the optimizer.

        Raises:
            Interrupted: in every process, after a checkpoint, where one of them was asked to end.
            DivergedError: in every process, as of `Guard`.
        """
        signals.hold()
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data_batch)
        state = np.random.SeedSequence((runner.seed, runner.rank, self._iter)).generate_state(1)
        torch.manual_seed(int(state[0]))
        self.guard.begin()
        passes = [
            runner.model.train_step(part, optim_wrapper=runner.optim_wrapper)
            for part in self._parts(data_batch)
        ]
        outputs = {name: sum(p[name] for p in passes) / len(passes) for name in passes[0]}
        if not self.guard.bad:
            self._average_statistics()
        self.guard.end(data_batch)
        runner.call_hook(
            "after_train_iter", batch_idx=self._iter, data_batch=data_batch, outputs=outputs
        )
        self._iter += 1
        if makes_up(runner) or not self._validates():
            if self.guard.asked:
                raise Interrupted(self.guard.asked, saved(runner))
            if self._iter >= self._max_iters:  # what is left, another attempt makes up for
                signals.release()
                signals.check()

    def _validates(self) -> bool:
        """Whether a validation comes next."""
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self.runner.val_loop is not None and self._iter >= self.val_begin and due

    def _parts(self, batch: dict[str, list[Any]]) -> list[dict[str, list[Any]]]:
        step = self.split.at_once
        starts = range(0, len(batch["inputs"]), step)
        return [{key: items[i : i + step] for key, items in batch.items()} for i in starts]

    def _average_statistics(self) -> None:
        """BatchNorm that is not synchronised counts a process's own images: agree on the mean.

        In every step, so that validation and checkpoint, at whatever step, find all alike.
        """
        if self.split.processes == 1:
            return
        layers = [
            layer
            for layer in self.runner.model.modules()
            if isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm)
        ]
        statistics = [s for layer in layers for s in (layer.running_mean, layer.running_var)]
        if statistics:
            all_reduce_params(statistics, op="mean")
