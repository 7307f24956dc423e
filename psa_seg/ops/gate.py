"""The second pass over x: both gates of Polarized Self-Attention, applied.

The spatial logit `s·(W_sv x_n + b_sv)` (arXiv 2107.00782, eq. 3) is linear in `x_n`, so it is
`u·x_n + β` with `u = W_svᵀ s`: the value map `[B, C/2, H, W]` is never made. In the released
`PSA_p` a softmax over the pixels follows: it needs all logits first, and so one more read of x.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from psa_seg.ops.eager import wide_dtype
from psa_seg.ops.implementation import passes
from psa_seg.ops.pool import Pooled, refuse_to_be_differentiated_twice


def gate(
    pooled: Pooled,
    a: Tensor | None = None,
    spatial: tuple[Tensor, Tensor | None] | Tensor | None = None,
    layout: str = "parallel",
    impl: str | None = None,
) -> Tensor:
    """`x_n ⊙ (a + m_n)` (parallel) or `x_n ⊙ a·m_n` (sequential), `m_n = σ(t_n)`.

    Args:
        pooled: x, as `pool` handed it on; for one call.
        a: channel gate `[B, C]`; None leaves `x_n m_n`.
        spatial: one of four: the spatial query projected back to the channels, `u` `[B, C]`, and
            the offset `β` `[B]` of the logits `t_n = u·x_n + β`; `u` and None, for
            `t_n = softmax_n(u·x_n)`; the logits t `[B, N]` themselves; None leaves `x_n ⊙ a`.
            In the sequential layout `u` already holds the factor `a`: `u·(a ⊙ x_n)`.
        layout: `parallel` or `sequential`; without effect unless both gates are there.
        impl: `eager` or `triton`; see `psa_seg.ops.implementation`.

    Returns:
        `[B, C, H, W]` in the dtype and memory format of `x`, computed in at least float32.
    """
    # Both layouts and both single branches are x ⊙ (p + r m).
    u, beta = spatial if isinstance(spatial, tuple) else (None, None)
    t = spatial if isinstance(spatial, Tensor) else None
    x, size, carriers = pooled.take()
    if a is None:
        assert spatial is not None, "gate needs a, or spatial, or both"
        p = x.new_zeros(x.shape[:2], dtype=wide_dtype(x))
        r = torch.ones_like(p)
    elif layout == "sequential" and spatial is not None:
        p, r = torch.zeros_like(a), a
    else:
        p, r = a, torch.ones_like(a)
    out = _Gate.apply(x, p, r, u, beta, t, passes(x, impl), *carriers)
    return out.unflatten(2, size)


class _Gate(torch.autograd.Function):
    """Keeps x, m and t `[B, N]`, and vectors of size C. Its gradients of x are for `Pooled`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        p: Tensor,
        r: Tensor,
        u: Tensor | None,
        beta: Tensor | None,
        t: Tensor | None,
        backend: ModuleType,
        *carriers: Tensor,
    ) -> Tensor:
        softmaxed = None
        with torch.autocast(x.device.type, enabled=False):
            if u is not None and beta is None:
                t = softmaxed = backend.dot(x, u).softmax(1)
            m = None if t is None else t.sigmoid()
            out, m = backend.gate_forward(x, p, r, u if t is None else None, beta, m)
        ctx.save_for_backward(x, p, r, u, m, softmaxed)
        ctx.backend = backend
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:
        refuse_to_be_differentiated_twice()
        x, p, r, u, m, softmaxed = ctx.saved_tensors
        need_beta, need_t = ctx.needs_input_grad[4:6]
        with torch.autocast(x.device.type, enabled=False):
            dp, dr, du, dt = ctx.backend.gate_backward(
                x, dout, r, m, softmaxed, ctx.needs_input_grad[1:4]
            )
        dbeta = dt.sum(1) if need_beta else None
        if need_t:  # what t makes of x is not for `pool`: it came from elsewhere
            return dout, dp, dr, None, None, dt, None, p, r, None, m, None
        return dout, dp, dr, du, dbeta, None, None, p, r, u, m, dt
