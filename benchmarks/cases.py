"""What is compared: one registry of attentions, each `[B, C, H, W]` → `[B, C, H, W]`."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from mmcv.cnn import NonLocal2d
from mmcv.cnn.bricks import ContextBlock
from mmseg.models.utils import SELayer
from torch import Tensor, nn

from psa_seg import PolarizedSelfAttention
from psa_seg.ops.implementation import VARIABLE


class Case(NamedTuple):
    """One line of a figure."""

    build: Callable[[int], nn.Module]  # of the number of channels
    compiled: bool = False  # by torch.compile
    implementation: str = ""  # PSA_SEG_IMPL while it runs
    is_psa: bool = False  # then it is compared with the textbook

    def ready(self, channels: int) -> nn.Module:
        """The module on the CPU, compiled if it is to be."""
        module = self.build(channels)
        if self.compiled:
            module.compile()
        return module

    @contextlib.contextmanager
    def chosen(self) -> Iterator[None]:
        """For as long as the case runs."""
        before = os.environ.get(VARIABLE, "")
        os.environ[VARIABLE] = self.implementation
        try:
            yield
        finally:
            os.environ[VARIABLE] = before


class CBAM(nn.Module):
    """Convolutional Block Attention Module (Woo et al. 2018, arXiv 1807.06521, eqs. 2 and 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 16, 1)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, channels, 1)
        )
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Channel gate, then spatial gate, from averages and maxima."""
        pooled = (x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True))
        x = x * sum(self.mlp(p) for p in pooled).sigmoid()
        stacked = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), dim=1)
        return x * self.conv(stacked).sigmoid()


class Copy(nn.Module):
    """The floor of anything that reads a map and writes one: 2X."""

    def forward(self, x: Tensor) -> Tensor:
        """A copy of `x`."""
        return x.clone()


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
    REFERENCE: Case(SELayer),
    "SE, compiled": Case(SELayer, compiled=True),
    "CBAM": Case(CBAM),
    "GC": Case(lambda channels: ContextBlock(channels, ratio=1 / 16)),
    "Non-local": Case(lambda channels: NonLocal2d(channels, mode="embedded_gaussian")),
}
