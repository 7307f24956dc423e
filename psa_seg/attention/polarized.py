"""Polarized Self-Attention, exact, in two passes over the feature map.

Paper: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
arXiv 2107.00782. Official code: github.com/DeLightCMU/PSA, whose classes `PSA_p` and `PSA_s`
compute other functions than the paper's equations, and each its own: form `official`.
Differs from either in the order of the sums only: pool → project → gate instead of project → pool
→ gate, which costs about 3·C·N multiply-adds instead of 1.5·C²·N and makes no tensor of size C·N/2.
In `PSA_s` a softmax stands between projection and sum of the spatial values: that product of C²·N/2
multiply-adds remains, and is made twice (`psa_seg.ops.values`).
`psa_seg.ops.naive` is the textbook it is tested against.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psa_seg.attention.base import Attention, Gates
from psa_seg.ops import gate, naive, pool, value_logits
from psa_seg.ops.implementation import prepare, requested

FORMS = ("paper", "official")
LAYOUTS = ("parallel", "sequential")
BRANCHES = ("both", "channel", "spatial")
INITS = ("default", "identity")
RATIO = 4  # of `PSA_s`, by which the hidden layer of its channel gate is narrower


class PolarizedSelfAttention(Attention):
    """Gates a feature map by channel and by pixel: `[B, C, H, W]` → `[B, C, H, W]`.

    Any float dtype and any H, W ≥ 1; dtype and memory format of the input are kept. Sums are
    accumulated in float32 at least, under autocast too. The state dict is that of the popular
    PyTorch port (`ch_wv ch_wq ch_wz ln sp_wv sp_wq`, 1x1 convolutions with bias), or, in form
    `official`, of the released classes (`conv_q_right conv_v_right conv_up conv_q_left
    conv_v_left`, without bias but for `PSA_s`'s `conv_up`).

    Its gradients can be differentiated again, and `torch.func` applied, with `PSA_SEG_IMPL=naive`
    alone.

    Args:
        in_channels: C, even, at least 2; 8 for the channel gate of `PSA_s`.
        form: which of the functions that go by this name: `paper` is the paper's equations,
            `official` what its authors released, `PSA_p` (parallel) and `PSA_s` (sequential).
        layout: `parallel` adds both gated maps (eq. 4), `sequential` applies the spatial gate to
            the channel-gated map (eq. 5).
        branches: `both`, or the `channel` or `spatial` branch alone; the parameters of the other
            one then do not exist.
        init: `default` is PyTorch's, or the released classes'; `identity` starts as out = x
            exactly, and learns from there (form `paper`, layout `parallel`, branches `both` only).

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
        super().__init__(in_channels, form=form, layout=layout, branches=branches)
        _check_choice("form", form, FORMS)
        _check_choice("layout", layout, LAYOUTS)
        _check_choice("branches", branches, BRANCHES)
        _check_choice("init", init, INITS)
        prepare()
        perceptron = (form, layout) == ("official", "sequential") and branches != "spatial"
        least = 2 * RATIO if perceptron else 2
        if in_channels < least or in_channels % 2:
            raise ValueError(f"in_channels must be even and at least {least}, not {in_channels}")
        if init == "identity" and (form, layout, branches) != ("paper", "parallel", "both"):
            raise ValueError(
                "init='identity' needs form='paper', layout='parallel' and branches='both': only "
                f"there do two half-open gates add up to 1; form={form!r}, layout={layout!r}, "
                f"branches={branches!r} has no such start"
            )
        self.form, self.layout, self.branches, self.init = form, layout, branches, init
        (self._build_paper if form == "paper" else self._build_official)()
        if (form, init) != ("paper", "default"):
            self.init_weights()

    def _build_paper(self) -> None:
        channels, inner = self.in_channels, self.in_channels // 2
        if self.branches != "spatial":
            self.ch_wv = nn.Conv2d(channels, inner, 1)
            self.ch_wq = nn.Conv2d(channels, 1, 1)
            self.ch_wz = nn.Conv2d(inner, channels, 1)
            self.ln = nn.LayerNorm(channels)
        if self.branches != "channel":
            self.sp_wv = nn.Conv2d(channels, inner, 1)
            self.sp_wq = nn.Conv2d(channels, inner, 1)

    def _build_official(self) -> None:
        channels, inner = self.in_channels, self.in_channels // 2
        if self.branches != "spatial":
            self.conv_q_right = nn.Conv2d(channels, 1, 1, bias=False)
            self.conv_v_right = nn.Conv2d(channels, inner, 1, bias=False)
            if self.layout == "parallel":
                self.conv_up: nn.Module = nn.Conv2d(inner, channels, 1, bias=False)
            else:
                self.conv_up = nn.Sequential(
                    nn.Conv2d(inner, inner // RATIO, 1),
                    nn.LayerNorm([inner // RATIO, 1, 1]),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(inner // RATIO, channels, 1),
                )
        if self.branches != "channel":
            self.conv_q_left = nn.Conv2d(channels, inner, 1, bias=False)
            self.conv_v_left = nn.Conv2d(channels, inner, 1, bias=False)

    def init_weights(self) -> None:
        """Draw the weights anew as `form` and `init` say."""
        super().init_weights()
        if self.init == "identity":
            # σ(LN(·)) = σ(0) and σ(u·x + β) = σ(0): each gate is 1/2, and x/2 + x/2 = x exactly.
            for parameter in (*self.ln.parameters(), *self.sp_wv.parameters()):
                nn.init.zeros_(parameter)
        for name, parameter in self.named_parameters():
            if name.startswith(("conv_q", "conv_v")):
                nn.init.kaiming_normal_(parameter, mode="fan_in", nonlinearity="relu")

    def attend(self, x: Tensor) -> Tensor:
        """`x` `[B, C, H, W]` gated, in the same shape, dtype and memory format."""
        # A trace cannot hold the passes: TorchScript refuses to save their autograd functions, and
        # ONNX's exporter of before torch 2.9 makes a constant of what they write.
        if requested() == "naive" or torch.jit.is_tracing():  # type: ignore[attr-defined]
            parameters = {name: p.to(x.dtype) for name, p in self.named_parameters()}
            return naive.polarized_self_attention(
                x, parameters, self.form, self.layout, self.branches
            )
        with torch.autocast(x.device.type, enabled=False):  # the passes keep float32 themselves
            if self.branches == "spatial":
                a, (_, mean, pooled) = None, pool(x)
            else:
                g, mean, pooled = pool(x, *self._channel_query())
                a = self._channel_gate(g)
            if self.branches == "channel":
                return gate(pooled, a)
            seen = a if self.layout == "sequential" else None
            return gate(pooled, a, self._spatial(x, mean, seen), self.layout)

    @torch.no_grad()
    def gates_of(self, x: Tensor) -> Gates:
        """Both gates for `x` `[B, C, H, W]`, in float32, as the textbook computes them."""
        parameters = {name: parameter.float() for name, parameter in self.named_parameters()}
        channel, spatial = naive.GATES[self.form, self.layout]
        x, a, s = x.float(), None, None
        if self.branches != "spatial":
            a = channel(x, parameters)  # [B, C, 1, 1]
            x = a * x if self.layout == "sequential" else x
        if self.branches != "channel":
            s = spatial(x, parameters)  # [B, 1, H, W]
        return Gates(None if a is None else a.flatten(1), None if s is None else s[:, 0])

    def _channel_query(self) -> tuple[Tensor, Tensor | None]:
        """`w_q` `[C]` and, in form `paper`, `b_q` `[1]`."""
        query = self.ch_wq if self.form == "paper" else self.conv_q_right
        return query.weight.flatten(), query.bias

    def _channel_gate(self, g: Tensor) -> Tensor:
        """Pooled pixels `g` `[B, C]` → channel gate `a` `[B, C]` (eq. 2)."""
        if self.form == "paper":
            return _normalize(self.ln, _project(self.ch_wz, _project(self.ch_wv, g))).sigmoid()
        value = _project(self.conv_v_right, g)
        if isinstance(self.conv_up, nn.Sequential):
            first, norm, _, last = self.conv_up
            return _project(last, _normalize(norm, _project(first, value)).relu()).sigmoid()
        return _project(self.conv_up, value).sigmoid()

    def _spatial(
        self, x: Tensor, mean: Tensor, a: Tensor | None
    ) -> tuple[Tensor, Tensor | None] | Tensor:
        """What `gate` is told of the spatial branch (eq. 3), which sees `x`, or, with `a`, `a ⊙ x`.

        The mean of y = a ⊙ x is a ⊙ μ, and u·y_n = (u ⊙ a)·x_n: no further pass over x.
        """
        paper = self.form == "paper"
        query, value = (self.sp_wq, self.sp_wv) if paper else (self.conv_q_left, self.conv_v_left)
        s = _project(query, mean if a is None else a * mean)  # [B, C/2]
        if paper:
            s = s.softmax(dim=1)
        weight, bias = _weight_and_bias(value, s.dtype)
        if (self.form, self.layout) == ("official", "sequential"):
            weights = weight.expand(s.shape[0], -1, -1) if a is None else weight * a.unsqueeze(1)
            return value_logits(x, weights, s)
        u = s @ weight
        return u if a is None else u * a, None if bias is None else s @ bias


def _project(conv: nn.Module, vector: Tensor) -> Tensor:
    """A 1x1 convolution of one pixel `[B, in]`, in the dtype of the sums."""
    return F.linear(vector, *_weight_and_bias(conv, vector.dtype))


def _weight_and_bias(conv: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Of a 1x1 convolution, the weight as `[out, in]`."""
    weight, *bias = (parameter.to(dtype) for parameter in conv.parameters())
    return weight.flatten(1), bias[0] if bias else None


def _normalize(norm: nn.Module, vector: Tensor) -> Tensor:
    """A layer norm of the channels of one pixel `[B, C]`, in the dtype of the sums."""
    weight, bias = (parameter.flatten().to(vector.dtype) for parameter in norm.parameters())
    return F.layer_norm(vector, weight.shape, weight, bias)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
