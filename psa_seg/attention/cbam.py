"""CBAM: a gate by channel, then a gate by pixel, both from averages and maxima.

Paper: Woo et al., "CBAM: Convolutional Block Attention Module", 2018, arXiv 1807.06521, eqs. 2
and 3. Official code consulted: github.com/Jongchan/attention-module. The paper is followed where
they differ: the code has a BatchNorm behind the 7x7 convolution, and its ResNets start it at zero;
and the code's 7x7 convolution reads the maximum, then the average, the paper's the average first:
official weights need these two input channels swapped. The perceptron starts as PyTorch's layers
do, which is the same for 1x1 convolutions as for the code's linear layers (uniform within
1/√fan_in); only its ResNets then set all biases to zero. Decided here: the hidden layer has one
channel at least.
"""

from typing import Any

import torch
from torch import Tensor, nn

from psa_seg.attention.base import Attention, Device, Gates


class CBAM(Attention):
    """`[B, C, H, W]` → `[B, C, H, W]`, about 2·C·N multiply-adds for N pixels.

    Args:
        in_channels: C.
        reduction: how many times narrower the hidden layer of the channel gate is.
        kernel_size: of the spatial gate's convolution, odd.
        device: of the parameters, as of PyTorch's layers.
        dtype: of the parameters.

    Raises:
        ValueError: for an option that does not fit; in `forward`, as `Attention`.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        kernel_size: int = 7,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        factory: Any = {"device": device, "dtype": dtype}
        super().__init__(in_channels, reduction=reduction, kernel_size=kernel_size)
        inner = max(in_channels // reduction, 1)
        self.mlp = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1, **factory),
            nn.ReLU(),
            nn.Conv2d(inner, in_channels, 1, **factory),
        )
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, **factory)

    def attend(self, x: Tensor) -> Tensor:
        """Channel gate, then spatial gate."""
        x = x * self._channel(x)
        return x * self._spatial(x)

    @torch.no_grad()
    def gates_of(self, x: Tensor) -> Gates:
        """Both gates for `x` `[B, C, H, W]`."""
        channel = self._channel(x)
        return Gates(channel.flatten(1), self._spatial(x * channel)[:, 0])

    def _channel(self, x: Tensor) -> Tensor:
        average, maximum = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return (self.mlp(average) + self.mlp(maximum)).sigmoid()  # [B, C, 1, 1]

    def _spatial(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return self.conv(pooled).sigmoid()  # [B, 1, H, W]
