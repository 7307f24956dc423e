"""Focused linear attention: every pixel looks at every other, at a price linear in their number.

Paper: Han et al., "FLatten Transformer: Vision Transformer using Focused Linear Attention", 2023,
arXiv 2308.00442, section 4. Official code consulted: github.com/LeapLabTHU/FLatten-Transformer,
whose learnt scale by channel, heads split after the focusing and start are kept. The normaliser is
theirs since 2024-05-28 ("fix numerical instability"): ε beside the mean over the keys. Beside their
sum, as before that day and in older copies, it would count for N times less. Their factors N^-0.5
on keys and values are one division by N here: the sums are in float32, and cannot overflow.

Made for tokens of one image size; decided here: a pixel is a token, the block's layer norm and
residual are kept, its MLP is not, nor is the table of positions, which would fix the size of the
map: position comes with the depthwise convolution. The length is taken out before the power, not
after it, which is the same function and cannot overflow or vanish.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psa_seg.attention.base import Attention, Device, check_divides
from psa_seg.ops.eager import autocast_off, wide_dtype

EPS = 1e-6


class FocusedLinearAttention(Attention):
    """`[B, C, H, W]` → `[B, C, H, W]`, about 4·N·C² + 2·N·C²/heads multiply-adds for N pixels.

    Sums over the pixels are made in float32 at least, under autocast too.

    Args:
        in_channels: C, a multiple of `num_heads`.
        num_heads: into how many parts queries, keys and values are split.
        focusing_factor: the power that sharpens queries and keys.
        kernel_size: of the depthwise convolution of the values, odd.
        device: of the parameters, as of PyTorch's layers.
        dtype: of the parameters.

    Raises:
        ValueError: for channels that do not split into heads, an even `kernel_size`; in
            `forward`, as `Attention`.
    """

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 8,
        focusing_factor: float = 3,
        kernel_size: int = 5,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        factory: Any = {"device": device, "dtype": dtype}
        super().__init__(
            in_channels,
            num_heads=num_heads,
            focusing_factor=focusing_factor,
            kernel_size=kernel_size,
        )
        check_divides(in_channels, "num_heads", num_heads)
        self.num_heads, self.focusing_factor = num_heads, focusing_factor
        width = in_channels // num_heads
        self.norm = nn.LayerNorm(in_channels, **factory)
        self.qkv = nn.Linear(in_channels, 3 * in_channels, **factory)
        self.scale = nn.Parameter(torch.zeros(in_channels, **factory))
        self.dwc = nn.Conv2d(
            width, width, kernel_size, padding=kernel_size // 2, groups=width, **factory
        )
        self.proj = nn.Linear(in_channels, in_channels, **factory)
        self.init_weights()

    def init_weights(self) -> None:
        """Projections as in the official networks: normal, σ = 0.02, cut off at ±2, no bias."""
        super().init_weights()
        for layer in (self.qkv, self.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.scale)

    def attend(self, x: Tensor) -> Tensor:
        """`x + Attention(LN(x))`; D is C over the heads."""
        tokens = self.norm(x.flatten(2).transpose(1, 2))  # [B, N, C]
        query, key, value = self.qkv(tokens).chunk(3, dim=2)
        with autocast_off(x):
            q = self._split(self._focus(query))  # [B, heads, N, D]
            k = self._split(self._focus(key))
            v = self._split(value.to(k.dtype))
            context = k.mT @ v / k.shape[2]  # [B, heads, D, D]
            out = q @ context / (q @ k.mean(2).unsqueeze(3) + EPS)  # [B, heads, N, D]
        maps = value.mT.reshape(-1, self.dwc.in_channels, *x.shape[2:])  # [B·heads, D, H, W]
        local = self.dwc(maps).view_as(x).flatten(2).mT  # [B, N, C]
        out = self.proj(out.transpose(1, 2).flatten(2).to(local.dtype) + local)
        return x + out.mT.view_as(x)

    def _focus(self, tokens: Tensor) -> Tensor:
        """Their length kept, their direction drawn to its largest components."""
        wide = wide_dtype(tokens)
        positive = (tokens.to(wide).relu() + EPS) / F.softplus(self.scale.to(wide))
        length = positive.norm(dim=2, keepdim=True)
        return F.normalize((positive / length) ** self.focusing_factor, dim=2) * length

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
