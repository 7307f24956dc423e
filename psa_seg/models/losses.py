"""What heads compute from logits in every step: upstream's figures, in less time on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmseg.models.decode_heads import decode_head
from mmseg.models.losses import cross_entropy_loss
from torch import Tensor, nn

upstream_cross_entropy = cross_entropy_loss.cross_entropy
# From so many classes on, a softmax over values that lie side by side is computed in vectors.
VECTOR = 16


def take_rows(model: nn.Module) -> None:
    """Have the cross entropies in `model` compute as `cross_entropy` does; no other loss."""
    for loss in model.modules():
        if getattr(loss, "cls_criterion", None) is upstream_cross_entropy:
            loss.cls_criterion = cross_entropy  # type: ignore[assignment]


def cross_entropy(
    logits: Tensor, truth: Tensor, weight: Tensor | None = None, **options: Any
) -> Tensor:
    """Upstream's; where classes lie side by side, as one row of them for each pixel.

    A softmax over another dimension copies logits that are `channels_last`, and its gradient has
    the other layout, in which the resizing before it takes four times as long.

    Args:
        logits: `[B, classes, H, W]`.
        truth: class ids `[B, H, W]`.
        weight: of each pixel, `[B, H, W]`.
        options: as upstream's.
    """
    rows = logits.shape[1] >= VECTOR and logits.is_contiguous(memory_format=torch.channels_last)
    if not rows or logits.device.type != "cpu":
        return upstream_cross_entropy(logits, truth, weight, **options)
    flat = logits.movedim(1, -1).flatten(0, -2)
    weight = None if weight is None else weight.flatten()
    loss = upstream_cross_entropy(flat, truth.flatten(), weight, **options)
    return loss.view_as(truth) if loss.ndim else loss


@contextmanager
def accuracy_by_maximum() -> Iterator[None]:
    """Upstream's heads call `accuracy`, whose `topk` was a tenth of a step on a CPU."""
    upstream = decode_head.accuracy
    decode_head.accuracy = accuracy
    try:
        yield
    finally:
        decode_head.accuracy = upstream


@torch.no_grad()
def accuracy(logits: Tensor, truth: Tensor, ignore_index: int) -> Tensor:
    """Percent of the pixels that count, `[1]`, whose class `[B, H, W]` no other's logit exceeds.

    Args:
        logits: `[B, classes, H, W]`.
        truth: class ids.
        ignore_index: truth value of the pixels that do not count.
    """
    counted = truth != ignore_index
    known = truth.clamp(0, logits.shape[1] - 1)
    highest = logits.gather(1, known[:, None]) == logits.amax(dim=1, keepdim=True)
    right = highest[:, 0] & (known == truth) & counted
    return 100 * right.sum(dtype=torch.float32)[None] / counted.sum().clamp(min=1)
