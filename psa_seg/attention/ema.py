"""Efficient multi-scale attention: groups of channels, each gated by pixel from two branches.

Paper: Ouyang et al., "Efficient Multi-Scale Attention Module with Cross-Spatial Learning", 2023,
arXiv 2305.13563. Official code consulted: github.com/YOLOonMe/EMA-attention-module. Differs where a
map has fewer channels than there are groups, which the original refuses: each is a group then.

As published, the softmax over the first branch's means is that of its norm's bias: a norm of one
channel leaves each map with that mean. The branch weighs the other one by learnt constants.
"""

from typing import Any

import torch
from torch import Tensor, nn

from psa_seg.attention.base import Attention, Device, check_divides


class EfficientMultiScaleAttention(Attention):
    """`[B, C, H, W]` → `[B, C, H, W]`, about 9·N·C²/groups multiply-adds for N pixels.

    Args:
        in_channels: C, a multiple of `groups` or less than it.
        groups: how many groups the channels are split into, all with the same weights.
        device: of the parameters, as of PyTorch's layers.
        dtype: of the parameters.

    Raises:
        ValueError: for channels that do not split into groups; in `forward`, as `Attention`.
    """

    def __init__(
        self,
        in_channels: int,
        groups: int = 32,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        factory: Any = {"device": device, "dtype": dtype}
        super().__init__(in_channels, groups=groups)
        self.groups = min(groups, in_channels)
        check_divides(in_channels, "groups", self.groups)
        width = in_channels // self.groups
        self.conv1x1 = nn.Conv2d(width, width, 1, **factory)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1, **factory)
        self.norm = nn.GroupNorm(width, width, **factory)

    def attend(self, x: Tensor) -> Tensor:
        """Each group of channels, D of them, gated by pixel; G is B times the groups."""
        height, width = x.shape[2:]
        grouped = x.unflatten(1, (self.groups, -1)).flatten(0, 1)  # [G, D, H, W]
        rows, columns = grouped.mean(3), grouped.mean(2)  # [G, D, H], [G, D, W]
        both = self.conv1x1(torch.cat([rows, columns], dim=2).unsqueeze(3))  # [G, D, H + W, 1]
        rows, columns = both.sigmoid().squeeze(3).split([height, width], dim=2)
        gated = self.norm(grouped * rows.unsqueeze(3) * columns.unsqueeze(2))  # [G, D, H, W]
        local = self.conv3x3(grouped)  # [G, D, H, W]
        logits = _weigh(gated, local) + _weigh(local, gated)  # [G, 1, H, W]
        return (grouped * logits.sigmoid()).view_as(x)


def _weigh(by: Tensor, maps: Tensor) -> Tensor:
    """`maps` `[G, D, H, W]` summed by a softmax over the means of `by`: `[G, 1, H, W]`."""
    weights = by.mean((2, 3)).softmax(1).unsqueeze(1)  # [G, 1, D]
    return (weights @ maps.flatten(2)).unflatten(2, maps.shape[2:])
