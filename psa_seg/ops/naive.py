"""Polarized Self-Attention word for word: the oracle that every fast path is compared with.

Form `paper`: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
arXiv 2107.00782, section 3. Form `official`: the classes `PSA_p` (parallel) and `PSA_s`
(sequential) of github.com/DeLightCMU/PSA, which are other functions.
Never fast: it makes every tensor that the equations name.
Symbols: `N = H * W` pixels, `I = C // 2`; parts and parameters by the names that
`psa_seg.attention.PolarizedSelfAttention` gives them.
"""

import functools
from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

Parameters = Mapping[str, Tensor]
Call = Callable[[str, Tensor], Tensor]  # a part, by its name, given a map or a vector
Gate = Callable[[Tensor, Call], Tensor]


def polarized_self_attention(
    x: Tensor,
    parameters: Parameters,
    form: str = "paper",
    layout: str = "parallel",
    branches: str = "both",
) -> Tensor:
    """`x` `[B, C, H, W]` gated, computed in the dtype of `x` and `parameters`."""
    out = equations(x, functools.partial(_part, parameters), form, layout, branches)
    return out if "gamma" not in parameters else x + parameters["gamma"] * (out - x)


def equations(x: Tensor, call: Call, form: str, layout: str, branches: str) -> Tensor:
    """`x` `[B, C, H, W]` gated by what its parts make of what they are given."""
    channel_gate, spatial_gate = GATES[form, layout]
    if branches == "channel":
        return channel_gate(x, call) * x
    if branches == "spatial":
        return spatial_gate(x, call) * x
    if layout == "parallel":  # eq. 4: Z_ch + Z_sp
        return channel_gate(x, call) * x + spatial_gate(x, call) * x
    y = channel_gate(x, call) * x  # eq. 5: Z_sp(Z_ch)
    return spatial_gate(y, call) * y


def paper_channel_gate(x: Tensor, call: Call) -> Tensor:
    """A^ch of `x` (eq. 2), `[B, C, 1, 1]`, in (0, 1)."""
    query = call("ch_wq", x).flatten(2).softmax(dim=2)  # [B, 1, N]
    value = call("ch_wv", x).flatten(2)  # [B, I, N]
    pooled = value @ query.transpose(1, 2)  # [B, I, 1]
    logits = call("ch_wz", pooled.unsqueeze(3)).flatten(1)  # [B, C]
    return call("ln", logits).sigmoid()[:, :, None, None]


def paper_spatial_gate(x: Tensor, call: Call) -> Tensor:
    """A^sp of `x` (eq. 3), `[B, 1, H, W]`, in (0, 1)."""
    query = call("sp_wq", x).mean(dim=(2, 3)).softmax(dim=1)  # [B, I]
    value = call("sp_wv", x).flatten(2)  # [B, I, N]
    logits = query.unsqueeze(1) @ value  # [B, 1, N]
    return logits.sigmoid().unflatten(2, x.shape[2:])


def official_channel_gate(x: Tensor, call: Call) -> Tensor:
    """Of `PSA_p`: no norm, no bias; and of `PSA_s`, where `conv_up` is a perceptron."""
    query = call("conv_q_right", x).flatten(2).softmax(dim=2)  # [B, 1, N]
    value = call("conv_v_right", x).flatten(2)  # [B, I, N]
    pooled = (value @ query.transpose(1, 2)).unsqueeze(3)  # [B, I, 1, 1]
    return call("conv_up", pooled).sigmoid()


def official_parallel_spatial_gate(x: Tensor, call: Call) -> Tensor:
    """Of `PSA_p`: no softmax over channels, but one over the pixels, after the product."""
    query = call("conv_q_left", x).mean(dim=(2, 3))  # [B, I]
    value = call("conv_v_left", x).flatten(2)  # [B, I, N]
    logits = (query.unsqueeze(1) @ value).softmax(dim=2)  # [B, 1, N]
    return logits.sigmoid().unflatten(2, x.shape[2:])


def official_sequential_spatial_gate(x: Tensor, call: Call) -> Tensor:
    """Of `PSA_s`: a softmax over the pixels of each value channel, before the product."""
    query = call("conv_q_left", x).mean(dim=(2, 3))  # [B, I]
    value = call("conv_v_left", x).flatten(2).softmax(dim=2)  # [B, I, N]
    logits = query.unsqueeze(1) @ value  # [B, 1, N]
    return logits.sigmoid().unflatten(2, x.shape[2:])


GATES: dict[tuple[str, str], tuple[Gate, Gate]] = {
    ("paper", "parallel"): (paper_channel_gate, paper_spatial_gate),
    ("paper", "sequential"): (paper_channel_gate, paper_spatial_gate),
    ("official", "parallel"): (official_channel_gate, official_parallel_spatial_gate),
    ("official", "sequential"): (official_channel_gate, official_sequential_spatial_gate),
}


def _part(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    """The part as it was built: a 1x1 convolution, a layer norm, or `PSA_s`'s perceptron."""
    if f"{name}.0.weight" in parameters:
        hidden = _layer_norm(_part(parameters, f"{name}.0", x), parameters, f"{name}.1")
        return _part(parameters, f"{name}.3", hidden.relu())
    if name == "ln":
        return _layer_norm(x, parameters, name)
    return F.conv2d(x, parameters[f"{name}.weight"], parameters.get(f"{name}.bias"))


def _layer_norm(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    return F.layer_norm(x, weight.shape, weight, bias)
