"""Polarized Self-Attention, exact, in two passes over the feature map.

Paper: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
arXiv 2107.00782. Differs from the equations in the order of the sums only: pool → project → gate
instead of project → pool → gate, which costs about 3·C·N multiply-adds instead of 1.5·C²·N and
makes no tensor of size C·N/2. `psa_seg.ops.naive` is the textbook it is tested against.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psa_seg.attention.base import Attention
from psa_seg.ops import gate, naive, pool
from psa_seg.ops.implementation import prepare, requested

FORMS = ("paper",)
LAYOUTS = ("parallel", "sequential")
BRANCHES = ("both", "channel", "spatial")
INITS = ("default", "identity")


class PolarizedSelfAttention(Attention):
    """Gates a feature map by channel and by pixel: `[B, C, H, W]` → `[B, C, H, W]`.

    Any float dtype and any H, W ≥ 1; dtype and memory format of the input are kept. Sums are
    accumulated in float32 at least, under autocast too. The state dict is the one of the popular
    PyTorch port (`ch_wv ch_wq ch_wz ln sp_wv sp_wq`, 1x1 convolutions with bias).

    Its gradients can be differentiated again, and `torch.func` applied, with `PSA_SEG_IMPL=naive`
    alone.

    Args:
        in_channels: C, even, at least 2.
        form: which of the functions that go by this name; `paper` is the paper's equations.
        layout: `parallel` adds both gated maps (eq. 4), `sequential` applies the spatial gate to
            the channel-gated map (eq. 5).
        branches: `both`, or the `channel` or `spatial` branch alone; the parameters of the other
            one then do not exist.
        init: `default` is PyTorch's; `identity` starts as out = x exactly, and learns from there
            (form `paper`, layout `parallel`, branches `both` only).

    Raises:
        ValueError: for an unknown name (of `PSA_SEG_IMPL`, too), an odd or too small
            `in_channels`, an `init` that the rest rules out, and, in `forward`, an input that is
            not `[B, in_channels, H, W]`.
    """

    def __init__(
        self,
        in_channels: int,
        form: str = "paper",
        layout: str = "parallel",
        branches: str = "both",
        init: str = "default",
    ) -> None:
        super().__init__(in_channels, layout=layout, branches=branches)
        _check_choice("form", form, FORMS)
        _check_choice("layout", layout, LAYOUTS)
        _check_choice("branches", branches, BRANCHES)
        _check_choice("init", init, INITS)
        prepare()
        if in_channels < 2 or in_channels % 2:
            raise ValueError(f"in_channels must be even and at least 2, not {in_channels}")
        if init == "identity" and (layout, branches) != ("parallel", "both"):
            raise ValueError(
                "init='identity' needs layout='parallel' and branches='both': only there do two "
                f"half-open gates add up to 1; layout={layout!r}, branches={branches!r} would "
                "scale every feature by 0.25 or 0.5"
            )
        self.layout, self.branches, self.init = layout, branches, init
        inner = in_channels // 2
        if branches != "spatial":
            self.ch_wv = nn.Conv2d(in_channels, inner, 1)
            self.ch_wq = nn.Conv2d(in_channels, 1, 1)
            self.ch_wz = nn.Conv2d(inner, in_channels, 1)
            self.ln = nn.LayerNorm(in_channels)
        if branches != "channel":
            self.sp_wv = nn.Conv2d(in_channels, inner, 1)
            self.sp_wq = nn.Conv2d(in_channels, inner, 1)
        if init == "identity":
            self.init_weights()

    def init_weights(self) -> None:
        """Draw the weights anew as `init` says."""
        super().init_weights()
        if self.init == "identity":
            # σ(LN(·)) = σ(0) and σ(u·x + β) = σ(0): each gate is 1/2, and x/2 + x/2 = x exactly.
            for parameter in (*self.ln.parameters(), *self.sp_wv.parameters()):
                nn.init.zeros_(parameter)

    def attend(self, x: Tensor) -> Tensor:
        """`x` `[B, C, H, W]` gated, in the same shape, dtype and memory format."""
        if requested() == "naive":
            parameters = {name: p.to(x.dtype) for name, p in self.named_parameters()}
            return naive.polarized_self_attention(x, parameters, self.layout, self.branches)
        with torch.autocast(x.device.type, enabled=False):  # the passes keep float32 themselves
            if self.branches == "spatial":
                _, mean, pooled = pool(x)
                return gate(pooled, None, self._spatial_query(mean))
            w_q, b_q = self.ch_wq.parameters()
            g, mean, pooled = pool(x, w_q.flatten(), b_q)
            a = self._channel_gate(g)
            if self.branches == "channel":
                return gate(pooled, a)
            if self.layout == "parallel":
                return gate(pooled, a, self._spatial_query(mean))
            # The spatial branch sees y = a ⊙ x: its mean is a ⊙ μ, and u·y_n = (u ⊙ a)·x_n.
            u, beta = self._spatial_query(a * mean)
            return gate(pooled, a, (u * a, beta), layout="sequential")

    def _channel_gate(self, g: Tensor) -> Tensor:
        """Pooled pixels `g` `[B, C]` → channel gate `a` `[B, C]` (eq. 2)."""
        value = F.linear(g, *_weight_and_bias(self.ch_wv, g.dtype))
        logits = F.linear(value, *_weight_and_bias(self.ch_wz, g.dtype))
        norm = _weight_and_bias(self.ln, g.dtype)
        return F.layer_norm(logits, self.ln.normalized_shape, *norm, self.ln.eps).sigmoid()

    def _spatial_query(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Mean pixel `[B, C]` → `u = W_svᵀ s` `[B, C]` and `β = s·b_sv` `[B]` (eq. 3)."""
        s = F.linear(mean, *_weight_and_bias(self.sp_wq, mean.dtype)).softmax(dim=1)  # [B, C/2]
        weight, bias = _weight_and_bias(self.sp_wv, mean.dtype)
        return s @ weight, s @ bias


def _weight_and_bias(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Both parameters in the dtype of the sums; a 1x1 convolution's weight as `[out, in]`."""
    weight, bias = layer.parameters()
    return weight.reshape(weight.shape[:2]).to(dtype), bias.to(dtype)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
