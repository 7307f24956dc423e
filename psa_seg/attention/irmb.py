"""Inverted residual mobile block: attention in windows, then a depthwise convolution, both widened.

Paper: Zhang et al., "Rethinking Mobile Block for Efficient Attention-based Models", 2023,
arXiv 2301.01146, section 2.3. Official code consulted: github.com/zhangzjn/EMO; the defaults are
those of the attention stages of its EMO-5M: four times wider inside, heads of 32 channels, windows
of 7x7 tokens, a 5x5 convolution, attention before the expansion, LN and GELU, and BN and SiLU
behind the convolution.

As in that code, a window is no tile: its pixels are spread evenly over the whole map, and the map
is filled up below and to the right. Differs in that no pixel attends to the filling, in leaving
stochastic depth to the network around it, and, where a map has fewer channels than a head, in
taking one head of them all.

Its BatchNorm needs more than one pixel, all images of a batch together, in training.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psa_seg.attention.base import Attention, Device, check_divides


class InvertedResidualMobileBlock(Attention):
    """`[B, C, H, W]` → `[B, C, H, W]`, about 10·N·C² multiply-adds for N pixels.

    Args:
        in_channels: C, a multiple of `head_channels` or less than it.
        expansion: how many times wider the values are than the map.
        head_channels: channels of a query and a key.
        window_size: rows and columns of a window.
        kernel_size: of the depthwise convolution, odd.
        device: of the parameters, as of PyTorch's layers.
        dtype: of the parameters.

    Raises:
        ValueError: for an option that does not fit the channels; in `forward`, as `Attention`, and
            for a single image of 1x1 pixels in training.
    """

    def __init__(
        self,
        in_channels: int,
        expansion: int = 4,
        head_channels: int = 32,
        window_size: int = 7,
        kernel_size: int = 5,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        factory: Any = {"device": device, "dtype": dtype}
        super().__init__(
            in_channels,
            expansion=expansion,
            head_channels=head_channels,
            window_size=window_size,
            kernel_size=kernel_size,
        )
        self.head_channels = min(head_channels, in_channels)
        check_divides(in_channels, "head_channels", self.head_channels)
        self.window_size, inner = window_size, expansion * in_channels
        self.norm = nn.LayerNorm(in_channels, eps=1e-6, **factory)
        self.qk = nn.Linear(in_channels, 2 * in_channels, **factory)
        self.value = nn.Sequential(nn.Conv2d(in_channels, inner, 1, **factory), nn.GELU())
        pad = kernel_size // 2
        self.local = nn.Sequential(
            nn.Conv2d(inner, inner, kernel_size, padding=pad, groups=inner, bias=False, **factory),
            nn.BatchNorm2d(inner, eps=1e-6, **factory),
            nn.SiLU(),
        )
        self.proj = nn.Conv2d(inner, in_channels, 1, bias=False, **factory)

    def attend(self, x: Tensor) -> Tensor:
        """`x + W_p(y + DW(y))` of the widened attention `y`."""
        y = self.norm(x.movedim(1, 3)).movedim(3, 1)  # [B, C, H, W]
        y = self.value(self._mix(y))  # [B, expansion·C, H, W]
        return x + self.proj(y + self.local(y))

    def _mix(self, x: Tensor) -> Tensor:
        """Attention of `x` within each of R times S windows, with `x` itself as the values."""
        b, c, height, width = x.shape
        side = self.window_size  # 7
        r, s = -(-height // side), -(-width // side)
        filling = (0, s * side - width, 0, r * side - height)

        def windows(t: Tensor) -> Tensor:  # [B, C, H, W] → [B, R, S, 49, C]
            grid = F.pad(t, filling).reshape(-1, t.shape[1], side, r, side, s)
            return grid.permute(0, 3, 5, 2, 4, 1).flatten(3, 4)

        def heads(t: Tensor) -> Tensor:  # [B, R, S, 49, C] → [B, R, S, heads, 49, C/heads]
            return t.unflatten(4, (-1, self.head_channels)).transpose(3, 4)

        tokens = windows(x)
        query, key = self.qk(tokens).chunk(2, dim=4)
        real = windows(x.new_ones(1, 1, height, width)).mT.unsqueeze(3) > 0  # [1, R, S, 1, 1, 49]
        mixed = F.scaled_dot_product_attention(heads(query), heads(key), heads(tokens), real)
        grid = mixed.transpose(3, 4).reshape(b, r, s, side, side, c).permute(0, 5, 3, 1, 4, 2)
        return grid.reshape(b, c, side * r, side * s)[:, :, :height, :width]
