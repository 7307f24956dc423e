"""Mixed precision without a GPU: bfloat16 on a processor that computes in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn

from psa_seg.engine.dilated import mend_dilated
from psa_seg.registry import name_of

# Names of units for bfloat16 in `torch.cpu.get_capabilities`: x86-64 and ARM.
UNITS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def has_bfloat16() -> bool:
    """Whether this processor has units for bfloat16; without them it is slower than float32."""
    found = torch.cpu.get_capabilities()
    return any(found.get(unit) for unit in UNITS)


def precision(config: Config) -> str:
    """What a config's wrapper computes in, by its dtype or by default."""
    defaults = {"CPUAmpOptimWrapper": "bfloat16", "AmpOptimWrapper": "float16"}
    wrapper = config.optim_wrapper
    return wrapper.get("dtype") or defaults.get(name_of(wrapper.get("type")), "float32")


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """`OptimWrapper` under bfloat16 autocast on a CPU; `AmpOptimWrapper` asserts a GPU.

    Weights, gradients and statistics stay in float32. bfloat16 has float32's range: no loss is
    scaled.

    Args:
        dtype: `bfloat16`, and no other.
        **kwargs: as for `OptimWrapper`.

    Raises:
        ValueError: for another dtype.
    """

    def __init__(self, dtype: str = "bfloat16", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if dtype != "bfloat16":
            raise ValueError(f"on a CPU, autocast is in bfloat16, not in {dtype}")

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward and loss of one pass."""
        mend_dilated(model)
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield
