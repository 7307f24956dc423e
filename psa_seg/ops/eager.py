"""Both passes over x and their gradients in plain PyTorch: on CPUs, and wherever Triton is not.

Five functions of `x` `[B, C, N]`, any strides and float dtype; `psa_seg.ops.fused` has the same
five. They know nothing of autograd: `psa_seg.ops.pool` and `psa_seg.ops.gate` do. Vectors are
`[B, C]` or `[B, N]` in the wide dtype: float32, or that of `x` if it is wider.

Sums over x are matrix products, which read it as it is. The rest goes block by block, in the memory
of the result, or one block's: what one line makes, the next finds in the cache. A temporary of the
size of x is never allocated: its pages alone cost a CPU more than all the arithmetic here.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

Block = tuple[slice, slice, slice]
EVERYTHING = slice(None)

CPU_BLOCK = 2**18  # elements a thread: 1 MiB; smaller ones wait for the interpreter
BLOCK = 2**25  # elements on any other device: 128 MiB


def pool_forward(x: Tensor, w_q: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...] | None]:
    """`μ = mean_n x_n`; given `w_q` `[C]`, of the query `q = softmax(w_q·x_n)` `g = Σ_n q_n x_n`,
    and what `pool_backward` needs of it: q `[B, N]`.
    """
    mean = _mean(x)
    if w_q is None:
        return mean, None
    q = dot(x, w_q.expand(x.shape[0], -1)).softmax(1)
    return mean, (_weighted_sum(x, q), q)


def dot(x: Tensor, u: Tensor, beta: Tensor | None = None) -> Tensor:
    """`u·x_n` of every pixel, `+ β` `[B]`: `u` `[B, C]` → `[B, N]`."""
    if _is_wide(x):
        rows = u.unsqueeze(1)
        out = rows @ x if beta is None else torch.baddbmm(beta[:, None, None], rows, x)
        return out.squeeze(1)
    out = _zeros(x, x.shape[0], x.shape[2])
    for b, c, n in _blocks(x):
        out[b, n] += (u[b, None, c] @ _wide(x[b, c, n])).squeeze(1)
    return out if beta is None else out + beta[:, None]


def gate_forward(
    x: Tensor,
    p: Tensor,
    r: Tensor,
    u: Tensor | None,
    beta: Tensor | None,
    m: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`x ⊙ (p + r m)` in the dtype and strides of `x`, and `m` `[B, N]`.

    With `u` `[B, C]` and `β` `[B]`, `m = σ(u·x_n + β)`; without m, `x ⊙ p`.
    """
    if u is not None and beta is not None:
        m = dot(x, u, beta).sigmoid()
    out = torch.empty_like(x)
    for (b, c, n), memory in _blocks_with_memory(x, out):
        scale = _scale(_at(p, b, c), _at(r, b, c), m if m is None else _at(m, b, n), memory)
        if memory is None:
            wide = x * scale
            # A `to` that does nothing costs all gradients in the Dynamo of torch 2.11.
            return wide if wide.dtype == x.dtype else wide.to(x.dtype), m
        torch.mul(_at(x, b, c, n), scale, out=_at(out, b, c, n))
    return out, m


