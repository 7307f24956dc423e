"""Both passes over x and their gradients in plain PyTorch: on CPUs, and wherever Triton is not.

Five functions of `x` `[B, C, N]`, any strides and float dtype; `psa_seg.ops.fused` has the same
five. They know nothing of autograd: `psa_seg.ops.pool` and `psa_seg.ops.gate` do. Vectors are
`[B, C]` or `[B, N]` in the wide dtype: float32, or that of `x` if it is wider.

Sums over x are matrix products, which read it as it is. The rest goes block by block, in one
block's scratch memory: what one line makes, the next finds in the cache. A temporary of the size of
x is never allocated: its pages alone cost a CPU more than all the arithmetic here.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

Block = tuple[slice, slice, slice]

CPU_BLOCK = 2**18  # elements a thread: 1 MiB; smaller ones wait for the interpreter
BLOCK = 2**25  # elements on any other device: 128 MiB


def pool_forward(
    x: Tensor, w_q: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor] | None]:
    """`μ = mean_n x_n`; given `w_q` `[C]`, of the query `q = softmax(w_q·x_n)` `g = Σ_n q_n x_n`,
    the logits `[B, N]`, and `[B, 2]` the largest of them and the sum of `exp(logit - largest)`.
    """
    batch, channels, pixels = x.shape
    total, logits = _zeros(x, batch, channels), _zeros(x, batch, pixels)
    for (b, c, n), block in _wide_blocks(x):
        total[b, c] += block.sum(2)
        if w_q is not None:
            logits[b, n] += _over_channels(w_q.expand(batch, -1)[b, c], block)
    mean = total / pixels
    if w_q is None:
        return mean, None
    largest = logits.amax(1, keepdim=True)
    norm = torch.cat((largest, (logits - largest).exp().sum(1, keepdim=True)), dim=1)
    return mean, (_weighted_sum(x, _query(logits, norm)), logits, norm)


def dot(x: Tensor, u: Tensor) -> Tensor:
    """`u·x_n` of every pixel: `u` `[B, C]` → `[B, N]`."""
    out = _zeros(x, x.shape[0], x.shape[2])
    for (b, c, n), block in _wide_blocks(x):
        out[b, n] += _over_channels(u[b, c], block)
    return out


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
        m = (dot(x, u) + beta[:, None]).sigmoid()
    out = torch.empty_like(x)
    for (b, c, n), scratch in _blocks_with_scratch(x):
        scale = _scale(p[b, c], r[b, c], m if m is None else m[b, n], scratch)
        if scratch is None:
            wide = x * scale
            # A `to` that does nothing costs all gradients in the Dynamo of torch 2.11.
            return wide if wide.dtype == x.dtype else wide.to(x.dtype), m
        torch.mul(x[b, c, n], scale, out=out[b, c, n])
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
    for (b, c, n), scratch in _blocks_with_scratch(x):
        product = torch.mul(_wide(x[b, c, n]), dout[b, c, n], out=scratch)
        if dp is not None:
            dp[b, c] += product.sum(2)
        if dr is not None and m is not None:
            dr[b, c] += _over_pixels(m[b, n], product)
        if dm is not None:
            dm[b, n] += _over_channels(r[b, c], product)
    if dm is None or m is None:
        return dp, dr, None, None
    dt = dm * m * (1 - m)
    if t is not None:
        dt = t * (dt - (t * dt).sum(1, keepdim=True))
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
    query: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of `x`, in its dtype and strides, and of `w_q`: what came through both passes.

    `dx = dout ⊙ (p + r m) + dt u + q dg + dl w_q + dμ / N` with `dl_n = q_n (dg·x_n - dg·g)`.
    `query` is `w_q`, `dg`, and what `pool_forward` gave of it.
    """
    batch, _, pixels = x.shape
    left, right, dw_q = [u, dmean / pixels], [dt, torch.ones_like(dt)], None
    if query is not None:
        w_q, dg, _, logits, norm = query
        q, dq = _query(logits, norm), dot(x, dg)
        # Of dq as it is rounded: dg·g is its mean only in exact numbers, and dl adds up to 0.
        dl = q * (dq - (q * dq).sum(1, keepdim=True))
        dw_q = _weighted_sum(x, dl).sum(0)
        left, right = [*left, dg, w_q.expand(batch, -1)], [*right, q, dl]
    columns, rows = torch.stack(left, dim=2), torch.stack(right, dim=1)
    dx = torch.empty_like(x)
    for (b, c, n), scratch in _blocks_with_scratch(x):
        gated = _scale(p[b, c], r[b, c], m[b, n], scratch).mul_(dout[b, c, n])
        dx[b, c, n] = gated.baddbmm_(columns[b, c], rows[b, :, n])
    return dx, dw_q


