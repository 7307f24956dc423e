"""Where attentions sit: the one rule, for a model's config and for a built model.

In a config, an attention is what stands at `attention` with a `type` (of a head, a neck, a
backbone), the `cfg` of each of a backbone's `plugins`, whichever library either is from, and
whatever else has one of our attentions as its `type`. Placements: `backbone`, `neck`, `head` and
`auxiliary`.
"""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmseg.registry import MODELS
from torch import nn

from psa_seg.attention.base import Attention
from psa_seg.errors import UserError
from psa_seg.models.backbones import Attending
from psa_seg.models.decode_heads import AttendingHead
from psa_seg.models.necks import DEFAULT_ATTENTION, PolarizedNeck
from psa_seg.records.fingerprint import look_up
from psa_seg.registry import name_of

PARTS = {
    "backbone": "backbone",
    "neck": "neck",
    "decode_head": "head",
    "auxiliary_head": "auxiliary",
}
NECK = "PolarizedNeck"
BACKBONES = ("ResNet", "ResNetV1c", "ResNetV1d", "ResNeXt", "HRNet", "MobileNetV2", "TIMMBackbone")
# A type that can attend, by the plain one that it is without an attention.
ATTENDING = {
    "DepthwiseSeparableASPPHead": "PolarizedASPPHead",
    **{kind: f"Polarized{kind}" for kind in (*BACKBONES, "FCNHead", "UPerHead")},
}
PLAIN = {attending: plain for plain, attending in ATTENDING.items()}
# Options that a plain type does not have.
ONLY_WITH_ATTENTION = ("attention", "blocks", "at_end", "after")
PLUGIN_NAMES = tuple(f"after_conv{number}_plugin_names" for number in (1, 2, 3))
Config = Mapping[str, Any]


class Placed(NamedTuple):
    """An attention in a config."""

    placement: str
    where: str  # its key, below `model`
    config: dict[str, Any]


def placed(model: Config) -> list[Placed]:
    """The attentions of a model's config, in the order of backbone, neck and heads."""
    return [
        Placed(placement, where, dict(config))
        for part, placement in PARTS.items()
        for where, config in _walk(model.get(part), part)
    ]


def attentions(model: Config) -> dict[str, dict[str, Any]]:
    """Configs of a model's attentions by placement; a second one of a placement is `head 2`."""
    found: dict[str, dict[str, Any]] = {}
    for placement, _, config in placed(model):
        if placement == "backbone" and model["backbone"].get("at_end"):
            placement = "backbone, at the end of blocks"
        count = sum(key.split()[0] == placement for key in found)
        found[f"{placement} {count + 1}" if count else placement] = config
    return found


def decode_heads(model: Any) -> Sequence[Any]:
    """Configs of a model's decode heads: one, or a cascade whose last one's logits count."""
    head = model["decode_head"]
    return head if isinstance(head, list | tuple) else [head]


def _walk(node: Any, where: str) -> Iterator[tuple[str, Config]]:
    if isinstance(node, list | tuple):
        node = dict(enumerate(node))
    if not isinstance(node, Mapping):
        return
    if name_of(node.get("type")) == NECK and "attention" not in node:
        yield f"{where}.attention", DEFAULT_ATTENTION
    for key, value in node.items():
        place = f"{where}.{key}"
        if key == "plugins" and isinstance(value, list | tuple):
            for index, plugin in enumerate(value):
                yield f"{place}.{index}.cfg", plugin["cfg"]
        elif isinstance(value, Mapping) and "type" in value and _is_one(key, value["type"]):
            yield place, value
        else:
            yield from _walk(value, place)


def _is_one(key: Any, kind: Any) -> bool:
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    return key == "attention" or (isinstance(found, type) and issubclass(found, Attention))


def settled(model: Config) -> Any:
    """The config with types that follow from its attentions.

    A plain type that is given an `attention` becomes the one that takes it, and one of ours without
    an attention becomes the plain type that it is to the bit: a baseline reads as one.
    """
    result = copy.deepcopy(model)
    for part in _parts(result):
        kind = name_of(part.get("type"))
        if part.get("attention") and kind in ATTENDING:
            part["type"] = ATTENDING[kind]
        elif not part.get("attention") and (kind in PLAIN or kind in ATTENDING):
            part["type"] = PLAIN.get(kind, kind)
            for option in ONLY_WITH_ATTENTION:
                part.pop(option, None)
    return result


def without_attention(model: Config, keep: Collection[str] = ()) -> Any:
    """The config of the plain twin: no attention anywhere, and no neck of ours.

    Args:
        model: config.
        keep: placements whose attentions stay.

    Raises:
        UserError: where an attention is part of something that may be nothing without it.
    """
    plain: Any = copy.deepcopy(model)
    for placement, where, _ in placed(model):
        if placement in keep:
            continue
        path, _, last = where.rpartition(".")
        if last not in ("attention", "cfg"):
            raise UserError(
                f"the plain network without model.{where} cannot be derived\n"
                "  why        runs start from, and are compared with, the network without "
                "attention\n"
                "  do         give the attention to a part that can be built without it, as its "
                "option\n             `attention`, or to a ResNet as a plugin"
            )
        if last == "attention":
            look_up(plain, path).pop("attention", None)
        elif last == "cfg":
            look_up(plain, path.partition(".plugins.")[0]).pop("plugins", None)
    if "neck" not in keep:
        _take_out_necks(plain)
    return settled(plain)


def _take_out_necks(model: Any) -> None:
    """Without ours, of the one neck or of several in a row."""
    neck = model.get("neck")
    several = isinstance(neck, list | tuple)
    kept = [n for n in (neck if several else [neck]) if n and name_of(n.get("type")) != NECK]
    if not kept:
        model.pop("neck", None)
    elif several:
        model["neck"] = kept


def _parts(model: Any) -> Iterator[Any]:
    """Backbone, neck and heads of a config, to be changed in place."""
    for name in PARTS:
        part = model.get(name)
        yield from part if isinstance(part, list | tuple) else [part] if part else []


def find(model: nn.Module) -> dict[str, nn.Module]:
    """The attentions of a built model by their names in it; none of them within another."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if any(name.startswith(f"{outer}.") for outer in found):
            continue
        if isinstance(module, Attention):
            found[name] = module
        found |= {f"{prefix}{child}": part for child, part in _children(module).items()}
    return found


def _children(module: nn.Module) -> dict[str, nn.Module]:
    """What sits in a place for attentions, of whatever library it is."""
    if isinstance(module, AttendingHead) and module.attention is not None:
        return {"attention": module.attention}
    if isinstance(module, PolarizedNeck):
        return {f"attentions.{level}": part for level, part in module.attentions.items()}
    if isinstance(module, Attending):
        inside = tuple(f"{block}." for block in module.attended)
        return {
            name: part
            for name, part in module.named_modules()
            if name.endswith(".attention") and name.startswith(inside)
        }
    names = [name for attribute in PLUGIN_NAMES for name in getattr(module, attribute, ())]
    return {name: getattr(module, name) for name in names}


def check_found(config: Config, model: nn.Module) -> list[str]:
    """What is wrong where a built model has attentions that its config does not mention.

    Args:
        config: of the model.
        model: built from it.
    """
    left = find(MODELS.build(without_attention(config))) if find(model) else {}
    return [
        f"{name} is an attention that the model's config does not mention\n"
        "  why        the network without attention, which runs start from and are compared with,\n"
        "             would have it, too\n"
        "  do         build it from a config at the option `attention` of its part"
        for name in left
    ]