def gate_backward(
    x: Tensor,
    dout: Tensor,
    r: Tensor,
    m: Tensor | None,
    t: Tensor | None,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of `p`, `r` and `u`, as far as there are `needs`, and `dt` `[B, N]`.

    `dt` is that of the logits `u·x_n + β` of `m`; where these pass a softmax over the pixels
    first, `t` `[B, N]` is what it gives.
    """
    need_dp, need_dr, need_du = needs
    dp = torch.zeros_like(r) if need_dp else None
    dr = torch.zeros_like(r) if need_dr and m is not None else None
    dm = None if m is None else torch.zeros_like(m)
    for (b, c, n), memory in _blocks_with_memory(x):
        product = torch.mul(_wide(_at(x, b, c, n)), _at(dout, b, c, n), out=memory)
        if dp is not None:
            _at(dp, b, c).add_(product.sum(2))
        if dr is not None and m is not None:
            _at(dr, b, c).add_(_over_pixels(_at(m, b, n), product))
        if dm is not None:
            _at(dm, b, n).add_((_at(r, b, c).unsqueeze(1) @ product).squeeze(1))
    if dm is None or m is None:
        return dp, dr, None, None
    dt = torch.ops.aten.sigmoid_backward(dm, m)
    if t is not None:
        dt = _softmax_backward(t, dt)
    return dp, dr, _weighted_sum(x, dt) if need_du else None, dt


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
    """Gradients of `x`, in its dtype and strides, and of `w_q`: what came through both passes.

    `dx = dout ⊙ (p + r m) + dt u + q dg + dl w_q + dμ / N` with `dl_n = q_n (dg·x_n - dg·g)`.
    `query` is `w_q`, `dg`, and what `pool_forward` gave of it.
    """
    batch, _, pixels = x.shape
    left, right, dw_q = [u, dmean / pixels], [dt, torch.ones_like(dt)], None
    if query is not None:
        w_q, dg, _, q = query
        # Of dg·x_n as it is rounded: dg·g is its mean only in exact numbers, and dl adds up to 0.
        dl = _softmax_backward(q, dot(x, dg))
        dw_q = _weighted_sum(x, dl).sum(0)
        left, right = [*left, dg, w_q.expand(batch, -1)], [*right, q, dl]
    columns, rows = torch.stack(left, dim=2), torch.stack(right, dim=1)
    dx = torch.empty_like(x)
    for (b, c, n), memory in _blocks_with_memory(x, dx):
        scale, theirs = _scale(_at(p, b, c), _at(r, b, c), _at(m, b, n), memory), _at(dout, b, c, n)
        gated = scale * theirs if memory is None else scale.mul_(theirs)
        gated.baddbmm_(_at(columns, b, c), _at(rows, b, EVERYTHING, n))
        if memory is None or not _is_wide(dx):
            dx[b, c, n] = gated
    return dx, dw_q


def _blocks(x: Tensor) -> list[Block]:
    """Slices of images, channels and pixels that cover `x`, each contiguous where x is."""
    if torch.compiler.is_compiling():  # the compiler makes its own blocks, for any size
        return [(EVERYTHING, EVERYTHING, EVERYTHING)]
    batch, channels, pixels = x.shape
    size = block_size(x)
    images = _slices(batch, size // (channels * pixels))
    if x.stride(1) >= x.stride(2):  # NCHW
        return [(b, c, EVERYTHING) for b in images for c in _slices(channels, size // pixels)]
    return [(b, EVERYTHING, n) for b in images for n in _slices(pixels, size // channels)]


def block_size(x: Tensor) -> int:
    """Elements of a block on the device of `x`."""
    return CPU_BLOCK * torch.get_num_threads() if x.device.type == "cpu" else BLOCK


def _slices(length: int, step: int) -> list[slice]:
    if 0 < length <= step:
        return [EVERYTHING]
    return [slice(start, start + max(step, 1)) for start in range(0, length, max(step, 1))]


def _at(tensor: Tensor, *slices: slice) -> Tensor:
    """The tensor itself where that is all of it: on small maps, a call costs more than its work."""
    return tensor if all(each is EVERYTHING for each in slices) else tensor[slices]


def _blocks_with_memory(
    x: Tensor, out: Tensor | None = None
) -> Iterator[tuple[Block, Tensor | None]]:
    """Each block with wide memory of its shape: its own in `out`, or else the same for all.

    A compiler plans its own: it gets everything as one block, and None.
    """
    blocks = _blocks(x)
    if torch.compiler.is_compiling():
        yield blocks[0], None
    elif out is not None and _is_wide(out):
        yield from ((block, _at(out, *block)) for block in blocks)
    elif blocks:  # there are images
        scratch = torch.empty_like(_at(x, *blocks[0]), dtype=wide_dtype(x))
        for block in blocks:
            images, channels, pixels = _at(x, *block).shape
            yield block, scratch[:images, :channels, :pixels]


def _scale(p: Tensor, r: Tensor, m: Tensor | None, out: Tensor | None) -> Tensor:
    """`p + r m` of a block, made in `out`, if there is one, unless it is p alone."""
    p = p.unsqueeze(2)
    # Two steps: `addcmul` is not vectorized where all of its operands are expanded.
    return p if m is None else torch.mul(r.unsqueeze(2), m.unsqueeze(1), out=out).add_(p)


def _softmax_backward(q: Tensor, dq: Tensor) -> Tensor:
    """Of the logits whose softmax over the pixels is `q` `[B, N]`."""
    weighted = q * dq
    return torch.addcmul(weighted, q, weighted.sum(1, keepdim=True), value=-1)


def _mean(x: Tensor) -> Tensor:
    """`[B, C, N]` → `[B, C]`."""
    if _is_wide(x):
        return x.mean(2)
    total = _zeros(x, *x.shape[:2])
    for b, c, n in _blocks(x):
        total[b, c] += _wide(x[b, c, n]).sum(2)
    return total / x.shape[2]


def _weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    """`Σ_n weights_n x_n`: `[B, N]`, `[B, C, N]` → `[B, C]`."""
    if _is_wide(x):
        return _over_pixels(weights, x)
    out = _zeros(x, *x.shape[:2])
    for b, c, n in _blocks(x):
        out[b, c] += _over_pixels(weights[b, n], _wide(x[b, c, n]))
    return out


def _over_pixels(weights: Tensor, block: Tensor) -> Tensor:
    # A matrix times a column is six times slower than a row times its transpose (torch 2.13, CPU).
    return (weights.unsqueeze(1) @ block.mT).squeeze(1)


def exporting() -> bool:
    """Whether `torch.export` traces. In PyTorch 2.11, Dynamo has its own function always say so."""
    return torch.compiler._is_exporting_flag


def wide_dtype(x: Tensor) -> torch.dtype:
    """Of all sums over `x`: float32, or that of `x` if it is wider."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def autocast_off(x: Tensor) -> AbstractContextManager:
    """For what is computed from `x`. What is compiled may be run with autocast later."""
    if x.is_meta or not (torch.compiler.is_compiling() or is_autocasting(x)):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def is_autocasting(x: Tensor) -> bool:
    """Whether layers choose their dtypes themselves; the meta device has no autocast."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def _is_wide(x: Tensor) -> bool:
    return x.dtype == wide_dtype(x)


def _wide(x: Tensor) -> Tensor:
    return x.to(wide_dtype(x))


def _zeros(x: Tensor, *shape: int) -> Tensor:
    return x.new_zeros(shape, dtype=wide_dtype(x))
