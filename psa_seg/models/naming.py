"""What tables call a network."""

import math
from typing import Any

from psa_seg.models.placement import PLAIN, attentions, decode_heads
from psa_seg.registry import name_of


def backbone(model: Any) -> str:
    """A backbone's name as in model zoos: `R-50-D8` with its output stride, `HRNetV2-W48`."""
    part = model["backbone"]
    name = name_of(part["type"])
    kind = PLAIN.get(name, name)
    if kind == "TIMMBackbone":
        return str(part["model_name"])
    if kind == "HRNet":
        return f"HRNetV2-W{part['extra']['stage2']['num_channels'][0]}"
    if "strides" not in part:
        return kind
    stride = 2 * math.prod(part["strides"]) * (2 if "depth" in part else 1)
    letter = "X" if kind == "ResNeXt" else "R"
    name = f"{letter}-{part['depth']}" if "depth" in part else kind
    return f"{name}-D{stride}"


def decoder(model: Any) -> str:
    """What a network is called after, beside its backbone: `DeepLabV3+`, `OCR`."""
    name = name_of(decode_heads(model)[-1]["type"])
    kind = PLAIN.get(name, name)
    return "DeepLabV3+" if "ASPP" in kind else kind.removesuffix("Head")


def label(model: Any) -> str:
    """Its attentions with their options and placements, or `none`."""
    named = []
    for placement, options in attentions(model).items():
        values = [f"{key}={value}" for key, value in options.items() if key != "type"]
        named.append(", ".join([name_of(options["type"]), *values, placement]))
    return " + ".join(named) or "none"
