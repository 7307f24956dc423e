"""Both passes over x and their gradients as Triton kernels: one read of x each.

The same five functions as `psa_seg.ops.eager`, with the same results up to rounding, for float32,
float16 and bfloat16. Each is one operator of `torch.library`, which `torch.compile` passes through.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from psa_seg.ops.fused import kernels
from psa_seg.ops.fused.tiles import COMBINE, Launch, launch


def pool_forward(x: Tensor, w_q: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...] | None]:
    """See `psa_seg.ops.eager.pool_forward`.

    Of q, it keeps the logits `[B, N]`, and `[B, 2]` the largest of them and the sum of
    `exp(logit - largest)`.
    """
    mean, *query = _pool_forward(x, w_q)
    return mean, None if w_q is None else tuple(query)


def dot(x: Tensor, u: Tensor) -> Tensor:
    """See `psa_seg.ops.eager.dot`."""
    return _dot(x, u)


def gate_forward(
    x: Tensor,
    p: Tensor,
    r: Tensor,
    u: Tensor | None,
    beta: Tensor | None,
    m: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """See `psa_seg.ops.eager.gate_forward`."""
    out, made = _gate_forward(x, p, r, u, beta, m)
    return out, m if u is None else made


def gate_backward(
    x: Tensor,
    dout: Tensor,
    r: Tensor,
    m: Tensor | None,
    t: Tensor | None,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """See `psa_seg.ops.eager.gate_backward`."""
    if m is None:
        needs = needs[0], False, False
    sums, dt = _gate_backward(x, dout, r, m, t, *needs)
    rest = iter(sums)
    dp, dr, du = (next(rest) if need else None for need in needs)
    if m is None:
        return dp, None, None, None
    if t is not None:
        level = (t * dt).sum(1, keepdim=True)
        dt = t * (dt - level)
        du = None if du is None else du - level * next(rest)
    return dp, dr, du, dt


def pool_backward(
    x: Tensor,
    dout: Tensor,
    p: Tensor,
    r: Tensor,
    u: Tensor,
    m: Tensor,
    dt: Tensor,
    dmean: Tensor,
    query: tuple[Tensor, ...] | None,
) -> tuple[Tensor, Tensor | None]:
    """See `psa_seg.ops.eager.pool_backward`."""
    parts: tuple[Tensor | None, ...] = query or (None,) * 5
    dx, dw_q = _pool_backward(x, dout, p, r, u, m, dt, dmean, *parts)
    return dx, None if query is None else dw_q


@torch.library.custom_op("psa_seg::pool_forward", mutates_args=())
def _pool_forward(x: Tensor, w_q: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = _dense(x)
    batch, channels, pixels = x.shape
    outputs = _pool_forward_outputs(x, w_q)
    mean, g, logits, norm = outputs if w_q is not None else (outputs[0], None, None, None)
    plan = launch("pool_forward", x)
    stats = mean.new_empty(batch, plan.programs, 2)
    sums = mean.new_empty(batch, plan.programs, 2, channels)
    pointers = (x, _vector(w_q), logits, stats, sums)
    _run(kernels.pool_forward, plan, pointers, maps=(x,))
    with _device(x):
        kernels.pool_combine[-(-channels // COMBINE["BLOCK_C"]), batch](
            stats, sums, g, mean, norm, channels, pixels, plan.programs, **COMBINE
        )
    return outputs


@_pool_forward.register_fake
def _pool_forward_outputs(x: Tensor, w_q: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, channels, pixels = x.shape
    there = 0 if w_q is None else 1
    return (
        _vectors(x, batch, channels),
        _vectors(x, batch * there, channels),
        _vectors(x, batch * there, pixels),
        _vectors(x, batch * there, 2),
    )


@register_flop_formula(torch.ops.psa_seg.pool_forward)
def _(x: torch.Size, w_q: torch.Size | None, **_: object) -> int:
    return 0 if w_q is None else 4 * x.numel()  # the logits and the weighted sum


@torch.library.custom_op("psa_seg::dot", mutates_args=())
def _dot(x: Tensor, u: Tensor) -> Tensor:
    x = _dense(x)
    out = _dot_output(x, u)
    _run(kernels.dot, launch("dot", x), (x, _vector(u), out), maps=(x,))
    return out


@_dot.register_fake
def _dot_output(x: Tensor, u: Tensor) -> Tensor:
    return _vectors(x, x.shape[0], x.shape[2])


@register_flop_formula(torch.ops.psa_seg.dot)
def _(x: torch.Size, u: torch.Size, **_: object) -> int:
    return 2 * x.numel()


@torch.library.custom_op("psa_seg::gate_forward", mutates_args=())
def _gate_forward(
    x: Tensor, p: Tensor, r: Tensor, u: Tensor | None, beta: Tensor | None, m: Tensor | None
) -> tuple[Tensor, Tensor]:
    x = _dense(x)
    out, made = _gate_forward_outputs(x, p, r, u, beta, m)
    vectors = map(_vector, (p, r, u, beta))
    pointers = (x, *vectors, out, _vector(m) if u is None else made)
    _run(kernels.gate_forward, launch("gate_forward", x), pointers, maps=(x, out))
    return out, made


@_gate_forward.register_fake
def _gate_forward_outputs(
    x: Tensor, p: Tensor, r: Tensor, u: Tensor | None, beta: Tensor | None, m: Tensor | None
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(_dense(x)), _vectors(x, 0 if u is None else x.shape[0], x.shape[2])


@register_flop_formula(torch.ops.psa_seg.gate_forward)
def _(
    x: torch.Size, p: torch.Size, r: torch.Size, u: torch.Size | None, *_: object, **__: object
) -> int:
    return 0 if u is None else 2 * x.numel()  # the logits


@torch.library.custom_op("psa_seg::gate_backward", mutates_args=())
def _gate_backward(
    x: Tensor, dout: Tensor, r: Tensor, m: Tensor | None, t: Tensor | None,
    need_dp: bool, need_dr: bool, need_du: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    x = _dense(x)
    dout = _aligned(dout, x)
    batch, channels, pixels = x.shape
    plan = launch("gate_backward", x)
    wanted = (need_dp, need_dr, need_du, t is not None)
    parts = _vectors(x, sum(wanted), batch, plan.programs, channels)
    rest = iter(parts)
    made = (next(rest) if want else None for want in wanted)
    dt = _vectors(x, 0 if m is None else batch, pixels)
    pointers = (x, dout, *map(_vector, (r, m, t)), None if m is None else dt, *made)
    _run(kernels.gate_backward, plan, pointers, maps=(x, dout))
    return parts.sum(2), dt


@_gate_backward.register_fake
def _(
    x: Tensor, dout: Tensor, r: Tensor, m: Tensor | None, t: Tensor | None,
    need_dp: bool, need_dr: bool, need_du: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    batch, channels, pixels = x.shape
    sums = _vectors(x, need_dp + need_dr + need_du + (t is not None), batch, channels)
    return sums, _vectors(x, 0 if m is None else batch, pixels)


@torch.library.custom_op("psa_seg::pool_backward", mutates_args=())
def _pool_backward(
    x: Tensor,
    dout: Tensor,
    p: Tensor,
    r: Tensor,
    u: Tensor,
    m: Tensor,
    dt: Tensor,
    dmean: Tensor,
    w_q: Tensor | None,
    dg: Tensor | None,
    g: Tensor | None,
    logits: Tensor | None,
    norm: Tensor | None,
) -> tuple[Tensor, Tensor]:
    x = _dense(x)
    dout = _aligned(dout, x)
    batch, channels, _ = x.shape
    plan = launch("pool_backward", x)
    dx = torch.empty_like(x)
    parts = _vectors(x, 0 if w_q is None else batch, plan.programs, channels)
    vectors = map(_vector, (p, r, u, m, dt, dmean, w_q, dg, g, logits, norm))
    pointers = (x, dout, *vectors, dx, None if w_q is None else parts)
    _run(kernels.pool_backward, plan, pointers, maps=(x, dout, dx))
    return dx, parts.sum((0, 1))


@_pool_backward.register_fake
def _(x: Tensor, *others: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(_dense(x)), _vectors(x, x.shape[1])


def _dense(x: Tensor) -> Tensor:
    """`x`, copied unless its images are contiguous in NCHW or channels_last."""
    _, channels, pixels = x.shape
    return x if x.stride()[1:] in ((pixels, 1), (1, channels)) else torch.empty_like(x).copy_(x)


def _aligned(dout: Tensor, x: Tensor) -> Tensor:
    """`dout`, copied unless its images have the strides of those of `x`."""
    if dout.stride()[1:] == x.stride()[1:]:
        return dout
    return torch.empty_like(x).copy_(dout)


def _run(
    kernel: Any, plan: Launch, pointers: tuple[Tensor | None, ...], maps: tuple[Tensor, ...]
) -> None:
    """Launch `kernel` over `maps`, x and its like: they share all strides but that of images."""
    batch, channels, pixels = maps[0].shape
    strides = *maps[0].stride()[1:], *(each.stride(0) for each in maps)
    with _device(maps[0]):
        kernel[plan.programs, batch](
            *pointers, channels, pixels, plan.tiles, *strides,
            BLOCK_C=plan.block_c, BLOCK_N=plan.block_n, STAGES=plan.stages, num_warps=plan.warps,
        )  # fmt: skip


def _vectors(x: Tensor, *shape: int) -> Tensor:
    return x.new_empty(shape, dtype=torch.float32)


def _vector(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _device(x: Tensor) -> AbstractContextManager:
    """Triton launches on the current GPU, which need not be that of `x`."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
