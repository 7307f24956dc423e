"""Which code runs: what `pool` and `gate` are told, else what is chosen, else what suits x.

`naive` is the textbook (`psa_seg.ops.naive`), `eager` plain PyTorch on any device, `triton` the
fused kernels: they need a GPU, or `TRITON_INTERPRET=1`, which runs them on a CPU, slowly.
`with implementation("naive"):` chooses; `PSA_SEG_IMPL=naive|eager|triton`, read once when this is
imported, is the choice outside of any.
"""

import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor

from psa_seg.ops import eager

VARIABLE = "PSA_SEG_IMPL"
IMPLEMENTATIONS = ("naive", "eager", "triton")
TRITON = importlib.util.find_spec("triton") is not None
FUSED_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
FUSED_CHANNELS = 4096  # the kernels hold a tile of all channels in registers
FUSED_IMAGES = 65535  # the programs of a grid's second axis
no_launcher = ""  # why Triton cannot launch here, once `prepare` has tried
# A global, for Dynamo guards it, and the threads of DataParallel see it.
_chosen = os.environ.get(VARIABLE) or None


def chosen() -> str | None:
    """What is chosen; None leaves it to the tensor.

    Raises:
        ValueError: where `PSA_SEG_IMPL` says any other word than the three.
    """
    return _known(_chosen, VARIABLE)


@contextmanager
def implementation(name: str | None) -> Iterator[None]:
    """Within it, `name` runs: `naive`, `eager`, `triton`; None for what suits each tensor.

    For all threads of the process: enter it in one of them. What is compiled compiles anew for
    another choice; backward passes belong to the choice of their forward pass.

    Raises:
        ValueError: for any other word.
    """
    global _chosen
    before, _chosen = _chosen, _known(name)
    try:
        yield
    finally:
        _chosen = before


def interpreted() -> bool:
    """Whether Triton runs kernels on a CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def prepare() -> None:
    """Before any compiler looks: is the choice known, and can Triton launch kernels here?

    It builds its launcher with a C compiler, which a machine need not have: then plain PyTorch
    runs instead, after a warning.

    Raises:
        ValueError: as `chosen`.
    """
    global no_launcher
    chosen()
    if no_launcher or interpreted() or not TRITON or not torch.cuda.is_available():
        return
    try:
        _build_launcher()
    except Exception as error:  # Triton, the compiler and the linker have no common class
        no_launcher = f"it cannot build its launcher ({str(error).strip().splitlines()[-1]})"
        warnings.warn(f"Triton kernels are not used: {no_launcher}", stacklevel=2)


def passes(x: Tensor, impl: str | None = None) -> ModuleType:
    """The module with the passes over `x`: `impl`, else what is chosen, else what suits.

    Raises:
        ValueError: for an unknown name, or where the Triton kernels are asked for and cannot run.
    """
    name = _known(impl) or chosen()
    if x.shape[0] == 0:
        return eager  # no images, no program to launch
    if name == "triton":
        if obstacle := _obstacle(x):
            raise ValueError(f"the Triton kernels cannot run: {obstacle}; take 'eager'")
    elif name or eager.exporting() or not x.is_cuda or no_launcher or _obstacle(x):
        return eager  # an exported program is of PyTorch's own operators: it runs anywhere
    from psa_seg.ops import fused  # only here: Triton may be missing

    return fused


def _known(name: str | None, what: str = "an implementation") -> str | None:
    if name not in (None, *IMPLEMENTATIONS):
        raise ValueError(f"{what} must be one of {', '.join(IMPLEMENTATIONS)}, not {name!r}")
    return name


def _build_launcher() -> None:
    import triton

    _ = triton.runtime.driver.active.utils  # compiled when first looked at


def _obstacle(x: Tensor) -> str | None:
    batch, channels, *_ = x.shape
    if not TRITON:
        return "the package triton is not installed"
    if not x.is_cuda and not interpreted():
        return f"the tensor is on {x.device}, not on a GPU"
    if x.dtype not in FUSED_DTYPES:
        return f"they do not know {x.dtype}"
    if channels > FUSED_CHANNELS:
        return f"{channels} channels are more than {FUSED_CHANNELS}"
    if batch > FUSED_IMAGES:
        return f"{batch} images are more than {FUSED_IMAGES}"
    if x.shape[1:].numel() >= 2**31:
        return "an image has 2^31 elements or more"
    return None
