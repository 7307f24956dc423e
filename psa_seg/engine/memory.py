"""Activation checkpointing: residual blocks keep their input alone, and compute the rest twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from psa_seg.errors import UserError


def checkpoint_activations(backbone: nn.Module) -> None:
    """Let every residual block of `backbone` forget what lies between its input and its output.

    Gradients and BatchNorm's statistics are those without it: the second pass draws the same
    random numbers and counts no image twice (mmcv's own `with_cp` counts them twice).

    Raises:
        UserError: for a backbone without blocks that mmcv would checkpoint.
    """
    able = [block for block in backbone.modules() if hasattr(block, "with_cp")]
    # Not the backbone itself, which has the option, too, to hand it on.
    blocks = [b for b in able if not any(other is not b for other in b.modules() if other in able)]
    if not blocks or blocks == [backbone]:
        raise UserError(
            f"{type(backbone).__name__} has no blocks for activation checkpointing\n"
            "  do         leave --checkpoint-activations out; train_cfg.micro_batch_size saves "
            "memory, too"
        )
    for block in blocks:
        block.forward = partial(_twice, block, block.forward)


def _twice(block: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    contexts = lambda: (nullcontext(), _statistics_kept(block))  # noqa: E731
    return checkpoint(forward, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    layers = [layer for layer in block.modules() if isinstance(layer, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    tracked = [n for layer in layers if (n := layer.num_batches_tracked) is not None]
    before = [n.clone() for n in tracked]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for n, number in zip(tracked, before, strict=True):
            n.copy_(number)