def _blocks(x: Tensor) -> list[Block]:
    """Slices of images, channels and pixels that cover `x`, each contiguous where x is."""
    everything = slice(None)
    if torch.compiler.is_compiling():  # the compiler makes its own blocks, for any size
        return [(everything, everything, everything)]
    batch, channels, pixels = x.shape
    size = block_size(x)
    images = _slices(batch, size // (channels * pixels))
    if x.stride(1) >= x.stride(2):  # NCHW
        return [(b, c, everything) for b in images for c in _slices(channels, size // pixels)]
    return [(b, everything, n) for b in images for n in _slices(pixels, size // channels)]


def block_size(x: Tensor) -> int:
    """Elements of a block on the device of `x`."""
    return CPU_BLOCK * torch.get_num_threads() if x.device.type == "cpu" else BLOCK


def _wide_blocks(x: Tensor) -> Iterator[tuple[Block, Tensor]]:
    """Blocks in the wide dtype, to read; x as it is, if it is wide."""
    if x.dtype == wide_dtype(x):
        yield (slice(None),) * 3, x
    else:
        for block in _blocks(x):
            yield block, _wide(x[block])


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, start + max(step, 1)) for start in range(0, length, max(step, 1))]


def _blocks_with_scratch(x: Tensor) -> Iterator[tuple[Block, Tensor | None]]:
    """Each block with wide memory of its shape, the same for all.

    A compiler plans its own: it gets everything as one block, and None.
    """
    blocks = _blocks(x)
    if not blocks:  # no images
        return
    if torch.compiler.is_compiling():
        yield blocks[0], None
        return
    scratch = torch.empty_like(x[blocks[0]], dtype=wide_dtype(x))
    for block in blocks:
        images, channels, pixels = x[block].shape
        yield block, scratch[:images, :channels, :pixels]


def _scale(p: Tensor, r: Tensor, m: Tensor | None, out: Tensor | None) -> Tensor:
    """`p + r m` of a block, made in `out`, if there is one, unless it is p alone."""
    p = p[:, :, None]
    return p if m is None else torch.addcmul(p, r[:, :, None], m[:, None], out=out)


def _query(logits: Tensor, norm: Tensor) -> Tensor:
    """The softmax of `logits`; through their logsumexp it would lose the digits that that has."""
    return (logits - norm[:, :1]).exp() / norm[:, 1:]


def _weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    """`Σ_n weights_n x_n`: `[B, N]`, `[B, C, N]` → `[B, C]`."""
    out = _zeros(x, *x.shape[:2])
    for (b, c, n), block in _wide_blocks(x):
        out[b, c] += _over_pixels(weights[b, n], block)
    return out


# A matrix times a column is six times slower than a row times its transpose (torch 2.13, CPU).
def _over_channels(weights: Tensor, block: Tensor) -> Tensor:
    return (weights.unsqueeze(1) @ block).squeeze(1)


def _over_pixels(weights: Tensor, block: Tensor) -> Tensor:
    return (weights.unsqueeze(1) @ block.transpose(1, 2)).squeeze(1)


def wide_dtype(x: Tensor) -> torch.dtype:
    """Of all sums over `x`: float32, or that of `x` if it is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def autocast_off(x: Tensor) -> AbstractContextManager:
    """For what is computed from `x`. On the meta device there is no autocast to turn off."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def _wide(x: Tensor) -> Tensor:
    return x.to(wide_dtype(x))


def _zeros(x: Tensor, *shape: int) -> Tensor:
    return x.new_zeros(shape, dtype=wide_dtype(x))
