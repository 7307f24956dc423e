"""The spatial logits of the released `PSA_s`, whose softmax stands between projection and sum.

`t_n = Σ_i q_i softmax_n(w_i·x_n)`: a softmax over the pixels for each of I value channels, so here
the sum cannot go first. The values `[B, I, N]`, of C·I·N multiply-adds, are made image by image,
once forward and once backward, and kept no longer than that; an image that has more of them than
`KEPT`, and than a block (`block_size`), makes a block of pixels' at a time, twice each way. Under
`torch.compile` all of them are one block. Of bfloat16 maps on a GPU the factors of a product are
bfloat16, for the matrix units, and its sums float32. Not so of float16: small gradients would be
zero.
Source: class `PSA_s` of github.com/DeLightCMU/PSA.
"""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from psa_seg.ops.eager import autocast_off, block_size, exporting, wide_dtype
from psa_seg.ops.passes import refuse_to_be_differentiated_twice

KEPT = 2**24  # values of an image: 64 MiB


def value_logits(x: Tensor, weight: Tensor, query: Tensor) -> Tensor:
    """`t_n = Σ_i q_i softmax_n(w_i·x_n)` of every pixel.

    Args:
        x: feature map `[B, C, H, W]`, any float dtype.
        weight: of the value channels, `[B, I, C]` in the wide dtype, float32 at least: in the
            sequential layout it holds the channel gate, another for each image.
        query: `[B, I]`, likewise.

    Returns:
        `[B, N]` in the wide dtype.
    """
    return _ValueLogits.apply(x.flatten(2), weight, query)


class _ValueLogits(torch.autograd.Function):
    """Keeps x, its arguments, and of each value channel the largest and the sum of its softmax."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, query: Tensor) -> Tensor:
        largest, mass = torch.full_like(query, float("-inf")), torch.zeros_like(query)
        t = query.new_empty(x.shape[0], x.shape[2])
        with autocast_off(x):
            for b, runs in _runs(x, weight):
                make = functools.partial(_values, x[b], _factor(weight[b], x))
                for n in runs:
                    values = make(n)
                    before, most = largest[b], torch.maximum(largest[b], values.amax(2))
                    exps = _exp(values, most)
                    mass[b] = mass[b] * (before - most).exp() + exps.sum(2)
                    largest[b] = most
                share = (query[b] / mass[b]).unsqueeze(1)  # [b, 1, I]
                for n in runs:
                    exps = exps if len(runs) == 1 else _exp(make(n), most)
                    t[b, n] = (share @ exps).squeeze(1)
        ctx.save_for_backward(x, weight, query, largest, mass)
        return t

    @staticmethod
    def backward(ctx: Any, dt: Tensor) -> Any:
        # With θ the softmax: dq_i = Σ_n θ_in dt_n, and dv_in = q_i θ_in (dt_n - dq_i). What of it
        # has no n goes to the small matrices.
        refuse_to_be_differentiated_twice()
        x, weight, query, largest, mass = ctx.saved_tensors
        dx, dquery, dweight = torch.empty_like(x), torch.zeros_like(query), torch.zeros_like(weight)
        with autocast_off(x):
            for b, runs in _runs(x, weight):
                make = functools.partial(_values, x[b], _factor(weight[b], x))
                for n in runs:
                    exps = _exp(make(n), largest[b])
                    dquery[b] += (dt[b, None, n] @ exps.mT).squeeze(1)
                dquery[b] /= mass[b]
                share = (query[b] / mass[b]).unsqueeze(2)  # [b, I, 1]
                factor = _factor(weight[b] * share, x).mT
                for n in runs:
                    exps = exps if len(runs) == 1 else _exp(make(n), largest[b])
                    dvalues = _factor(exps.mul_(dt[b, None, n] - dquery[b, :, None]), x)
                    if dx.dtype == dvalues.dtype and not torch.compiler.is_compiling():
                        torch.bmm(factor, dvalues, out=dx[b, :, n])  # without a copy
                    else:
                        dx[b, :, n] = _product(factor, dvalues)
                    dweight[b] += share * _product(dvalues, _factor(x[b, :, n], x).mT)
        return dx, dweight, dquery


def _runs(x: Tensor, weight: Tensor) -> Iterator[tuple[slice, list[slice]]]:
    """Images, and the runs of their pixels whose values are made at a time: one, where all are."""
    images, inner, channels = weight.shape
    pixels = x.shape[2]
    everything = [slice(None)]
    if torch.compiler.is_compiling():  # for any size
        yield slice(None), everything
        return
    size, values = block_size(x), max(1, inner * pixels)
    step = max(1, size // max(inner, channels))
    runs = [slice(n, n + step) for n in range(0, pixels, step)]
    together = max(1, size // values)
    for b in range(0, images, together):
        yield slice(b, b + together), everything if values <= max(KEPT, size) else runs


def _values(x: Tensor, factor: Tensor, n: slice) -> Tensor:
    return _product(factor, _factor(x[:, :, n], x))


def _exp(values: Tensor, largest: Tensor) -> Tensor:
    """`exp(v - largest)`, in their memory."""
    return values.sub_(largest[:, :, None]).exp_()


def _factor(tensor: Tensor, x: Tensor) -> Tensor:
    """`tensor` as it is multiplied: in the wide dtype of `x`, or for the units of a GPU."""
    return tensor.to(torch.bfloat16 if _has_units(x) else wide_dtype(x))


def _has_units(x: Tensor) -> bool:
    """An exported program is of PyTorch's own operators: it runs anywhere."""
    return x.is_cuda and x.dtype == torch.bfloat16 and not exporting()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` of every image, in float32 at least."""
    return _wide_product(a, b) if a.dtype == torch.bfloat16 else a @ b


# An operator, because PyTorch's counter of FLOPs stops at a `bmm` with `out_dtype`.
@torch.library.custom_op("psa_seg::wide_product", mutates_args=())
def _wide_product(a: Tensor, b: Tensor) -> Tensor:
    if a.is_cuda:
        return torch.bmm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()


@_wide_product.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((*a.shape[:2], b.shape[2]), dtype=torch.float32)


@register_flop_formula(torch.ops.psa_seg.wide_product)
def _(a: torch.Size, b: torch.Size, **_: object) -> int:
    return 2 * a.numel() * b[2]
