"""Memory of a training: activations computed twice, and what the C library does with what is freed.

With activation checkpointing, residual blocks keep their input alone, and compute the rest twice.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from psa_seg.errors import UserError

# Of malloc.h: nothing is trimmed, nothing mapped by itself, and the heap grows by 64 MiB more than
# is asked for, so that what is freed at its end is enough for the same with its alignment.
MALLOC = {-1: -1, -4: 0, -2: 2**26}  # M_TRIM_THRESHOLD, M_MMAP_MAX, M_TOP_PAD


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


def keep_freed() -> bool:
    """Have this process keep what it frees, for the next step to take (glibc).

    By default glibc asks the system for every tensor of 32 MiB and more, and hands freed memory
    back: each step then pays again for its pages, a fifth of its time on a CPU. Values stay as they
    are. What is held is what a step needs at most, and what lies in between.

    Returns:
        Whether the C library is one that can be told.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another system, or another C library
        return False
    return all(mallopt(option, value) for option, value in MALLOC.items())
