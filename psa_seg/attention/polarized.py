"""Polarized Self-Attention, exact, in two passes over the feature map.

Paper: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
arXiv 2107.00782. Official code: github.com/DeLightCMU/PSA, whose classes `PSA_p` and `PSA_s`
compute other functions than the paper's equations, and each its own: form `official`.
Differs from either in the order of the sums only: pool → project → gate instead of project → pool
→ gate, which costs about 3·C·N multiply-adds instead of 1.5·C²·N and makes no tensor of size C·N/2.
In `PSA_s` a softmax stands between projection and sum of the spatial values: that product of C²·N/2
multiply-adds remains (`psa_seg.ops.values`).
`psa_seg.ops.naive` is the textbook it is tested against.
"""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from psa_seg.attention import parts
from psa_seg.attention.base import Attention, Device, Gates
from psa_seg.ops import gate, naive, pool, value_logits
from psa_seg.ops.choice import chosen, prepare
from psa_seg.ops.eager import autocast_off, is_autocasting, wide_dtype

FORMS = ("paper", "official")
LAYOUTS = ("parallel", "sequential")
BRANCHES = ("both", "channel", "spatial")
INITS = ("default", "identity")
RATIO = 4  # of `PSA_s`, by which the hidden layer of its channel gate is narrower
# Parts that the textbook applies to every pixel, of the channel branch and of the spatial one.
PER_PIXEL = {
    "paper": {"channel": ("ch_wq", "ch_wv"), "spatial": ("sp_wq", "sp_wv")},
    "official": {
        "channel": ("conv_q_right", "conv_v_right"),
        "spatial": ("conv_q_left", "conv_v_left"),
    },
}


