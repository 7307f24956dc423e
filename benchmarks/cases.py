"""What is compared: one registry of attentions, each `[B, C, H, W]` → `[B, C, H, W]`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from psa_seg.attention import CBAM, PolarizedSelfAttention
from psa_seg.models import GlobalContext, NonLocal, SqueezeExcitation
from psa_seg.ops import implementation


class Case(NamedTuple):
    """One line of a figure."""

    build: Callable[[int], nn.Module]  # of the number of channels
    compiled: bool = False  # by torch.compile
    implementation: str | None = None  # that runs; None for what suits the device
    is_psa: bool = False  # then it is compared with the textbook

    def ready(self, channels: int) -> nn.Module:
        """The module on the CPU, compiled if it is to be."""
        module = self.build(channels)
        if self.compiled:
            module.compile()
        return module

    @property
    def textbook(self) -> "Case":
        """What the case is compared with."""
        return self._replace(compiled=False, implementation="naive")

    def chosen(self) -> AbstractContextManager:
        """For as long as the case runs."""
        return implementation(self.implementation)


class Copy(nn.Module):
    """The floor of anything that reads a map and writes one: 2X."""

    def forward(self, x: Tensor) -> Tensor:
        """A copy of `x`."""
        return x.clone()


PSA_P = partial(PolarizedSelfAttention, form="official")
PSA_S = partial(PolarizedSelfAttention, form="official", layout="sequential")
COPY = "copy"
TEXTBOOK = "textbook"
OURS = "ours"
REFERENCE = "SE"  # what times are multiples of
CASES = {
    COPY: Case(lambda channels: Copy()),
    TEXTBOOK: Case(PolarizedSelfAttention, implementation="naive", is_psa=True),
    "textbook, compiled": Case(
        PolarizedSelfAttention, compiled=True, implementation="naive", is_psa=True
    ),
    "cheap form, compiled": Case(
        PolarizedSelfAttention, compiled=True, implementation="eager", is_psa=True
    ),
    OURS: Case(PolarizedSelfAttention, is_psa=True),
    "PSA_p, textbook": Case(PSA_P, implementation="naive", is_psa=True),
    "PSA_p, ours": Case(PSA_P, is_psa=True),
    "PSA_s, textbook": Case(PSA_S, implementation="naive", is_psa=True),
    "PSA_s, ours": Case(PSA_S, is_psa=True),
    REFERENCE: Case(SqueezeExcitation),
    "SE, compiled": Case(SqueezeExcitation, compiled=True),
    "CBAM": Case(CBAM),
    "GC": Case(GlobalContext),
    "Non-local": Case(NonLocal),
}
