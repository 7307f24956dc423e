"""MMSegmentation's backbones with an attention in every residual block.

Each is the plain backbone, of the same name without `Polarized`, with two more options; a
checkpoint of the plain one fits but for the attentions, and with `attention=None` strictly.
"""

from collections.abc import Sequence
from typing import Any

from mmseg.models.backbones import (
    HRNet,
    MobileNetV2,
    ResNet,
    ResNetV1c,
    ResNetV1d,
    ResNeXt,
    TIMMBackbone,
)
from mmseg.registry import MODELS
from torch import nn

from psa_seg.attention.base import Attention
from psa_seg.attention.blocks import BLOCKS, attend_in_blocks


class Attending(nn.Module):
    """What backbones with an attention in their blocks have in common.

    Args:
        attention: config of any registered attention (it is given `in_channels`), or None.
        blocks: class names of the blocks that get one, after their first 3x3 convolution:
            `('BasicBlock',)` is where the official code has it in HRNet.
        at_end: see what a block adds to its shortcut instead (`attend_in_blocks`).
        after: see what this layer of a block gives instead (`attend_in_blocks`).
        **kwargs: as for the plain backbone.
    """

    def __init__(
        self,
        attention: dict[str, Any] | None = None,
        blocks: Sequence[str] = BLOCKS,
        at_end: bool = False,
        after: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.attended: list[str] = []  # names of the blocks that have one
        if attention:
            self.attended = attend_in_blocks(
                self,
                lambda width: MODELS.build({**attention, "in_channels": width}),
                blocks,
                at_end,
                after,
            )
            # What attends in a frozen stage is frozen from the beginning: DDP looks once.
            freeze: Any = getattr(self, "_freeze_stages", None)
            if freeze:
                freeze()


@MODELS.register_module()
class PolarizedResNet(Attending, ResNet):
    """`ResNet`: 18 and 34 of BasicBlocks, 50 and more of Bottlenecks."""


@MODELS.register_module()
class PolarizedResNetV1c(Attending, ResNetV1c):
    """`ResNetV1c`: three 3x3 convolutions as stem."""


@MODELS.register_module()
class PolarizedResNetV1d(Attending, ResNetV1d):
    """`ResNetV1d`: with an average pool in the shortcuts, too."""


@MODELS.register_module()
class PolarizedResNeXt(Attending, ResNeXt):
    """`ResNeXt`: the attention has the width that its grouped convolution has."""


@MODELS.register_module()
class PolarizedHRNet(Attending, HRNet):
    """`HRNet`: Bottlenecks in its first stage, BasicBlocks in the others."""


@MODELS.register_module()
class PolarizedTIMMBackbone(Attending, TIMMBackbone):
    """`TIMMBackbone`, any of timm's: `blocks`, and `after`, say which blocks, and where in them.

    ResNets need neither; a ConvNeXt has `blocks=('ConvNeXtBlock',)` and `after='conv_dw'`.
    """


@MODELS.register_module()
class PolarizedMobileNetV2(Attending, MobileNetV2):
    """`MobileNetV2`: on the widened map, after the depthwise convolution; `at_end`, on the narrow.

    The narrow map is what the block's last convolution makes: 16 to 320 channels, as the paper's
    Bottlenecks attend to 64 to 512. DeepLabV3+ with Polarized Self-Attention in every block has
    5.91 M parameters then, and 14.51 M on the widened maps, of 5.45 M without.
    """

    def __init__(
        self,
        attention: dict[str, Any] | None = None,
        blocks: Sequence[str] = ("InvertedResidual",),
        at_end: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(attention, blocks, at_end, **kwargs)

    def init_weights(self) -> None:
        """Draw the start, unless it is read: what initialises the others does not reach these."""
        given: Any = self.init_cfg
        given = given if isinstance(given, list) else [given]
        settled = self.is_init or any(init and init["type"] == "Pretrained" for init in given)
        super().init_weights()
        if not settled:
            for module in self.modules():
                if isinstance(module, Attention):
                    module.init_weights()
