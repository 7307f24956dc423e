"""DeepLabV3+'s decode head with an attention on the ASPP output."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PolarizedASPPHead(DepthwiseSeparableASPPHead):
    """`DepthwiseSeparableASPPHead` with an attention between the ASPP and the decoder's fusion.

    There the map has the most context and the fewest pixels. With `attention=None` it is that
    head to the bit, parameter names included, so either loads the other's checkpoint.

    Args:
        attention: config of any registered attention (it is given `in_channels`), or None.
        **kwargs: as for `DepthwiseSeparableASPPHead`.
    """

    def __init__(self, attention: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = (
            MODELS.build({**attention, "in_channels": self.channels}) if attention else None
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone maps, the first at the decoder's resolution → logits `[B, classes, h, w]`."""
        x = self._forward_feature(inputs)  # the ASPP output [B, channels, H, W]
        if self.attention is not None:
            x = self.attention(x)
        if self.c1_bottleneck is not None:
            c1 = self.c1_bottleneck(inputs[0])
            x = resize(x, c1.shape[2:], mode="bilinear", align_corners=self.align_corners)
            x = torch.cat([x, c1], dim=1)
        return self.cls_seg(self.sep_bottleneck(x))
