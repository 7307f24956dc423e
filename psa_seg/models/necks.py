"""An attention between backbone and decode head."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule, ModuleDict
from mmseg.registry import MODELS
from torch import Tensor

DEFAULT_ATTENTION = {"type": "PolarizedSelfAttention"}


@MODELS.register_module()
class PolarizedNeck(BaseModule):
    """Applies an attention to chosen feature maps and hands the others through.

    Number, order and channels of the maps stay as they are, so it fits between any backbone and
    head. An auxiliary head reads the neck's output, too.

    Args:
        in_channels: channels of each of the backbone's feature maps.
        levels: which of them to attend to; negative ones count from the last.
        attention: config of the attention; it is given `in_channels`.

    Raises:
        ValueError: for a level that is not there, or a number of maps that is not
            `len(in_channels)`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        levels: Sequence[int] = (-1,),
        attention: dict[str, Any] = DEFAULT_ATTENTION,
    ) -> None:
        super().__init__()
        count = len(in_channels)
        if not levels or any(not -count <= level < count for level in levels):
            raise ValueError(
                f"PolarizedNeck: levels must name some of {count} feature maps (0 to {count - 1}, "
                f"or -1 for the last), not {list(levels)}"
            )
        self.count = count
        chosen = sorted({level % count for level in levels})
        self.attentions = ModuleDict(
            {str(i): MODELS.build({**attention, "in_channels": in_channels[i]}) for i in chosen}
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Feature maps `[B, C_i, H_i, W_i]` in, the same list out."""
        if len(inputs) != self.count:
            raise ValueError(
                f"PolarizedNeck: in_channels lists {self.count} feature maps, but the backbone "
                f"gives {len(inputs)}"
            )
        outputs = list(inputs)
        for level, attention in self.attentions.items():
            outputs[int(level)] = attention(inputs[int(level)])
        return tuple(outputs)
