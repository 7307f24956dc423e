"""What a converted checkpoint has to be, to the last tensor."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import Tensor, nn

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.checkpoints.names import EXAMPLES, PARTS
from psa_seg.errors import UserError
from psa_seg.models.placement import find

State = Mapping[str, Tensor]
BACKBONE = "backbone."


def attentions(model: nn.Module) -> dict[str, nn.Module]:
    """A model's attentions, by their prefix in its state dict."""
    return {f"{name}.": attention for name, attention in find(model).items()}


def keys(model: nn.Module) -> set[str]:
    """Of its state dict, and of its backbone's."""
    whole = set(model.state_dict())
    return whole | {key.removeprefix(BACKBONE) for key in whole if key.startswith(BACKBONE)}


def gammas(own: State, model: nn.Module) -> list[str]:
    """Keys in a part `own` of a model that hold the γ of an attention; 1 gives what it is without.

    No code but ours has it.
    """
    inside = {f"{prefix}gamma" for prefix in attentions(model)}
    return [key for key in own if inside & {key, BACKBONE + key}]


def of_model(kind: str, state: State, model: nn.Module) -> tuple[str, State]:
    """What of a model `state` is, by the most keys in common: its name, and its state dict.

    It is the model, its backbone, or its attentions alone; of `deeplabv3plus` the model, and of
    `torchvision` the backbone without attentions.
    """
    whole, inside = model.state_dict(), tuple(attentions(model))
    backbone = {k.removeprefix(BACKBONE): t for k, t in whole.items() if k.startswith(BACKBONE)}
    if kind == "torchvision":
        plain = {k: t for k, t in backbone.items() if not (BACKBONE + k).startswith(inside)}
        return "the backbone without attentions", plain
    parts = {"the model": whole}
    if kind != "deeplabv3plus":
        attention = {k: t for k, t in whole.items() if k.startswith(inside)}
        parts |= {"the backbone": backbone, "the attentions": attention}
    return min(parts.items(), key=lambda part: len(part[1].keys() ^ state.keys()))


def require_form(kind: str, state: State, model: nn.Module, config: str | None) -> None:
    """Raise UserError where the attentions in `state` compute another function than the model's.

    Args:
        kind: of the foreign checkpoint.
        state: in our names.
        model: of the config, and its attentions.
        config: its path, for the message.
    """
    if kind not in PARTS or not any(re.search(PARTS[kind], key) for key in state):
        return
    form, layout = ("paper", None) if kind == "port" else ("official", "parallel")
    if any(re.search(r"(?:^|\.)conv_up\.\d", key) for key in state):
        layout = "sequential"
    for prefix, attention in attentions(model).items():
        options = getattr(attention, "options", {})
        wanted = {"form": form} | ({"layout": layout} if layout else {})
        if "form" not in options or all(options[name] == wanted[name] for name in wanted):
            continue
        given = {name: options[name] for name in wanted}
        key = f"model.{prefix.partition('.')[0]}.attention"
        raise UserError(
            f"the file holds {_called(**wanted)}, and the config has {_called(**given)}: {config}\n"
            f"  where      {prefix}*\n"
            "  do         --cfg-options "
            + " ".join(f"{key}.{name}={value}" for name, value in wanted.items())
        )


def _called(form: str, layout: str = "") -> str:
    name = {"parallel": "PSA_p", "sequential": "PSA_s"}.get(layout, "its authors' PSA")
    return name if form == "official" else f"the paper's form{f', {layout}' * bool(layout)}"


def of_attentions(kind: str, state: State, layout: str | None, back: bool) -> tuple[str, State]:
    """`state` as it is if every Polarized Self-Attention in it is whole; the rest may be anything.

    Args:
        kind: `port` or `official`.
        state: in our names.
        layout: of the port's; the official code's follow from their keys.
        back: whether it is to be theirs, which have no γ.

    Raises:
        UserError: where there is none, or one of a width that does not exist.
    """
    key = re.compile(rf"((?:.*\.)?){PARTS[kind]}\..*")
    prefixes = sorted({match[1] for name in state if (match := key.fullmatch(name))})
    if not prefixes:
        raise UserError(
            "the checkpoint holds no Polarized Self-Attention of this kind\n"
            f"  expected   keys such as {EXAMPLES[kind]}, whatever stands before\n"
            "  do         choose the kind by the code that wrote the file"
        )
    target = {name: t for name, t in state.items() if not name.startswith(tuple(prefixes))}
    found: Counter[str] = Counter()
    for prefix in prefixes:
        held = {name: t for name, t in state.items() if name.startswith(prefix)}
        channels = max((size for t in held.values() for size in t.shape), default=0)
        options: dict[str, Any] = {"form": "paper", "layout": layout or "parallel"}
        if kind == "official":
            parallel = f"{prefix}conv_up.weight" in held
            options = {"form": "official", "layout": "parallel" if parallel else "sequential"}
        if f"{prefix}gamma" in held and not back:
            options["residual"] = True
        try:
            with torch.device("meta"):  # shapes alone
                attention = PolarizedSelfAttention(channels, **options)
        except ValueError as error:
            raise UserError(f"{prefix}* is no Polarized Self-Attention\n  {error}") from error
        found[", ".join(f"{name}={value!r}" for name, value in options.items())] += 1
        target |= {prefix + name: t for name, t in attention.state_dict().items()}
    kinds = (f"{count} x {what}" for what, count in found.items())
    return f"attentions by themselves, {', '.join(kinds)}", target


def of_backbone(state: State) -> tuple[str, State]:
    """mmseg's backbone that a torchvision checkpoint is of: its name, and its state dict.

    Args:
        state: in mmseg's names.

    Raises:
        UserError: where there is none.
    """
    options: dict[str, object] = {"type": "MobileNetV2"}
    if "conv1.conv.weight" not in state:
        blocks = {m[0] for k in state if (m := re.match(r"layer[1-4]\.\d+\.", k))}
        counts = tuple(sum(b.startswith(f"layer{n}.") for b in blocks) for n in (1, 2, 3, 4))
        inner = state.get("layer1.0.conv2.weight")
        deep = "layer1.0.conv3.weight" in state
        depths = {
            (depth >= 50, stages): depth for depth, (_, stages) in ResNet.arch_settings.items()
        }
        if inner is None or inner.ndim != 4 or (deep, counts) not in depths:
            raise UserError(
                "the checkpoint is of no backbone that torchvision and mmseg share\n"
                "  expected   a ResNet or ResNeXt of 18 to 152 layers, or a MobileNetV2\n"
                "  do         if all its names begin alike, strip that: --rename module.="
            )
        width, base = inner.shape[:2]
        options = {"type": "ResNet", "depth": depths[deep, counts]}
        if width != base:  # grouped convolutions
            options |= {"type": "ResNeXt", "groups": width // base, "base_width": base}
    with torch.device("meta"):
        model = MODELS.build({**options, "_scope_": "mmseg"})
    return f"mmseg's {options['type']} {options.get('depth', '')}".rstrip(), model.state_dict()
