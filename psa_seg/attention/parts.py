"""Layers as parts of an attention: read where that is all there is to them, called where not.

People prune, quantize, adapt, watch and replace layers. Whatever they do acts when a layer is
called. To read its `weight` and `bias` instead does the same for a layer as PyTorch makes it, and
for no other.
"""

import itertools
import math
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from psa_seg.ops.eager import is_autocasting

Layer = TypeVar("Layer", bound=nn.Module)
Call = Callable[[nn.Module, Tensor], Tensor]
_told: weakref.WeakKeyDictionary[object, set[str]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def is_plain(part: nn.Module, kind: type[Layer]) -> TypeGuard[Layer]:
    """Whether `part` is exactly of this `kind`, and a call of it does no more than the kind does.

    Parametrizations act when the parameter is read. Hooks on all modules of the process do not
    count: PyTorch's own counter of FLOPs has them.
    """
    return (
        (type(part) is kind or type_before_parametrizations(part) is kind)
        and not (part._forward_pre_hooks or part._forward_hooks)
        and not (part._backward_pre_hooks or part._backward_hooks)
        and "forward" not in part.__dict__  # by which some libraries wrap a layer
    )


def is_pointwise(part: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether `part` is a plain 1x1 convolution: one linear function, of every pixel alike."""
    if not is_plain(part, nn.Conv2d):
        return False
    shape = part.kernel_size, part.stride, part.padding, part.groups
    return shape == ((1, 1), (1, 1), (0, 0), 1)


def matrix_and_bias(part: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Weight `[out, in]` and bias `[out]` of what `is_pointwise`."""
    weight, bias = part.weight, part.bias  # once each: a spectral norm iterates when it is read
    return weight.flatten(1).to(dtype), None if bias is None else bias.to(dtype)


def of_pixel(part: nn.Module, vector: Tensor, call: Call, is_map: bool = True) -> Tensor:
    """`part` of one pixel, `[B, in]` → `[B, out]`, in the dtype of `vector`: that of the sums.

    Plain parts are computed in this dtype, whatever their own; any other is called, with a map of
    one pixel `[B, in, 1, 1]`, or, unless it `is_map`, with the vector.
    """
    if is_pointwise(part):
        return F.linear(vector, *matrix_and_bias(part, vector.dtype))
    if is_plain(part, nn.Sequential):
        for inner in part:
            vector = of_pixel(inner, vector, call)
        return vector
    if is_plain(part, nn.LayerNorm) and math.prod(part.normalized_shape) == vector.shape[1]:
        dtype, size = vector.dtype, vector.shape[1:]
        weight = None if part.weight is None else part.weight.flatten().to(dtype)
        bias = None if part.bias is None else part.bias.flatten().to(dtype)
        return F.layer_norm(vector, size, weight, bias, part.eps)
    given = vector[:, :, None, None] if is_map else vector
    return call(part, given).flatten(1).to(vector.dtype)


def calling(x: Tensor) -> Call:
    """Calls of parts as autocast, or its absence, has it now, for what is computed without it.

    With autocast, layers choose their dtypes themselves; without, each is given its own.
    """
    if not is_autocasting(x):
        return lambda part, given: part(given.to(_own_dtype(part, given.dtype)))

    def call(part: nn.Module, given: Tensor) -> Tensor:
        with torch.autocast(x.device.type):  # in the dtype of that around it
            return part(given)

    return call


def _own_dtype(part: nn.Module, default: torch.dtype) -> torch.dtype:
    # The copies that DataParallel makes have no parameters, but attributes of their names.
    attributes = (getattr(module, "weight", None) for module in part.modules())
    for tensor in itertools.chain(part.parameters(), attributes):
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            return tensor.dtype
    return default


def tell(module: nn.Module, text: str) -> None:
    """Warn once a run: not for each attention of a network, nor in each of its processes.

    A run ends with its network: the next one is told again, unless DataParallel copied it.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_rank():
        return
    # A copy of DataParallel's lives for one step, in a thread of its own.
    key = type(module) if getattr(module, "_is_replica", False) else module
    with _lock:
        new = not any(text in texts for texts in _told.values())
        _told.setdefault(key, set()).add(text)
    if new:
        warnings.warn(text, stacklevel=2)
