"""The loss on the validation images, which MMSegmentation's segmentors do not give."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ValidationLossHook(Hook):
    """Adds `val_loss`, and `val_` before the name of each of its parts, to the scores.

    It is the training loss with the network as it is validated (no dropout, running statistics,
    averaged weights where there are such), of each image whole and by itself, at the size of its
    mask; then the mean over the images. One more forward pass for each of them.
    """

    priority = "HIGHEST"  # RuntimeInfoHook, the next, hands the scores to logs and boards

    def before_run(self, runner: Runner) -> None:
        """Have the log give the loss of each validation, and no mean over the last ten."""
        smoothed = re.compile(runner.log_processor.mean_pattern).pattern
        runner.log_processor.mean_pattern = re.compile(rf"^(?!(val/)?val_).*{smoothed}")

    def before_val_epoch(self, runner: Runner) -> None:
        """Start anew."""
        self.sums: Counter[str] = Counter()
        self.images = 0

    @torch.no_grad()
    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[Any]
    ) -> None:
        """Add the losses of one batch."""
        model = runner.bare_model
        batch = model.data_preprocessor(data_batch, training=False)
        images, samples = batch["inputs"], batch["data_samples"]
        for given, image, sample in zip(data_batch["inputs"], images, samples, strict=True):
            rows, columns = given.shape[1:]  # padding of the input has no truth beside it
            losses = model.loss(image[None, :, :rows, :columns], [sample])
            self.sums.update({k: float(v) for k, v in model.parse_losses(losses)[1].items()})
            self.images += 1

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the means to the scores, over all processes."""
        shares = all_gather_object((self.sums, self.images))
        images = sum(count for _, count in shares)
        for name in sorted({name for sums, _ in shares for name in sums}):
            metrics[f"val_{name}"] = sum(sums[name] for sums, _ in shares) / images  # type: ignore[index]
