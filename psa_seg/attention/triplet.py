"""Triplet attention: three gates, each from the map seen along one of its three dimensions.

Paper: Misra et al., "Rotate to Attend: Convolutional Triplet Attention Module", 2020,
arXiv 2010.03045. Official code consulted: github.com/landskape-ai/triplet-attention. Differs in
form only: the map is pooled where it lies instead of being rotated, and the gates are added before
they multiply it, not after. The kernel over channels and rows is therefore the transpose of the
official one.

Its BatchNorms see one number per pixel of a gate: in training, the batch must have two at least.
"""

from typing import Any

import torch
from torch import Tensor, nn

from psa_seg.attention.base import Attention, Device


class TripletAttention(Attention):
    """`[B, C, H, W]` → `[B, C, H, W]`, 300 parameters whatever C is.

    Args:
        in_channels: C.
        kernel_size: of the gates' convolutions, odd.
        device: of the parameters, as of PyTorch's layers.
        dtype: of the parameters.

    Raises:
        ValueError: for an even `kernel_size`; in `forward`, as `Attention`, and for a single image
            of 1x1 pixels in training.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 7,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        factory: Any = {"device": device, "dtype": dtype}
        super().__init__(in_channels, kernel_size=kernel_size)
        self.gates = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False, **factory),
                nn.BatchNorm2d(1, momentum=0.01, **factory),
            )
            for _ in range(3)
        )

    def attend(self, x: Tensor) -> Tensor:
        """The mean of the map under each of the three gates."""
        gates = []
        for dim, gate in enumerate(self.gates, start=1):
            pooled = torch.stack([x.amax(dim), x.mean(dim)], dim=1)  # [B, 2, H, W] for channels
            gates.append(gate(pooled).sigmoid().squeeze(1).unsqueeze(dim))  # [B, 1, H, W]
        return x * (sum(gates) / 3)
