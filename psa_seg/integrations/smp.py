"""The attention in any model of segmentation_models_pytorch: bottleneck, skips, decoder blocks.

    model = segmentation_models_pytorch.Unet("resnet34", encoder_weights=None)
    attend(model, PolarizedSelfAttention, at=("bottleneck", "skips"))

All names in the plain model's state dict stay, so that its weights fit but for those of the
attentions: `model.load_state_dict(plain, strict=False)`.
"""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from psa_seg.attention import blocks

PLACES = ("bottleneck", "skips", "decoder")
SIZE = 128  # of the image by which widths are found out: numbers of pixels, and none of them drawn


class Levels(nn.ModuleDict):
    """Attentions for some of an encoder's maps, by their index; the others are handed through."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps `[B, C_i, H_i, W_i]` in, the same list out."""
        attended = list(features)
        for level, attention in self.items():
            attended[int(level)] = attention(attended[int(level)])
        return attended


def attend(
    model: nn.Module, build: Callable[[int], nn.Module], at: str | Sequence[str] = "bottleneck"
) -> list[str]:
    """Give a model attentions of their own at these places, in place.

    The bottleneck is the encoder's last map, skips are the others that the decoder reads; both are
    attended to where the decoder takes them, in `decoder.attention.LEVEL`. Decoder blocks are those
    in its `blocks`, as of Unet, UnetPlusPlus, MAnet and Linknet; what each gives is attended to.

    Args:
        model: of segmentation_models_pytorch: one with an `encoder` and a `decoder`.
        build: of the number of channels, an attention `[B, C, H, W]` → `[B, C, H, W]`; it is
            brought to the model's device and dtype.
        at: one or more of `bottleneck`, `skips` and `decoder`.

    Returns:
        Names of the attentions.

    Raises:
        ValueError: for another place, a model that has no such place, has attentions already, or
            takes no image of 128x128; the model is then as it was.
    """
    at = (at,) if isinstance(at, str) else tuple(at)
    unknown = [place for place in at if place not in PLACES]
    if unknown or not at:
        raise ValueError(f"at={at}: take one or more of {', '.join(PLACES)}")
    network: Any = model
    if not (hasattr(model, "encoder") and hasattr(model, "decoder")):
        raise ValueError(f"{type(model).__name__} has no encoder and decoder, as smp's models have")
    if any(isinstance(part, blocks.Attends) for part in network.decoder.modules()):
        raise ValueError(f"{type(model).__name__} has attentions already: name all places at once")
    levels, widths = _measured(network)
    chosen = {
        str(level): width
        for level, width in levels.items()
        if ("bottleneck" if level == max(levels) else "skips") in at
    }
    if "skips" in at and len(levels) == 1:
        raise ValueError(f"{type(model).__name__} has no skips: its decoder reads one map alone")
    if "decoder" in at and not widths:
        raise ValueError(
            f"{type(model).__name__} has no decoder blocks to attend to: take bottleneck or skips"
        )
    weight = next(network.decoder.parameters())

    def made(width: int) -> nn.Module:
        return build(width).to(weight).train(model.training)

    inside = {name: made(width) for name, width in widths.items()} if "decoder" in at else {}
    outside = Levels({level: made(width) for level, width in chosen.items()})
    for name, attention in inside.items():
        blocks.attend(network.decoder.blocks.get_submodule(name), attention, blocks.AttendsAfter)
    if outside:
        blocks.attend(network.decoder, outside)
    return [
        *(f"decoder.attention.{level}" for level in outside),
        *(f"decoder.blocks.{name}.attention" for name in inside),
    ]


@torch.inference_mode(False)
@torch.enable_grad()
def _measured(model: Any) -> tuple[dict[int, int], dict[str, int]]:
    """Widths of the maps that the decoder reads, by their index, and of its blocks, by their name.

    Found out on a copy without memory (meta): whether a map is read is whether it has a gradient.
    """
    twin = copy.deepcopy(model).to("meta").float().eval()
    widths: dict[str, int] = {}
    features: list[Tensor] = []

    def watch(_: nn.Module, given: Any) -> Any:
        features.extend(map_.detach().requires_grad_() for map_ in given[0])
        return features, *given[1:]

    def measure(name: str, _: nn.Module, given: Any, out: Tensor) -> None:
        widths[name] = out.shape[1]

    twin.decoder.register_forward_pre_hook(watch)
    parts = getattr(twin.decoder, "blocks", None)
    if isinstance(parts, nn.ModuleList | nn.ModuleDict):
        for name, part in parts.named_children():
            part.register_forward_hook(functools.partial(measure, name))
    try:
        out = twin(torch.zeros(1, _channels(model), SIZE, SIZE, device="meta"))
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ValueError(f"{type(model).__name__} cannot be measured: {error}") from error
    masks = out[0] if isinstance(out, tuple) else out
    read = torch.autograd.grad(masks.sum(), features, allow_unused=True)
    levels = {i: f.shape[1] for i, f in enumerate(features) if i and read[i] is not None}
    levels = {level: width for level, width in levels.items() if width}
    return levels, {name: width for name, width in widths.items() if width}


def _channels(model: Any) -> int:
    """Of the images that a model takes."""
    return int(model.encoder.out_channels[0])
