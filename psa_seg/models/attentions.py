"""MMSegmentation's and mmcv's own attentions, under the signature of those in `psa_seg.attention`.

Each is the library's module, unchanged, in `layer`.
"""

import torch
from mmcv.cnn import NonLocal2d
from mmcv.cnn.bricks import ContextBlock
from mmseg.models.utils import SELayer
from mmseg.registry import MODELS
from torch import Tensor

from psa_seg.attention.base import Attention, Gates


@MODELS.register_module()
class SqueezeExcitation(Attention):
    """A gate by channel from the mean pixel: mmseg's `SELayer`, `[B, C, H, W]` → `[B, C, H, W]`.

    Paper: Hu et al., "Squeeze-and-Excitation Networks", 2017, arXiv 1709.01507. mmseg's layer
    differs: its gate is a hard sigmoid, and its hidden layer has a multiple of 8 channels.

    Args:
        in_channels: C.
        reduction: how many times narrower the hidden layer is, about.
    """

    def __init__(self, in_channels: int, reduction: int = 16) -> None:
        super().__init__(in_channels, reduction=reduction)
        self.layer = SELayer(in_channels, ratio=reduction)

    def init_weights(self) -> None:
        """mmcv's start for convolutions: Kaiming's, without bias."""
        self.layer.conv1.init_weights()
        self.layer.conv2.init_weights()

    def attend(self, x: Tensor) -> Tensor:
        """The map, gated."""
        return self.layer(x)

    @torch.no_grad()
    def gates_of(self, x: Tensor) -> Gates:
        """The one gate, by channel, for `x` `[B, C, H, W]`."""
        layer = self.layer
        return Gates(channel=layer.conv2(layer.conv1(layer.global_avgpool(x))).flatten(1))


@MODELS.register_module()
class GlobalContext(Attention):
    """Adds one vector to every pixel: mmcv's `ContextBlock`, `[B, C, H, W]` → `[B, C, H, W]`.

    Paper: Cao et al., "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
    2019, arXiv 1904.11492. Starts as the identity. mmcv asks for the ratio, which is the paper's
    here; the hidden layer has two channels at least, for the layer norm of one is a constant.

    Args:
        in_channels: C.
        reduction: how many times narrower the hidden layer is.
    """

    def __init__(self, in_channels: int, reduction: int = 16) -> None:
        super().__init__(in_channels, reduction=reduction)
        self.layer = ContextBlock(in_channels, ratio=max(1 / reduction, 2 / in_channels))

    def init_weights(self) -> None:
        """PyTorch's start, then mmcv's on top: a zero last layer."""
        super().init_weights()
        self.layer.reset_parameters()

    def attend(self, x: Tensor) -> Tensor:
        """The map and its context."""
        return self.layer(x)


@MODELS.register_module()
class NonLocal(Attention):
    """Every pixel looks at every other: mmcv's `NonLocal2d`, `[B, C, H, W]` → `[B, C, H, W]`.

    Paper: Wang et al., "Non-local Neural Networks", 2017, arXiv 1711.07971, embedded Gaussian.
    Starts as the identity. mmcv differs: it scales the logits, as transformers do, and its last
    layer has no BatchNorm. Keeps N² numbers for N pixels: 4 GiB an image at 128x256.

    Args:
        in_channels: C.
        reduction: how many times narrower queries, keys and values are.
    """

    def __init__(self, in_channels: int, reduction: int = 2) -> None:
        super().__init__(in_channels, reduction=reduction)
        self.layer = NonLocal2d(in_channels, reduction=reduction, mode="embedded_gaussian")

    def init_weights(self) -> None:
        """mmcv's start: small projections, and a zero last layer."""
        self.layer.init_weights()

    def attend(self, x: Tensor) -> Tensor:
        """The map and what each pixel saw."""
        return self.layer(x)
