"""The first pass over x: the two weighted sums from which every gate of the block follows.

Polarized Self-Attention (arXiv 2107.00782) projects every pixel and then sums over the pixels.
Both are linear, so the sum can go first: `Σ_n q_n (W_v x_n + b_v) = W_v g + b_v` with
`g = Σ_n q_n x_n`, because the query `q` sums to 1. What is left to project is one vector.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from psa_seg.ops.eager import wide_dtype
from psa_seg.ops.implementation import passes


class Pooled:
    """x on its way from `pool` to `gate`: for one call of it, and for nothing else.

    The gradient of x needs x and the upstream gradient, and both gates and both means of it: in
    two steps, that of `gate` and that of `pool`, it would be written, read again and added to.
    So `gate` hands back, as the "gradient" of `x`, the upstream gradient as it came, and as those
    of the carriers what else `pool` needs to write the whole gradient in one pass. Where one is
    None, autograd fills in zeros, and zeros are right.

        forward   pool: x → μ, g, x, carriers        gate: x, carriers, p, r, u, β → out
        backward  gate: dout → dp, dr, du, dβ, with dout as the gradient of x and p, r, u, m, dt
                  as those of the carriers           pool: all of these, dμ, dg → dx, dw_q
    """

    def __init__(self, x: Tensor, size: torch.Size, carriers: Sequence[Tensor]) -> None:
        self._held: tuple[Tensor, torch.Size, Sequence[Tensor]] | None = (x, size, carriers)

    def take(self) -> tuple[Tensor, torch.Size, Sequence[Tensor]]:
        """x `[B, C, N]`; H and W; the carriers, shaped as p, r, u and m, dt, of no meaning.

        Raises:
            RuntimeError: at the second call: gradients would be wrong.
        """
        if self._held is None:
            raise RuntimeError("what `pool` hands on is for one `gate`: call `pool` for each")
        held, self._held = self._held, None
        return held


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
    w_q, b_q = (given if given is None else given.to(wide_dtype(x)) for given in (w_q, b_q))
    outputs = _Pool.apply(x.flatten(2), w_q, b_q, passes(x, impl))
    mean, g, pixels, *carriers = outputs
    return mean if g is None else g, mean, Pooled(pixels, x.shape[2:], carriers)


class _Pool(torch.autograd.Function):
    """Keeps x, `[B, N]` logits, and vectors of size C."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_q: Tensor | None, b_q: Tensor | None, backend: ModuleType
    ) -> tuple[Tensor | None, ...]:
        with torch.autocast(x.device.type, enabled=False):
            mean, query = backend.pool_forward(x, w_q)
        ctx.save_for_backward(x, w_q, *(query or (None, None, None)))
        ctx.backend = backend
        shapes = [mean.shape] * 3 + [(x.shape[0], x.shape[2])] * 2
        return mean, query and query[0], x, *(mean.new_empty(()).expand(shape) for shape in shapes)

    @staticmethod
    def backward(ctx: Any, dmean: Any, dg: Any, dout: Any, *carried: Any) -> Any:
        # Of x, and of the carriers, `gate` has sent what `Pooled` says: no gradients of its own.
        refuse_to_be_differentiated_twice()
        x, w_q, *rest = ctx.saved_tensors
        query = None if w_q is None else (w_q, dg, *rest)
        with torch.autocast(x.device.type, enabled=False):
            dx, dw_q = ctx.backend.pool_backward(x, dout, *carried, dmean, query)
        db_q = dmean.new_zeros(1) if ctx.needs_input_grad[2] else None
        return dx, dw_q, db_q, None


def refuse_to_be_differentiated_twice() -> None:
    """In a backward pass: `create_graph` asks for a graph of it, and there is none.

    Raises:
        RuntimeError: rather than second derivatives that leave something out.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        raise RuntimeError(
            "pool and gate are differentiable once: for second derivatives (create_graph=True) "
            "set PSA_SEG_IMPL=naive"
        )
