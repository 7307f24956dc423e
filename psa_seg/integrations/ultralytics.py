"""Polarized Self-Attention in Ultralytics' YOLO models, YOLOv10 first of all.

    yolo = yolov10("n", attention=dict(layout="sequential"))
    yolo.train(data="coco8.yaml")

In a model file of your own, after `register()`, at every scale:

    - [-1, 1, PolarizedSelfAttention, [c2]]  # or [c2, paper, sequential, channel]

The parser finds a layer's class among the globals of `ultralytics.nn.tasks`, and puts its own
variables in the place of arguments that bear their names: as `nc` is the number of classes, `c2` is
that of the channels of the layer before. YOLOv10's own `PSA` is another thing, partial
self-attention, and stays what it is.

A saved model loads, predicts, validates and exports wherever psa_seg is installed. Training builds
it anew from its description: a fresh process calls `register()` before it trains or resumes.

Ultralytics is AGPL-3.0, and what is distributed with it comes under those terms. Nothing of it is
copied here: architectures are read from the installed package, when one is asked for.
"""

import inspect
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.errors import UserError

NAME = PolarizedSelfAttention.__name__
SCALES = ("n", "s", "m", "b", "l", "x")
VERSION = "8.4."  # the one whose parser is known


def register() -> None:
    """Make `PolarizedSelfAttention` a layer that YOLO's model files may name.

    Raises:
        UserError: without ultralytics 8.4, or where its parser does not understand the layer.
    """
    try:
        import ultralytics
        from ultralytics.nn import tasks
    except ImportError as error:
        raise UserError(
            f"{__name__} needs ultralytics, which cannot be imported: {error}; "
            "pip install 'psa-seg[yolo]'"
        ) from error
    tasks.PolarizedSelfAttention = PolarizedSelfAttention
    if not ultralytics.__version__.startswith(VERSION) or not _is_understood(tasks):
        raise UserError(
            f"unknown parser version: {__name__} cannot add a layer to parse_model in "
            f"{tasks.__file__} (ultralytics {ultralytics.__version__}); "
            f"pip install 'ultralytics=={VERSION}*'"
        )
    torch.serialization.add_safe_globals([PolarizedSelfAttention])  # for ULTRALYTICS_SAFE_LOAD


def yolov10(
    scale: str = "n",
    after: int | None = None,
    attention: dict[str, Any] | None = None,
    weights: str | Path | None = None,
) -> Any:
    """YOLOv10 with the attention behind one layer: an `ultralytics.YOLO` like any other.

    Every layer that took the chosen layer's map takes the attended one. All other weights are those
    of the plain model, and `train` starts from them.

    Args:
        scale: `n`, `s`, `m`, `b`, `l` or `x`.
        after: the chosen layer's index in the plain model; None is the last of the backbone.
        attention: options of `PolarizedSelfAttention`, such as `dict(init="identity")`.
        weights: a plain model's checkpoint, which then says scale and classes, too.

    Raises:
        UserError: for an unknown scale, layer or option, and as `register`.
    """
    register()
    from ultralytics import YOLO

    if scale not in SCALES:
        raise UserError(f"yolov10(scale={scale!r}): no such scale; take {', '.join(SCALES)}")
    arguments = _arguments(attention or {})
    try:
        yolo = YOLO(weights or f"yolov10{scale}.yaml")
    except FileNotFoundError as error:
        raise UserError(f"yolov10(weights={str(weights)!r}): {error}; name a checkpoint") from error
    plain, name = yolo.model, f"{Path(yolo.model_name).stem}_polarized.yaml"
    if after is None:
        after = len(plain.yaml["backbone"]) - 1
    config = {**_with_layer(plain.yaml, after, arguments), "yaml_file": name}
    yolo.model = type(plain)(config, config.get("channels", 3), verbose=False)
    yolo.model.args, yolo.model.task, yolo.model.names = plain.args, plain.task, plain.names
    plain.model.insert(after + 1, torch.nn.Identity())  # now weights of both bear the same names
    yolo.load(plain)  # without this, `train` would build the plain model
    yolo.model.pt_path = None  # or `export` would write over the plain model's
    yolo.overrides["model"] = yolo.model.args["model"] = name
    return yolo


def _arguments(options: dict[str, Any]) -> list[Any]:
    """Options by name → by place: a model file knows no other."""
    try:
        PolarizedSelfAttention(16, **options)  # YOLOv10's narrowest map
    except (TypeError, ValueError) as error:
        raise UserError(
            f"yolov10(attention={options}): {error}; help({NAME}) lists the options"
        ) from error
    bound = inspect.signature(PolarizedSelfAttention).bind("c2", **options)
    bound.apply_defaults()
    return list(bound.args)


def _with_layer(config: dict[str, Any], after: int, arguments: list[Any]) -> dict[str, Any]:
    """A model's description with the attention between the layer `after` and all that take it."""
    rows = deepcopy(config["backbone"] + config["head"])
    if type(after) is not int or not 0 <= after < len(rows) - 1:
        raise UserError(
            f"yolov10(after={after}): no layer of that index has another behind it; "
            f"take 0 to {len(rows) - 2}"
        )

    def moved(source: int, index: int) -> int:
        if source < 0:  # counted back from a layer that moves, to one that may not
            return source - (index + source < after)
        return source + (source >= after)

    for index, row in enumerate(rows):
        if index > after:
            several = isinstance(row[0], list)
            sources = [moved(source, index) for source in (row[0] if several else row[:1])]
            row[0] = sources if several else sources[0]
    rows.insert(after + 1, [-1, 1, NAME, arguments])
    split = len(config["backbone"]) + (after < len(config["backbone"]))
    return {**config, "backbone": rows[:split], "head": rows[split:]}


def _is_understood(tasks: Any) -> bool:
    """Whether the parser builds the layer, with its options, for the width that a scale makes."""
    rows = [[-1, 1, "Conv", [16, 1]], [-1, 1, NAME, ["c2", "paper", "sequential"]]]
    config = {"nc": 1, "width_multiple": 0.5, "backbone": rows, "head": []}
    try:
        layer = tasks.parse_model(config, 3, verbose=False)[0][1]
        built = (type(layer), layer.in_channels, layer.layout)
    except Exception:  # whatever a parser of another kind raises
        return False
    return built == (PolarizedSelfAttention, 8, "sequential")