class PolarizedSelfAttention(Attention):
    """Gates a feature map by channel and by pixel: `[B, C, H, W]` → `[B, C, H, W]`.

    Any float dtype and any H, W ≥ 1; dtype and memory format of the input are kept. Sums are
    accumulated in float32 at least, under autocast too. The state dict is that of the popular
    PyTorch port (`ch_wv ch_wq ch_wz ln sp_wv sp_wq`, 1x1 convolutions with bias), or, in form
    `official`, of the released classes (`conv_q_right conv_v_right conv_up conv_q_left
    conv_v_left`, without bias but for `PSA_s`'s `conv_up`).

    Whatever is done to its parts acts. The four convolutions that the paper applies to every pixel
    are read as matrices while they are plain `nn.Conv2d`, parametrized or not; with hooks on them,
    wrapped or replaced, the textbook calls them: exact too, slower, and said once. Hooks added
    after `torch.compile` are not seen, as in any compiled module.

    Its gradients can be differentiated again, and `torch.func` applied, within
    `psa_seg.implementation("naive")` alone.

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
        residual: return `x + γ (out - x)` with one parameter γ `[1]`, `gamma`, that starts at 0:
            as the identity, exactly, whatever the rest is.
        device: of the parameters, as of PyTorch's layers.
        dtype: of the parameters.
        channel: C, as the port has it: in the place of `in_channels`.

    Raises:
        TypeError: without C, or with both names of it.
        ValueError: for an unknown name (of `PSA_SEG_IMPL`, too), an odd or too small
            `in_channels`, an `init` that the rest rules out, and, in `forward`, an input that is
            not `[B, in_channels, H, W]`.
    """

    def __init__(
        self,
        in_channels: int | None = None,
        form: str = "paper",
        layout: str = "parallel",
        branches: str = "both",
        init: str = "default",
        residual: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        channel: int | None = None,
    ) -> None:
        in_channels = _width(in_channels, channel)
        more = {"residual": True} if residual else {}
        super().__init__(in_channels, form=form, layout=layout, branches=branches, **more)
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
        if init == "identity" and residual:
            raise ValueError(
                "residual=True starts as the identity by itself: with init='identity' as well, "
                "nothing would learn"
            )
        self.form, self.layout, self.branches, self.init = form, layout, branches, init
        factory: Any = {"device": device, "dtype": dtype}
        (self._build_paper if form == "paper" else self._build_official)(factory)
        if residual:
            self.gamma = nn.Parameter(torch.zeros(1, **factory))
        if (form, init) != ("paper", "default"):
            self.init_weights()

    def _build_paper(self, factory: Any) -> None:
        channels, inner = self.in_channels, self.in_channels // 2
        if self.branches != "spatial":
            self.ch_wv = nn.Conv2d(channels, inner, 1, **factory)
            self.ch_wq = nn.Conv2d(channels, 1, 1, **factory)
            self.ch_wz = nn.Conv2d(inner, channels, 1, **factory)
            self.ln = nn.LayerNorm(channels, **factory)
        if self.branches != "channel":
            self.sp_wv = nn.Conv2d(channels, inner, 1, **factory)
            self.sp_wq = nn.Conv2d(channels, inner, 1, **factory)

    def _build_official(self, factory: Any) -> None:
        channels, inner = self.in_channels, self.in_channels // 2
        if self.branches != "spatial":
            self.conv_q_right = nn.Conv2d(channels, 1, 1, bias=False, **factory)
            self.conv_v_right = nn.Conv2d(channels, inner, 1, bias=False, **factory)
            if self.layout == "parallel":
                self.conv_up: nn.Module = nn.Conv2d(inner, channels, 1, bias=False, **factory)
            else:
                self.conv_up = nn.Sequential(
                    nn.Conv2d(inner, inner // RATIO, 1, **factory),
                    nn.LayerNorm([inner // RATIO, 1, 1], **factory),
                    nn.ReLU(),  # theirs is in place, which hooks before it forbid
                    nn.Conv2d(inner // RATIO, channels, 1, **factory),
                )
        if self.branches != "channel":
            self.conv_q_left = nn.Conv2d(channels, inner, 1, bias=False, **factory)
            self.conv_v_left = nn.Conv2d(channels, inner, 1, bias=False, **factory)

    def init_weights(self) -> None:
        """Draw the weights anew as `form` and `init` say."""
        super().init_weights()
        if self.init == "identity":
            # σ(LN(·)) = σ(0) and σ(u·x + β) = σ(0): each gate is 1/2, and x/2 + x/2 = x exactly.
            for parameter in (*self.ln.parameters(), *self.sp_wv.parameters()):
                nn.init.zeros_(parameter)
        if self._gamma is not None:
            nn.init.zeros_(self._gamma)
        for name, parameter in self.named_parameters():
            if name.startswith(("conv_q", "conv_v")):
                nn.init.kaiming_normal_(parameter, mode="fan_in", nonlinearity="relu")

    def attend(self, x: Tensor) -> Tensor:
        """`x` `[B, C, H, W]` gated, in the same shape, dtype and memory format."""
        call = parts.calling(x)
        # A trace cannot hold the passes: TorchScript refuses to save their autograd functions, and
        # ONNX's exporter of before torch 2.9 makes a constant of what they write.
        if chosen() == "naive" or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return self._textbook(x, call, None if is_autocasting(x) else self._common_dtype(x))
        with autocast_off(x):  # sums are in float32
            if reason := next(self._what_is_not_linear(), None):
                if not torch.compiler.is_compiling():
                    parts.tell(
                        self, f"PolarizedSelfAttention runs as its textbook, slower: {reason}"
                    )
                return self._textbook(x, call, wide_dtype(x))
            if self.branches == "spatial":
                a, (_, mean, pooled) = None, pool(x)
            else:
                g, mean, pooled = pool(x, *self._channel_query())
                a = self._channel_gate(g, call)
            if self.branches == "channel":
                return gate(pooled, a, gamma=self._gamma)
            spatial = self._spatial(x, mean, a if self.layout == "sequential" else None, call)
            return gate(pooled, a, **spatial, layout=self.layout, gamma=self._gamma)

    @torch.no_grad()
    def gates_of(self, x: Tensor) -> Gates:
        """Both gates for `x` `[B, C, H, W]`, as the textbook computes them in float32 at least.

        Parts compute in their own dtype. Of a residual, γ is left out.
        """
        channel, spatial = naive.GATES[self.form, self.layout]
        call = self._by_name(parts.calling(x), wide_dtype(x))
        with autocast_off(x):
            x, a, s = x.to(wide_dtype(x)), None, None
            if self.branches != "spatial":
                a = channel(x, call)  # [B, C, 1, 1]
                x = a * x if self.layout == "sequential" else x
            if self.branches != "channel":
                s = spatial(x, call)  # [B, 1, H, W]
        return Gates(None if a is None else a.flatten(1), None if s is None else s[:, 0])

    def _textbook(self, x: Tensor, call: parts.Call, dtype: torch.dtype | None) -> Tensor:
        """`attend` as the paper and the released classes have it: every part is called.

        Args:
            x: as of `attend`.
            call: of a part.
            dtype: that what the parts give is brought to; None leaves it as it is.
        """
        by_name = self._by_name(call, dtype)
        out = naive.equations(x, by_name, self.form, self.layout, self.branches)
        if self._gamma is not None:
            out = x + self._gamma * (out - x)
        return out.to(x.dtype)

    def _by_name(self, call: parts.Call, dtype: torch.dtype | None) -> naive.Call:
        if dtype is None:
            return lambda name, given: call(getattr(self, name), given)
        return lambda name, given: call(getattr(self, name), given).to(dtype)

    def _common_dtype(self, x: Tensor) -> torch.dtype:
        """The narrowest that holds `x` and all parameters."""
        known = (p.dtype for p in self.parameters() if p.is_floating_point())
        return functools.reduce(torch.promote_types, known, x.dtype)

    @property
    def _gamma(self) -> Tensor | None:
        """γ, if there is one."""
        return getattr(self, "gamma", None)

    def _what_is_not_linear(self) -> Iterator[str]:
        """Of the parts that act on every pixel, those that are not just a weight and a bias.

        To pool before them is exact only if they are linear. The textbook also says what a bias
        means before the softmax over the pixels of the official forms.
        """
        for branch, names in PER_PIXEL[self.form].items():
            for name in names if self.branches in ("both", branch) else ():
                part = getattr(self, name)
                if not parts.is_pointwise(part):
                    yield f"its part {name} has hooks, is wrapped, or is no plain 1x1 nn.Conv2d"
                elif name == "conv_v_left" and part.bias is not None:
                    yield f"its part {name} has a bias"

    def _channel_query(self) -> tuple[Tensor, Tensor | None]:
        """`w_q` `[C]` and, in form `paper`, `b_q` `[1]`."""
        query = self.ch_wq if self.form == "paper" else self.conv_q_right
        return query.weight.flatten(), query.bias

    def _channel_gate(self, g: Tensor, call: parts.Call) -> Tensor:
        """Pooled pixels `g` `[B, C]` → channel gate `a` `[B, C]` (eq. 2)."""
        if self.form == "paper":
            z = parts.of_pixel(self.ch_wz, parts.of_pixel(self.ch_wv, g, call), call)
            return parts.of_pixel(self.ln, z, call, is_map=False).sigmoid()
        value = parts.of_pixel(self.conv_v_right, g, call)
        return parts.of_pixel(self.conv_up, value, call).sigmoid()

    def _spatial(
        self, x: Tensor, mean: Tensor, a: Tensor | None, call: parts.Call
    ) -> dict[str, Any]:
        """What `gate` is told of the spatial branch (eq. 3), which sees `x`, or, with `a`, `a ⊙ x`.

        The mean of y = a ⊙ x is a ⊙ μ, and u·y_n = (u ⊙ a)·x_n: no further pass over x.
        """
        paper = self.form == "paper"
        query, value = (self.sp_wq, self.sp_wv) if paper else (self.conv_q_left, self.conv_v_left)
        s = parts.of_pixel(query, mean if a is None else a * mean, call)  # [B, C/2]
        weight, bias = parts.matrix_and_bias(value, s.dtype)
        if paper:
            s = s.softmax(dim=1)
        elif self.layout == "sequential":
            weights = weight.expand(s.shape[0], -1, -1) if a is None else weight * a.unsqueeze(1)
            return {"logits": value_logits(x, weights, s)}
        u = s @ weight if a is None else (s @ weight) * a
        if not paper:
            return {"u": u}
        return {"u": u, "beta": s.new_zeros(len(s)) if bias is None else s @ bias}


def _width(in_channels: int | None, channel: int | None) -> int:
    """C by either name of it."""
    if in_channels is not None and channel is not None:
        raise TypeError(
            f"in_channels={in_channels} and channel={channel} are the same number: give one of them"
        )
    width = channel if in_channels is None else in_channels
    if width is None:
        raise TypeError(
            "PolarizedSelfAttention needs the channels of the map: in_channels=256, say"
        )
    return width


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
