"""Which code runs: `PSA_SEG_IMPL=naive|eager|triton`, or, without it, what suits the tensor.

`naive` is the textbook (`psa_seg.ops.naive`), `eager` plain PyTorch on any device, `triton` the
fused kernels: they need a GPU, or `TRITON_INTERPRET=1`, which runs them on a CPU, slowly.
"""

import importlib.util
import os
from types import ModuleType

import torch
from torch import Tensor

from psa_seg.ops import eager

VARIABLE = "PSA_SEG_IMPL"
IMPLEMENTATIONS = ("naive", "eager", "triton")
TRITON = importlib.util.find_spec("triton") is not None
FUSED_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
FUSED_CHANNELS = 4096  # the kernels hold a tile of all channels in registers


def requested() -> str | None:
    """What `PSA_SEG_IMPL` says; None if it is unset or empty.

    Raises:
        ValueError: for any other word than the three.
    """
    name = os.environ.get(VARIABLE) or None
    if name not in (None, *IMPLEMENTATIONS):
        raise ValueError(f"{VARIABLE} must be one of {', '.join(IMPLEMENTATIONS)}, not {name!r}")
    return name


def passes(x: Tensor, impl: str | None = None) -> ModuleType:
    """The module with the four passes over `x`: `impl`, else what is requested, else what suits.

    Raises:
        ValueError: where the Triton kernels are asked for and cannot run.
    """
    name = impl or requested()
    if x.shape[0] == 0:
        return eager  # no images, no program to launch
    if name == "triton":
        if obstacle := _obstacle(x):
            raise ValueError(f"the Triton kernels cannot run: {obstacle}. Leave {VARIABLE} unset")
    elif name is not None or torch.compiler.is_exporting() or not x.is_cuda or _obstacle(x):
        return eager  # an exported program is of PyTorch's own operators: it runs anywhere
    from psa_seg.ops import fused  # only here: Triton may be missing

    return fused


def _obstacle(x: Tensor) -> str | None:
    if not TRITON:
        return "the package triton is not installed"
    if not x.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        return f"the tensor is on {x.device}, not on a GPU"
    if x.dtype not in FUSED_DTYPES:
        return f"they do not know {x.dtype}"
    if x.shape[1] > FUSED_CHANNELS:
        return f"{x.shape[1]} channels are more than {FUSED_CHANNELS}"
    if x.shape[1:].numel() >= 2**31:
        return "an image has 2^31 elements or more"
    return None
