"""The two passes over x: the weighted sums from which every gate follows, and the gates applied.

Polarized Self-Attention (arXiv 2107.00782) projects every pixel and then sums over the pixels.
Both are linear, so the sum can go first: `Σ_n q_n (W_v x_n + b_v) = W_v g + b_v` with
`g = Σ_n q_n x_n`, because the query `q` sums to 1. What is left to project is one vector: `pool`.

The spatial logit `s·(W_sv x_n + b_sv)` (eq. 3) is linear in `x_n`, so it is `u·x_n + β` with
`u = W_svᵀ s`: the value map `[B, C/2, H, W]` is never made: `gate`. In the released `PSA_p` a
softmax over the pixels follows: it needs all logits first, and so one more read of x.
"""

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from psa_seg.ops.choice import passes
from psa_seg.ops.eager import autocast_off, exporting, wide_dtype

VECTORS = 5 * [(0, 1)] + 2 * [(0, 2)]  # dims of x that μ, g, p, r, u, and m, dt have


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
        impl: `eager` or `triton`; see `psa_seg.ops.choice`.

    Returns:
        `g = Σ_n softmax_n(w_q·x_n + b_q) x_n` `[B, C]` and `μ = mean_n x_n` `[B, C]`, both in
        at least float32, in which they are accumulated, and `x` for `gate`.
    """
    w_q, b_q = (given if given is None else given.to(wide_dtype(x)) for given in (w_q, b_q))
    outputs = _Pool.apply(x.flatten(2), w_q, b_q, passes(x, impl))
    mean, g, pixels, *carriers = outputs
    weighted = mean if g is None else g
    if torch.compiler.is_compiling() and not exporting():
        weighted = _once(weighted)
    return weighted, weighted if g is None else mean, Pooled(pixels, x.shape[2:], carriers)


class _Pool(torch.autograd.Function):
    """Keeps x, `[B, N]` logits, and vectors of size C."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_q: Tensor | None, b_q: Tensor | None, backend: ModuleType
    ) -> tuple[Tensor | None, ...]:
        with autocast_off(x):
            mean, query = backend.pool_forward(x, w_q)
        ctx.save_for_backward(x, w_q, *(query or ()))
        ctx.backend = backend
        shapes = [mean.shape] * 3 + [(x.shape[0], x.shape[2])] * 2
        hole = mean.new_empty(())
        return mean, query and query[0], x, *(hole.expand(shape) for shape in shapes)

    @staticmethod
    def backward(ctx: Any, dmean: Any, dg: Any, dout: Any, *carried: Any) -> Any:
        # Of x, and of the carriers, `gate` has sent what `Pooled` says: no gradients of its own.
        refuse_to_be_differentiated_twice()
        x, w_q, *rest = ctx.saved_tensors
        # Autograd fills in zeros for what is absent, compiled autograd does not.
        zeros = functools.partial(x.new_zeros, dtype=wide_dtype(x))
        dmean, dg, *vectors = (
            zeros([x.shape[dim] for dim in dims]) if grad is None else grad
            for grad, dims in zip((dmean, dg, *carried), VECTORS, strict=True)
        )
        dout = torch.zeros_like(x) if dout is None else dout
        query = None if w_q is None else (w_q, dg, *rest)
        with autocast_off(x):
            dx, dw_q = ctx.backend.pool_backward(x, dout, *vectors, dmean, query)
        db_q = dmean.new_zeros(1) if ctx.needs_input_grad[2] else None
        return dx, dw_q, db_q, None


def gate(
    pooled: Pooled,
    a: Tensor | None = None,
    *,
    u: Tensor | None = None,
    beta: Tensor | None = None,
    logits: Tensor | None = None,
    layout: str = "parallel",
    gamma: Tensor | None = None,
    impl: str | None = None,
) -> Tensor:
    """`x_n ⊙ (a + m_n)` (parallel) or `x_n ⊙ a·m_n` (sequential), `m_n = σ(t_n)`.

    Args:
        pooled: x, as `pool` handed it on; for one call.
        a: channel gate `[B, C]`; None leaves `x_n m_n`.
        u: the spatial query projected back to the channels, `[B, C]`: `t_n = u·x_n + β`, or,
            without β, `t_n = softmax_n(u·x_n)`. In the sequential layout `u` already holds the
            factor `a`: `u·(a ⊙ x_n)`.
        beta: offset β `[B]` of the logits.
        logits: t `[B, N]` themselves, instead of `u`; without either, `x_n ⊙ a` is left.
        layout: `parallel` or `sequential`; without effect unless both gates are there.
        gamma: γ `[1]`, for `x + γ (out - x)`; None is 1.
        impl: `eager` or `triton`; see `psa_seg.ops.choice`.

    Returns:
        `[B, C, H, W]` in the dtype and memory format of `x`, computed in at least float32.

    Raises:
        ValueError: for arguments that do not go together.
        RuntimeError: for a `pooled` that was used before.
    """
    # Both layouts, both single branches and their residuals are x ⊙ (p + r m).
    spatial = u is not None or logits is not None
    if not spatial and a is None:
        raise ValueError("gate needs a, u or logits")
    if (logits is not None and u is not None) or (beta is not None and u is None):
        raise ValueError("gate takes logits, or u, to which alone beta belongs")
    x, size, carriers = pooled.take()
    if a is None:
        p = x.new_zeros(x.shape[:2], dtype=wide_dtype(x))
        r = torch.ones_like(p)
    elif layout == "sequential" and spatial:
        p, r = torch.zeros_like(a), a
    else:
        p, r = a, torch.ones_like(a)
    if gamma is not None:
        gamma = gamma.to(p.dtype)
        p, r = 1 + gamma * (p - 1), gamma * r
    out = _Gate.apply(x, p, r, u, beta, logits, passes(x, impl), *carriers)
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
        with autocast_off(x):
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
        with autocast_off(x):
            dp, dr, du, dt = ctx.backend.gate_backward(
                x, dout, r, m, softmaxed, ctx.needs_input_grad[1:4]
            )
        dbeta = dt.sum(1) if need_beta else None
        if need_t:  # what t makes of x is not for `pool`: it came from elsewhere
            return dout, dp, dr, None, None, dt, None, p, r, None, m, None
        return dout, dp, dr, du, dbeta, None, None, p, r, u, m, dt


def refuse_to_be_differentiated_twice() -> None:
    """In a backward pass: `create_graph` asks for a graph of it, and there is none.

    Raises:
        RuntimeError: rather than second derivatives that leave something out.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "pool and gate are differentiable once: for second derivatives (create_graph=True) "
            'call the attention within psa_seg.implementation("naive"), or set PSA_SEG_IMPL=naive'
        )


# Dynamo traces the backward passes without gradients, whoever asks for these later. Only an
# operator's own backward pass runs when it is asked for: so in what is compiled there is one.
@torch.library.custom_op("psa_seg::once", mutates_args=())
def _once(vector: Tensor) -> Tensor:
    return vector.clone()


@_once.register_fake
def _(vector: Tensor) -> Tensor:
    return torch.empty_like(vector)


def _once_backward(ctx: Any, grad: Tensor) -> Tensor:
    refuse_to_be_differentiated_twice()
    return grad


_once.register_autograd(_once_backward)
