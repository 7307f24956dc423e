"""An attention in every residual block of a network, whichever library the network is from.

It sees what goes into the convolution that follows the block's first 3x3 one, which is that one's
output after norm and activation. There the official code of Polarized Self-Attention has it in
HRNet's BasicBlocks (`deattn` in github.com/DeLightCMU/PSA), and MMSegmentation's plugin position
`after_conv2` puts it in Bottlenecks.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

BLOCKS = ("BasicBlock", "Bottleneck")


def attend_in_blocks(
    network: nn.Module,
    build: Callable[[int], nn.Module],
    blocks: Sequence[str] = BLOCKS,
    at_end: bool = False,
) -> list[str]:
    """Give every residual block of `network` an attention of its own, in place.

    A block's becomes its child `attention`; all other names in the state dict stay as they are, so
    that weights of the plain network fit but for those of the attentions. It acts by a hook on the
    convolution: `torch.fx` does not see it, and whoever replaces that convolution takes it away.

    Args:
        network: of MMSegmentation, torchvision or timm, say: one whose blocks call their
            convolutions in the order in which they have them. A squeeze-and-excite between them
            goes before the attention.
        build: of the number of channels, an attention `[B, C, H, W]` → `[B, C, H, W]`; it is
            brought to the convolution's device and dtype.
        blocks: names of the classes (or of a parent of theirs) that are residual blocks;
            `('InvertedResidual',)` for a MobileNetV2.
        at_end: see what the block adds to its shortcut instead, in blocks that have one part for
            all their convolutions, such as a MobileNetV2's: the narrow map after its last norm.

    Returns:
        Names of the blocks.

    Raises:
        ValueError: where there is no such block, one has no convolution that takes what a 3x3 one
            gives, or no such part, or has an attention already; `network` is then as it was.
    """
    blocks = (blocks,) if isinstance(blocks, str) else blocks
    found = {
        name: module
        for name, module in network.named_modules()
        if any(kind.__name__ in blocks for kind in type(module).__mro__)
    }
    if not found:
        raise ValueError(
            f"{type(network).__name__} has no residual blocks named {', '.join(blocks)}"
        )
    for name, block in found.items():
        if hasattr(block, "attention"):
            raise ValueError(f"block {name} has an attention already")
    if at_end:
        bodies = [_body(name, block) for name, block in found.items()]
        ends = [_convolutions(body)[-1] for body in bodies]
        attentions = [build(end.out_channels).to(end.weight) for end in ends]
        for block, body in zip(found.values(), bodies, strict=True):
            body.register_forward_hook(_Attend(block))
    else:
        places = [_following(name, block) for name, block in found.items()]
        attentions = [build(place.in_channels).to(place.weight) for place in places]
        for block, place in zip(found.values(), places, strict=True):
            place.register_forward_pre_hook(_Attend(block))
    for block, attention in zip(found.values(), attentions, strict=True):
        block.attention = attention.train(block.training)
    return list(found)


def _body(name: str, block: nn.Module) -> nn.Module:
    """The one part of the block that has all its convolutions."""
    wanted = len(_convolutions(block))
    for part in block.children():
        if wanted and len(_convolutions(part)) == wanted:
            return part
    raise ValueError(f"block {name} has no part with all its convolutions, at whose end to attend")


def _following(name: str, block: nn.Module) -> nn.Conv2d:
    """The convolution that takes what the block's first 3x3 one gives."""
    convolutions = _convolutions(block)
    kernels = [convolution.kernel_size for convolution in convolutions]
    if (3, 3) in kernels:
        index = kernels.index((3, 3))
        first = convolutions[index]
        # A part with several of its own, such as a squeeze-and-excite, stands in between.
        parts = [part for part in block.modules() if first not in part.modules()]
        inner = [c for part in parts if len(own := _convolutions(part)) > 1 for c in own]
        for convolution in convolutions[index + 1 :]:
            if convolution not in inner and convolution.in_channels == first.out_channels:
                return convolution
    raise ValueError(f"block {name} has no convolution that takes what a 3x3 one gives")


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


class _Attend:
    """What a layer is given, or gives, passes its block's attention.

    An object, and no closure: a deep copy of the network must attend with its own attention.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], out: Any = None) -> Any:
        seen = inputs if out is None else (out,)
        return self.block.attention(*seen)  # type: ignore[operator]
