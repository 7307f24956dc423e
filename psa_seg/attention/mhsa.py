"""Multi-head self-attention: every pixel looks at every other.

Papers: Vaswani et al., "Attention Is All You Need", 2017, arXiv 1706.03762, section 3.2, in the
pre-norm residual form of Dosovitskiy et al., 2020, arXiv 2010.11929, eq. 2. Official code consulted
for the start: github.com/google-research/vision_transformer.

Made for tokens, not for a plug-in; decided here: a pixel is a token, layer norm and residual are
kept, the MLP that follows in a transformer is not, and there is no positional encoding, which would
fix the size of the map: position comes with the convolutions before it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psa_seg.attention.base import Attention, Device, check_divides


class MultiHeadSelfAttention(Attention):
    """`[B, C, H, W]` → `[B, C, H, W]`, 4·N·C² + 2·N²·C multiply-adds for N pixels.

    Args:
        in_channels: C, a multiple of `num_heads`.
        num_heads: into how many parts queries, keys and values are split.
        device: of the parameters, as of PyTorch's layers.
        dtype: of the parameters.

    Raises:
        ValueError: for channels that do not split into heads; in `forward`, as `Attention`.
    """

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 8,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        factory: Any = {"device": device, "dtype": dtype}
        super().__init__(in_channels, num_heads=num_heads)
        check_divides(in_channels, "num_heads", num_heads)
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(in_channels, eps=1e-6, **factory)
        self.qkv = nn.Linear(in_channels, 3 * in_channels, **factory)
        self.proj = nn.Linear(in_channels, in_channels, **factory)
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier's start for each of the four projections, without bias, as in the ViT."""
        super().init_weights()
        for weight in (*self.qkv.weight.chunk(3), self.proj.weight):
            nn.init.xavier_uniform_(weight)
        for layer in (self.qkv, self.proj):
            nn.init.zeros_(layer.bias)

    def attend(self, x: Tensor) -> Tensor:
        """`x + MSA(LN(x))`."""
        tokens = self.norm(x.flatten(2).transpose(1, 2))  # [B, N, C]
        heads = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1))  # [B, N, 3, heads, C/heads]
        out = F.scaled_dot_product_attention(
            *heads.permute(2, 0, 3, 1, 4)
        )  # [B, heads, N, C/heads]
        out = self.proj(out.transpose(1, 2).flatten(2))  # [B, N, C]
        return x + out.transpose(1, 2).view_as(x)
