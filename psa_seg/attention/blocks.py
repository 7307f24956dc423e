"""An attention in every residual block of a network, whichever library the network is from.

It sees what goes into the convolution that follows the block's first 3x3 one, which is that one's
output after norm and activation. There the official code of Polarized Self-Attention has it in
HRNet's BasicBlocks (`deattn` in github.com/DeLightCMU/PSA), and MMSegmentation's plugin position
`after_conv2` puts it in Bottlenecks.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

BLOCKS = ("BasicBlock", "Bottleneck")


def attend_in_blocks(
    network: nn.Module,
    build: Callable[[int], nn.Module],
    blocks: Sequence[str] = BLOCKS,
    at_end: bool = False,
    after: str = "",
) -> list[str]:
    """Give every residual block of `network` an attention of its own, in place.

    It becomes the child `attention` of the layer at which it acts, and so part of every copy,
    trace and pickle: the convolution's class becomes one that attends first (`Attends`). All names
    in the plain network's state dict stay, so that its weights fit but for those of the attentions.
    Of these, `BLOCK.attention.*` is read as well: earlier versions, and MMSegmentation's plugins,
    write them so.

    What wraps that convolution, such as a LoRA adapter, wraps its attention, too; what looks for
    exactly `nn.Conv2d`, as eager-mode quantization does, passes it by.

    Args:
        network: of MMSegmentation, torchvision or timm, say: one whose blocks call their
            convolutions in the order in which they have them. A squeeze-and-excite between them
            goes before the attention.
        build: of the number of channels, an attention `[B, C, H, W]` → `[B, C, H, W]`; it is
            brought to the convolution's device and dtype.
        blocks: names of the classes (or of a parent of theirs) that are residual blocks;
            `('InvertedResidual',)` for a MobileNetV2.
        at_end: see what the block adds to its shortcut instead, in blocks that have one
            `nn.Sequential` for all their convolutions, such as a MobileNetV2's: the narrow map
            after its last norm.
        after: name of the layer in each block that gives the map to be seen, such as `conv_dw` in
            timm's `ConvNeXtBlock`, which has no 3x3 convolution; its child is the attention then.

    Returns:
        Names of the blocks.

    Raises:
        ValueError: for both `at_end` and `after`, where there is no such block, one has no
            convolution that takes what a 3x3 one gives, or no such part or layer, or has an
            attention already, or where that convolution is parametrized (attend first); `network`
            is then as it was.
    """
    if at_end and after:
        raise ValueError("at_end and after name two places: take one")
    blocks = (blocks,) if isinstance(blocks, str) else blocks
    found = {
        name: module
        for name, module in network.named_modules()
        if any(kind.__name__ in blocks for kind in type(module).__mro__)
    }
    if not found:
        kinds = {type(module).__name__ for module in network.modules()}
        others = sorted(kind for kind in kinds if re.search("Block|Bottleneck|Residual", kind))
        hint = f"; it has {', '.join(others)}" if others else ""
        raise ValueError(
            f"{type(network).__name__} has no residual blocks named {', '.join(blocks)}{hint}"
        )
    for name, block in found.items():
        if any(inner.rpartition(".")[2] == "attention" for inner, _ in block.named_modules()):
            raise ValueError(f"block {name} has an attention already")
    find: Callable[[str, nn.Module], Any] = _body if at_end else _following
    if after:
        find = functools.partial(_named, after)
    places = [find(name, block) for name, block in found.items()]
    ends: list[Any] = [_convolutions(p)[-1] if at_end or after else p for p in places]
    attentions = [
        build(end.out_channels if at_end or after else end.in_channels).to(end.weight)
        for end in ends
    ]
    for block, place, attention in zip(found.values(), places, attentions, strict=True):
        if at_end:
            place.add_module("attention", attention.train(block.training))
        else:
            attend(place, attention.train(block.training), AttendsAfter if after else Attends)
        (inside,) = (inner for inner, part in block.named_modules() if part is place)
        block.register_load_state_dict_pre_hook(functools.partial(_read_former, inside))
    return list(found)


class Attends:
    """A layer that gives what it is given to its child `attention` first.

    No wrapper: the layer keeps its names, its hooks, and whatever else knows it. It acts when it is
    called, and not in `forward`, which some libraries replace.
    """

    plain: Any
    how: Any
    attention: nn.Module

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer of the map attended to."""
        return super().__call__(self.attention(x), *args, **kwargs)  # type: ignore[misc]

    def init_weights(self) -> None:
        """Draw the starts anew: mmengine asks a block's parts, and no part's parts."""
        for owner in (super(), self.attention):
            init: Any = getattr(owner, "init_weights", None)
            if init:
                init()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A pickle names the plain class: `_attending` makes this one where it is read."""
        reduced: Any = super().__reduce_ex__(protocol)
        known = type(self) is _attending(self.plain, self.how)
        return (_bare, (self.plain, self.how), *reduced[2:]) if known else reduced


class AttendsAfter(Attends):
    """A layer whose child `attention` gets what it gives."""

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the layer gives, attended to."""
        return self.attention(super(Attends, self).__call__(*args, **kwargs))  # type: ignore[misc]


def attend(layer: nn.Module, attention: nn.Module, how: Any = Attends) -> None:
    """Have a layer attend, in place, first or after: `attention` becomes its child."""
    kind: Any = type(layer)
    layer.__class__ = _attending(kind, how)
    layer.add_module("attention", attention)


@functools.cache
def _attending(plain: Any, how: Any = Attends) -> Any:
    """The class of layers of class `plain` that attend."""
    return type(f"Attending{plain.__name__}", (how, plain), {"plain": plain, "how": how})


def _bare(plain: Any, how: Any = Attends) -> nn.Module:
    kind = _attending(plain, how)
    return kind.__new__(kind)


def _read_former(place: str, block: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """When the block's weights are read, `attention.*` is that of its layer `place`."""
    former = f"{prefix}attention."
    for key in [key for key in state if key.startswith(former)]:
        name = f"{prefix}{place}.attention.{key.removeprefix(former)}"
        if name not in state:
            state[name] = state.pop(key)


def _body(name: str, block: nn.Module) -> nn.Module:
    """The one part of the block that has all its convolutions."""
    wanted = len(_convolutions(block))
    for part in block.children():
        listed = isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward
        if wanted and listed and len(_convolutions(part)) == wanted:
            return part
    raise ValueError(f"block {name} has no part with all its convolutions, at whose end to attend")


def _named(layer: str, name: str, block: nn.Module) -> nn.Module:
    """The layer of the block by its name in it, which has a convolution."""
    found = dict(block.named_modules()).get(layer)
    if found is None or not _convolutions(found):
        raise ValueError(f"block {name} has no convolution named {layer}, after which to attend")
    return found


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
                if is_parametrized(convolution):
                    raise ValueError(f"block {name}: attend before its layers are parametrized")
                return convolution
    raise ValueError(
        f"block {name} has no convolution that takes what a 3x3 one gives: name the layer whose "
        "map is to be seen, with after=..."
    )


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]
