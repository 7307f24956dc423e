"""Dilated convolutions in groups, in bfloat16 on a CPU, computed another way.

oneDNN's (3.12, in PyTorch 2.13) read memory that is not theirs when they differentiate by the
weight: from some size of the map on the gradient is wrong, infinite, or the end of the process.
The depthwise ones are slow, too: on a map that was padded beforehand the same takes a fraction.
"""

from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Pair = tuple[int, int]


def mend_dilated(model: nn.Module) -> None:
    """Have `model` compute its dilated convolutions in groups as this module does.

    Under bfloat16 autocast on a CPU, that is; elsewhere nothing changes. Depthwise ones are in
    bfloat16; those of wider groups, of a stride, or padded otherwise than with a number of zeros
    in float32; layers with a way of their own keep it. Called again, it finds what has been added.
    """
    for conv in model.modules():
        if (
            isinstance(conv, nn.Conv2d)
            and conv.groups > 1
            and max(conv.dilation) > 1
            and getattr(conv._conv_forward, "__func__", None) is nn.Conv2d._conv_forward
        ):
            conv._conv_forward = partial(_forward, conv)  # type: ignore[method-assign]


def _forward(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if x.dim() == 3:
        return _forward(conv, x[None], weight, bias)[0]
    if not torch.is_autocast_enabled("cpu") or x.dtype == torch.float64:  # which autocast leaves
        return nn.Conv2d._conv_forward(conv, x, weight, bias)
    if (
        not conv.in_channels == conv.out_channels == conv.groups
        or max(conv.stride) > 1
        or conv.padding_mode != "zeros"
        or isinstance(conv.padding, str)
    ):
        with torch.autocast("cpu", enabled=False):
            bias = None if bias is None else bias.float()
            return nn.Conv2d._conv_forward(conv, x.float(), weight.float(), bias)
    y = _Depthwise.apply(x.bfloat16(), weight, conv.padding, conv.dilation)
    return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)


class _Depthwise(torch.autograd.Function):
    """Of stride 1; the weight is float32, and its gradient, too, is summed in it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: Pair, dilation: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.dilation = padding, dilation
        return _convolve(x, weight, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x = for_weight = None
        if ctx.needs_input_grad[0]:  # each tap's way back: the turned kernel over the full map
            sizes = zip(weight.shape[2:], ctx.padding, ctx.dilation, strict=True)
            rows, columns = ((size - 1) * d - p for size, p, d in sizes)
            for_x = _convolve(grad, weight.flip(2, 3), (rows, columns), ctx.dilation)
        if ctx.needs_input_grad[1]:
            for_weight = _by_weight(x.float(), grad.float(), weight, ctx.padding, ctx.dilation)
        return for_x, for_weight, None, None


def _convolve(x: Tensor, weight: Tensor, padding: Pair, dilation: Pair) -> Tensor:
    """On a padded map, and without the taps that lie outside wherever the kernel stands."""
    sides = []
    for axis, p, d in zip((3, 2), padding[::-1], dilation[::-1], strict=True):
        last, size = weight.shape[axis] - 1, x.shape[axis]
        inside = [i for i in range(last + 1) if d * last - size - 2 * p < i * d - p < size]
        first, end = (inside[0], inside[-1]) if inside else (0, last)
        weight = weight.narrow(axis, first, end - first + 1)
        sides += [p - first * d, p - (last - end) * d]
    return F.conv2d(F.pad(x, sides), weight.to(x.dtype), dilation=dilation, groups=len(weight))


def _by_weight(x: Tensor, grad: Tensor, weight: Tensor, padding: Pair, dilation: Pair) -> Tensor:
    """Of each tap, the sum over all that it met, times what came of it."""
    result = torch.empty_like(weight)
    for i, j in product(*map(range, weight.shape[2:])):
        rows, met_rows = _meeting(i * dilation[0] - padding[0], grad.shape[2], x.shape[2])
        columns, met_columns = _meeting(j * dilation[1] - padding[1], grad.shape[3], x.shape[3])
        terms = grad[:, :, rows, columns] * x[:, :, met_rows, met_columns]
        result[:, 0, i, j] = terms.sum((0, 2, 3))
    return result


def _meeting(offset: int, outputs: int, inputs: int) -> tuple[slice, slice]:
    """Along one axis: where a tap lies inside the map, as outputs and as inputs."""
    start = max(0, -offset)
    stop = max(start, min(outputs, inputs - offset))
    return slice(start, stop), slice(start + offset, stop + offset)
