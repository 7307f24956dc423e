"""Polarized Self-Attention word for word: the oracle that every fast path is compared with.

Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
arXiv 2107.00782, section 3. Never fast: it makes every tensor that the equations name.
Symbols: `N = H * W` pixels, `I = C // 2`; parameters by the names of
`psa_seg.attention.PolarizedSelfAttention`'s state dict.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor


def polarized_self_attention(
    x: Tensor, parameters: Mapping[str, Tensor], layout: str = "parallel", branches: str = "both"
) -> Tensor:
    """Form `paper` of `x` `[B, C, H, W]`, computed in the dtype of `x` and `parameters`."""
    if branches == "channel":
        return channel_gate(x, parameters) * x
    if branches == "spatial":
        return spatial_gate(x, parameters) * x
    if layout == "parallel":  # eq. 4: Z_ch + Z_sp
        return channel_gate(x, parameters) * x + spatial_gate(x, parameters) * x
    y = channel_gate(x, parameters) * x  # eq. 5: Z_sp(Z_ch)
    return spatial_gate(y, parameters) * y


def channel_gate(x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """A^ch of `x` (eq. 2), `[B, C, 1, 1]`, in (0, 1)."""
    query = _conv1x1(x, parameters, "ch_wq").flatten(2).softmax(dim=2)  # [B, 1, N]
    value = _conv1x1(x, parameters, "ch_wv").flatten(2)  # [B, I, N]
    pooled = value @ query.transpose(1, 2)  # [B, I, 1]
    logits = _conv1x1(pooled.unsqueeze(3), parameters, "ch_wz").flatten(1)  # [B, C]
    weight, bias = parameters["ln.weight"], parameters["ln.bias"]
    return F.layer_norm(logits, weight.shape, weight, bias).sigmoid()[:, :, None, None]


def spatial_gate(x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """A^sp of `x` (eq. 3), `[B, 1, H, W]`, in (0, 1)."""
    query = _conv1x1(x, parameters, "sp_wq").mean(dim=(2, 3)).softmax(dim=1)  # [B, I]
    value = _conv1x1(x, parameters, "sp_wv").flatten(2)  # [B, I, N]
    logits = query.unsqueeze(1) @ value  # [B, 1, N]
    return logits.sigmoid().unflatten(2, x.shape[2:])


def _conv1x1(x: Tensor, parameters: Mapping[str, Tensor], name: str) -> Tensor:
    return F.conv2d(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
