"""MMSegmentation's decode heads with an attention on the map that they end with.

Each is the plain head with one more option; with `attention=None` it is that head to the bit,
parameter names included, so either loads the other's checkpoint.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead, FCNHead, UPerHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor


class AttendingHead:
    """What heads with an attention have in common.

    Args:
        attention: config of any registered attention (it is given `in_channels`), or None.
        **kwargs: as for the plain head.
    """

    channels: int
    attention: Any

    def __init__(self, attention: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = (
            MODELS.build({**attention, "in_channels": self.channels}) if attention else None
        )

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        x: Tensor = super()._forward_feature(inputs)  # type: ignore[misc]
        return x if self.attention is None else self.attention(x)


@MODELS.register_module()
class PolarizedFCNHead(AttendingHead, FCNHead):
    """`FCNHead`: on the map before the classifier."""


@MODELS.register_module()
class PolarizedUPerHead(AttendingHead, UPerHead):
    """`UPerHead`: on the fused map, before the classifier."""


@MODELS.register_module()
class PolarizedASPPHead(AttendingHead, DepthwiseSeparableASPPHead):
    """`DepthwiseSeparableASPPHead`: between the ASPP and the decoder's fusion.

    There the map has the most context and the fewest pixels.
    """

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone maps, the first at the decoder's resolution → logits `[B, classes, h, w]`."""
        x = self._forward_feature(inputs)  # the ASPP output [B, channels, H, W], attended to
        if self.c1_bottleneck is not None:
            c1 = self.c1_bottleneck(inputs[0])
            x = resize(x, c1.shape[2:], mode="bilinear", align_corners=self.align_corners)
            x = torch.cat([x, c1], dim=1)
        return self.cls_seg(self.sep_bottleneck(x))
