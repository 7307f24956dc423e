"""The spatial logits of the released `PSA_s`, whose softmax stands between projection and sum.

`t_n = Σ_i q_i softmax_n(w_i·x_n)`: a softmax over the pixels for each of I value channels, so here
the sum cannot go first. The values `[B, I, N]` are made a block of pixels at a time (`block_size`
elements), instead of being kept: twice forward, C·I·N multiply-adds each time, and twice backward.
Under `torch.compile` all of them are one block. Of bfloat16 maps on a GPU the factors of a product
are bfloat16, for the matrix units, and its sums float32. Not so of float16: small gradients would
be zero.
Source: class `PSA_s` of github.com/DeLightCMU/PSA.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from psa_seg.ops.eager import autocast_off, block_size, wide_dtype
from psa_seg.ops.passes import refuse_to_be_differentiated_twice


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
        with autocast_off(x):
            largest = torch.full_like(query, float("-inf"))
            mass = torch.zeros_like(query)
            factor = _factor(weight, x)
            for _, pixels in _blocks(x, weight):
                values = _product(factor, pixels)
                before, largest = largest, torch.maximum(largest, values.amax(2))
                mass = mass * (before - largest).exp() + _exp(values, largest).sum(2)
            share = (query / mass).unsqueeze(1)  # [B, 1, I]
            t = [
                share @ _exp(_product(factor, pixels), largest) for _, pixels in _blocks(x, weight)
            ]
        ctx.save_for_backward(x, weight, query, largest, mass)
        return torch.cat(t, dim=2).squeeze(1)

    @staticmethod
    def backward(ctx: Any, dt: Tensor) -> Any:
        # With θ the softmax: dq_i = Σ_n θ_in dt_n, and dv_in = q_i θ_in (dt_n - dq_i).
        refuse_to_be_differentiated_twice()
        x, weight, query, largest, mass = ctx.saved_tensors
        with autocast_off(x):
            dquery, dweight = torch.zeros_like(query), torch.zeros_like(weight)
            factor = _factor(weight, x)
            for n, pixels in _blocks(x, weight):
                dquery += (_exp(_product(factor, pixels), largest) @ dt[:, n, None]).squeeze(2)
            dquery /= mass
            dx = torch.empty_like(x)
            for n, pixels in _blocks(x, weight):
                dvalues = _exp(_product(factor, pixels), largest) * (query / mass)[:, :, None]
                dvalues *= dt[:, None, n] - dquery[:, :, None]
                dvalues = _factor(dvalues, x)
                dx[:, :, n] = _product(factor.mT, dvalues)
                dweight += _product(dvalues, pixels.mT)
        return dx, dweight, dquery


def _blocks(x: Tensor, weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Runs of pixels whose values fit into a block, and those pixels as factors of a product."""
    if torch.compiler.is_compiling():  # for any size
        yield slice(None), _factor(x, x)
        return
    batch, _, pixels = x.shape
    step = max(1, block_size(x) // max(1, batch * max(weight.shape[1:])))
    for start in range(0, pixels, step):
        n = slice(start, start + step)
        yield n, _factor(x[:, :, n], x)


def _factor(tensor: Tensor, x: Tensor) -> Tensor:
    """`tensor` as it is multiplied: in the wide dtype of `x`, or for the units of a GPU."""
    return tensor.to(torch.bfloat16 if _has_units(x) else wide_dtype(x))


def _has_units(x: Tensor) -> bool:
    """An exported program is of PyTorch's own operators: it runs anywhere."""
    return x.is_cuda and x.dtype == torch.bfloat16 and not torch.compiler.is_exporting()


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


def _exp(values: Tensor, largest: Tensor) -> Tensor:
    return (values - largest[:, :, None]).exp()
