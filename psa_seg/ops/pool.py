"""The first pass over x: the two weighted sums from which every gate of the block follows.

Polarized Self-Attention (arXiv 2107.00782) projects every pixel and then sums over the pixels.
Both are linear, so the sum can go first: `Σ_n q_n (W_v x_n + b_v) = W_v g + b_v` with
`g = Σ_n q_n x_n`, because the query `q` sums to 1. What is left to project is one vector.
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from psa_seg.ops.implementation import passes


class Pooled(NamedTuple):
    """x on its way from `pool` to `gate`: for `gate`, once, and for nothing else.

    The gradient of x needs x and the upstream gradient, and both gates and both means of it: in
    two steps, that of `gate` and that of `pool`, it would be written, read again and added to.
    So `gate` hands back, as the "gradient" of `x`, the upstream gradient as it came, and as those
    of the carriers what else `pool` needs to write the whole gradient in one pass. Where one is
    None, autograd fills in zeros, and zeros are right.
    """

    x: Tensor  # [B, C, N]
    size: torch.Size  # H, W
    carriers: tuple[Tensor, ...]  # shaped as p, r, u [B, C] and m, dt [B, N]; values mean nothing


def pool(
    x: Tensor, w_q: Tensor | None = None, b_q: Tensor | None = None, impl: str | None = None
) -> tuple[Tensor, Tensor, Pooled]:
    """Query-weighted and plain mean of the pixels of `x`.

    Args:
        x: feature map `[B, C, H, W]`, any float dtype, contiguous or channels_last (neither is
            copied; what is neither is).
        w_q: query weights `[C]`; None weighs all pixels alike: then g is μ.
        b_q: query bias `[1]`. A softmax ignores it, and so does this function; it is an argument
            to stay in the graph (its gradient is 0), for DistributedDataParallel stops at a
            parameter without gradient.
        impl: `eager` or `triton`; see `psa_seg.ops.implementation`.

    Returns:
        `g = Σ_n softmax_n(w_q·x_n + b_q) x_n` `[B, C]` and `μ = mean_n x_n` `[B, C]`, both in
        at least float32, in which they are accumulated, and `x` for `gate`.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    w_q, b_q = (given if given is None else given.to(wide) for given in (w_q, b_q))
    outputs = _Pool.apply(x.flatten(2), w_q, b_q, passes(x, impl))
    mean, g, pixels, *carriers = outputs
    return mean if g is None else g, mean, Pooled(pixels, x.shape[2:], tuple(carriers))


class _Pool(torch.autograd.Function):
    """Keeps x, `[B, N]` logits, and vectors of size C. Differentiable once."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_q: Tensor | None, b_q: Tensor | None, backend: ModuleType
    ) -> tuple[Tensor | None, ...]:
        mean, query = backend.pool_forward(x, w_q)
        g, logits, lse = query or (None, None, None)
        ctx.save_for_backward(x, w_q, g, logits, lse)
        ctx.backend = backend
        shapes = [mean.shape] * 3 + [(x.shape[0], x.shape[2])] * 2
        return mean, g, x, *(mean.new_empty(()).expand(shape) for shape in shapes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dmean: Any, dg: Any, dout: Any, *carried: Any) -> Any:
        x, w_q, *rest = ctx.saved_tensors
        query = None if w_q is None else (w_q, dg, *rest)
        with torch.autocast(x.device.type, enabled=False):
            dx, dw_q = ctx.backend.pool_backward(x, dout, *carried, dmean, query)
        db_q = dmean.new_zeros(1) if ctx.needs_input_grad[2] else None
        return dx, dw_q, db_q, None
