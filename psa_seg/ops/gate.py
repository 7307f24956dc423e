"""The second pass over x: both gates of Polarized Self-Attention, applied.

The spatial logit `s·(W_sv x_n + b_sv)` (arXiv 2107.00782, eq. 3) is linear in `x_n`, so it is
`u·x_n + β` with `u = W_svᵀ s`: the value map `[B, C/2, H, W]` is never made.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from psa_seg.ops.implementation import passes
from psa_seg.ops.pool import Pooled, refuse_to_be_differentiated_twice


def gate(
    pooled: Pooled,
    a: Tensor | None = None,
    spatial: tuple[Tensor, Tensor] | None = None,
    layout: str = "parallel",
    impl: str | None = None,
) -> Tensor:
    """`x_n ⊙ (a + m_n)` (parallel) or `x_n ⊙ a·m_n` (sequential), `m_n = σ(u·x_n + β)`.

    Args:
        pooled: x, as `pool` handed it on; for one call.
        a: channel gate `[B, C]`; None leaves `x_n m_n`.
        spatial: the spatial query projected back to the channels, `u` `[B, C]`, and the offset
            `β` `[B]`; None leaves `x_n ⊙ a`. In the sequential layout `u` already holds the
            factor `a`: `u·(a ⊙ x_n)`.
        layout: `parallel` or `sequential`; without effect unless both gates are there.
        impl: `eager` or `triton`; see `psa_seg.ops.implementation`.

    Returns:
        `[B, C, H, W]` in the dtype and memory format of `x`, computed in at least float32.
    """
    # Both layouts and both single branches are x ⊙ (p + r m).
    u, beta = (None, None) if spatial is None else spatial
    if a is None:
        assert u is not None, "gate needs a, or spatial, or both"
        p, r = torch.zeros_like(u), torch.ones_like(u)
    elif layout == "sequential" and u is not None:
        p, r = torch.zeros_like(a), a
    else:
        p, r = a, torch.ones_like(a)
    x, size, carriers = pooled.take()
    out = _Gate.apply(x, p, r, u, beta, passes(x, impl), *carriers)
    return out.unflatten(2, size)


class _Gate(torch.autograd.Function):
    """Keeps x, m `[B, N]`, and vectors of size C. Its gradients of x are for `Pooled`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        p: Tensor,
        r: Tensor,
        u: Tensor | None,
        beta: Tensor | None,
        backend: ModuleType,
        *carriers: Tensor,
    ) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            out, m = backend.gate_forward(x, p, r, u, beta)
        ctx.save_for_backward(x, p, r, u, m)
        ctx.backend = backend
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:
        refuse_to_be_differentiated_twice()
        x, p, r, u, m = ctx.saved_tensors
        need_p, need_r = ctx.needs_input_grad[1:3]
        with torch.autocast(x.device.type, enabled=False):
            dp, dr, du, dt = ctx.backend.gate_backward(x, dout, r, m, need_p, need_r)
        dbeta = None if dt is None else dt.sum(1)
        return dout, dp, dr, du, dbeta, None, p, r, u, m, dt
