"""Polarized Self-Attention word for word: the oracle that every fast path is compared with.

Form `paper`: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
arXiv 2107.00782, section 3. Form `official`: the classes `PSA_p` (parallel) and `PSA_s`
(sequential) of github.com/DeLightCMU/PSA, which are other functions.
Never fast: it makes every tensor that the equations name.
Symbols: `N = H * W` pixels, `I = C // 2`; parameters by the names of
`psa_seg.attention.PolarizedSelfAttention`'s state dict.
"""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

Parameters = Mapping[str, Tensor]
Gate = Callable[[Tensor, Parameters], Tensor]


def polarized_self_attention(
    x: Tensor,
    parameters: Parameters,
    form: str = "paper",
    layout: str = "parallel",
    branches: str = "both",
) -> Tensor:
    """`x` `[B, C, H, W]` gated, computed in the dtype of `x` and `parameters`."""
    channel_gate, spatial_gate = GATES[form, layout]
    if branches == "channel":
        return channel_gate(x, parameters) * x
    if branches == "spatial":
        return spatial_gate(x, parameters) * x
    if layout == "parallel":  # eq. 4: Z_ch + Z_sp
        return channel_gate(x, parameters) * x + spatial_gate(x, parameters) * x
    y = channel_gate(x, parameters) * x  # eq. 5: Z_sp(Z_ch)
    return spatial_gate(y, parameters) * y


def paper_channel_gate(x: Tensor, parameters: Parameters) -> Tensor:
    """A^ch of `x` (eq. 2), `[B, C, 1, 1]`, in (0, 1)."""
    query = _conv1x1(x, parameters, "ch_wq").flatten(2).softmax(dim=2)  # [B, 1, N]
    value = _conv1x1(x, parameters, "ch_wv").flatten(2)  # [B, I, N]
    pooled = value @ query.transpose(1, 2)  # [B, I, 1]
    logits = _conv1x1(pooled.unsqueeze(3), parameters, "ch_wz").flatten(1)  # [B, C]
    return _layer_norm(logits, parameters, "ln").sigmoid()[:, :, None, None]


def paper_spatial_gate(x: Tensor, parameters: Parameters) -> Tensor:
    """A^sp of `x` (eq. 3), `[B, 1, H, W]`, in (0, 1)."""
    query = _conv1x1(x, parameters, "sp_wq").mean(dim=(2, 3)).softmax(dim=1)  # [B, I]
    value = _conv1x1(x, parameters, "sp_wv").flatten(2)  # [B, I, N]
    logits = query.unsqueeze(1) @ value  # [B, 1, N]
    return logits.sigmoid().unflatten(2, x.shape[2:])


def official_channel_gate(x: Tensor, parameters: Parameters) -> Tensor:
    """Of `PSA_p`: no norm, no bias; and of `PSA_s`, where `conv_up` is a perceptron."""
    query = _conv1x1(x, parameters, "conv_q_right").flatten(2).softmax(dim=2)  # [B, 1, N]
    value = _conv1x1(x, parameters, "conv_v_right").flatten(2)  # [B, I, N]
    pooled = (value @ query.transpose(1, 2)).unsqueeze(3)  # [B, I, 1, 1]
    if "conv_up.weight" in parameters:
        return _conv1x1(pooled, parameters, "conv_up").sigmoid()
    hidden = _layer_norm(_conv1x1(pooled, parameters, "conv_up.0"), parameters, "conv_up.1")
    return _conv1x1(hidden.relu(), parameters, "conv_up.3").sigmoid()


def official_parallel_spatial_gate(x: Tensor, parameters: Parameters) -> Tensor:
    """Of `PSA_p`: no softmax over channels, but one over the pixels, after the product."""
    query = _conv1x1(x, parameters, "conv_q_left").mean(dim=(2, 3))  # [B, I]
    value = _conv1x1(x, parameters, "conv_v_left").flatten(2)  # [B, I, N]
    logits = (query.unsqueeze(1) @ value).softmax(dim=2)  # [B, 1, N]
    return logits.sigmoid().unflatten(2, x.shape[2:])


def official_sequential_spatial_gate(x: Tensor, parameters: Parameters) -> Tensor:
    """Of `PSA_s`: a softmax over the pixels of each value channel, before the product."""
    query = _conv1x1(x, parameters, "conv_q_left").mean(dim=(2, 3))  # [B, I]
    value = _conv1x1(x, parameters, "conv_v_left").flatten(2).softmax(dim=2)  # [B, I, N]
    logits = query.unsqueeze(1) @ value  # [B, 1, N]
    return logits.sigmoid().unflatten(2, x.shape[2:])


GATES: dict[tuple[str, str], tuple[Gate, Gate]] = {
    ("paper", "parallel"): (paper_channel_gate, paper_spatial_gate),
    ("paper", "sequential"): (paper_channel_gate, paper_spatial_gate),
    ("official", "parallel"): (official_channel_gate, official_parallel_spatial_gate),
    ("official", "sequential"): (official_channel_gate, official_sequential_spatial_gate),
}


def _conv1x1(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    return F.conv2d(x, parameters[f"{name}.weight"], parameters.get(f"{name}.bias"))


def _layer_norm(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    return F.layer_norm(x, weight.shape, weight, bias)
