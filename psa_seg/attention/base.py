"""What the attentions have in common: a signature, a start that can be drawn again, one message."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

Device = torch.device | str | int | None


class Gates(NamedTuple):
    """What an attention multiplies a map by, in (0, 1); None where it has no such gate."""

    channel: Tensor | None = None  # [B, C]
    spatial: Tensor | None = None  # [B, H, W]


class Attention(nn.Module):
    """A map of any size in, one of the same shape and dtype out: `[B, C, H, W]`, H, W ≥ 1.

    A subclass defines `attend`, and `init_weights` where its published start is not PyTorch's.

    Args:
        in_channels: C.
        **options: what else was chosen, for `print(model)`; numbers are above 0, and a
            `kernel_size` is odd.

    Raises:
        ValueError: for such an option that is not; in `forward`, for an input that is not
            `[B, in_channels, H, W]` of floating-point numbers.
    """

    _abbr_ = "attention"  # the name mmcv gives it as a plugin: `attention` in every placement

    def __init__(self, in_channels: int, **options: object) -> None:
        super().__init__()
        self.in_channels, self.options = in_channels, options
        for name, value in options.items():
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{name}={value} is not above 0")
            if name == "kernel_size" and isinstance(value, int) and value % 2 == 0:
                raise ValueError(f"{name}={value} is not odd, and the map would change its size")

    def init_weights(self) -> None:
        """Draw the published start anew; here, that of PyTorch's own layers.

        mmengine calls it after a parent (a ResNet, say) has initialised every Conv2d it contains:
        without it the start would differ from placement to placement.
        """
        for module in self.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """`x` `[B, C, H, W]` attended to, in the same shape and dtype.

        To `torch.fx`, which traces symbolically, it is a layer like those of PyTorch: one node.
        """
        if isinstance(x, fx.Proxy):
            return self._as_node(x)
        if not x.is_floating_point():
            raise ValueError(f"expected an input of floating-point numbers, not {x.dtype}")
        if x.ndim != 4 or x.shape[1] != self.in_channels or 0 in x.shape[2:]:
            raise ValueError(
                f"expected an input [B, {self.in_channels}, H, W] with at least one pixel, "
                f"not {list(x.shape)}"
            )
        return self.attend(x)

    def _as_node(self, x: fx.Proxy) -> fx.Proxy:
        tracer: Any = x.tracer
        path = tracer.path_of_module(self)
        if not path:
            raise TypeError(
                f"torch.fx cannot look into a {type(self).__name__}: trace the network around it, "
                "or use torch.export"
            )
        return tracer.create_proxy("call_module", path, (x,), {})

    def attend(self, x: Tensor) -> Tensor:
        """What `forward` does with an input that fits."""
        raise NotImplementedError

    def gates_of(self, x: Tensor) -> Gates:
        """The gates of a map `x` `[B, C, H, W]`, to be looked at; an attention may have none."""
        return Gates()

    def extra_repr(self) -> str:
        """What `print(model)` says beside the parts."""
        options = (f"{name}={value!r}" for name, value in self.options.items())
        return ", ".join([str(self.in_channels), *options])


def check_divides(in_channels: int, name: str, value: int) -> None:
    """Raise ValueError, in the words of the option `name`, unless C splits into `value` parts."""
    if in_channels < 1 or value < 1 or in_channels % value:
        raise ValueError(
            f"{name}={value} does not divide in_channels={in_channels}; give a {name} that does"
        )
