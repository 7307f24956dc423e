"""Polarized Self-Attention in Ultralytics' YOLO models, for whatever task.

    python -m psa_seg.yolo train model=configs/yolo/yolo26n-sem-psa.yaml data=...

is the `yolo` command with the attention known (`description`: what is in such a file), and in
Python, after `register()`, `YOLO("configs/yolo/yolov10n-psa.yaml")` is a model like any other. Any
model file may name the layer `PolarizedSelfAttention` (`layer`). YOLOv10's own `PSA` is another
thing, partial self-attention, and stays what it is.

A saved model loads, predicts, validates, exports, trains and resumes wherever psa_seg is installed.

Ultralytics is AGPL-3.0, and what is distributed with it comes under those terms. Nothing of it is
copied here: architectures are read from the installed package, when one is asked for.
"""

from pathlib import Path
from typing import Any

import torch

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.errors import UserError
from psa_seg.integrations.ultralytics import description, layer
from psa_seg.integrations.ultralytics.description import Where

SCALES = ("n", "s", "m", "b", "l", "x")
VERSION = "8.4."  # the one whose parser is known


def register() -> None:
    """Make `PolarizedSelfAttention` a layer, and our model files models, of YOLO.

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
    from psa_seg.integrations.ultralytics import hooks

    known = ultralytics.__version__.startswith(VERSION)
    if not known or not (hooks.are_in() or hooks.put_in()):
        raise UserError(
            f"unknown parser version: {__name__} cannot add a layer to parse_model in "
            f"{tasks.__file__} (ultralytics {ultralytics.__version__}); "
            f"pip install 'ultralytics=={VERSION}*'"
        )
    for read in (PolarizedSelfAttention, layer.known):  # for ULTRALYTICS_SAFE_LOAD
        torch.serialization.add_safe_globals([read])


def yolo(
    model: str | Path,
    after: int | None = None,
    attention: dict[str, Any] | None = None,
) -> Any:
    """A model of Ultralytics' with the attention behind one layer: a `YOLO` like any other.

    Every layer that took the chosen layer's map takes the attended one. Of a checkpoint, all other
    weights are those of the plain model, and `train` starts from them; of a model file there are
    none, and `train` draws them, by its seed.

    Args:
        model: the plain one: a model file, such as `yolo26n-sem.yaml`, or a checkpoint.
        after: the chosen layer's index in the plain model; None is the last of the backbone.
        attention: options of `PolarizedSelfAttention`, such as `dict(init="identity")`.

    Raises:
        UserError: for a model, layer or option that there is not, and as `register`.
    """
    return _attended(model, f"model={str(model)!r}", after, attention or {}, "yolo({})".format)


def _attended(model: Any, given: str, after: int | None, options: Any, where: Where) -> Any:
    register()
    from ultralytics import YOLO

    description.check(options, where)
    try:
        made = YOLO(model)
    except (FileNotFoundError, NotImplementedError) as error:
        raise UserError(f"{where(given)}: {error}; name a checkpoint") from error
    if not isinstance(made.model, torch.nn.Module):
        raise UserError(f"{where(given)}: it is no model of PyTorch's; name a checkpoint")
    plain: Any = made.model
    name = f"{Path(made.model_name).stem}_polarized.yaml"
    config = description.with_layer(plain.yaml, after, options, where)
    config["yaml_file"] = name
    made.model = type(plain)(config, config.get("channels", 3), verbose=False)
    made.model.args, made.model.task = plain.args, plain.task
    if made.ckpt:
        made.load(plain)
        made.model.names = plain.names
    else:  # `train` builds it anew, as it does after `reset_weights`
        made.ckpt, made.overrides["pretrained"] = {"model": made.model}, False
    made.overrides["model"] = made.model.args["model"] = name
    return made


def yolov10(
    scale: str | None = None,
    after: int | None = None,
    attention: dict[str, Any] | None = None,
    weights: str | Path | None = None,
) -> Any:
    """`yolo` of YOLOv10.

    Args:
        scale: `n`, `s`, `m`, `b`, `l` or `x`; None is that of the weights, or n.
        after: as of `yolo`.
        attention: as of `yolo`.
        weights: a plain model's checkpoint, which then says scale and classes, too.

    Raises:
        UserError: for an unknown scale, weights of another network or scale, and as `yolo`.
    """
    if scale not in (None, *SCALES):
        raise UserError(f"yolov10(scale={scale!r}): no such scale; take {', '.join(SCALES)}")
    model, given = weights or f"yolov10{scale or 'n'}.yaml", f"weights={str(weights)!r}"
    made = _attended(model, given, after, attention or {}, "yolov10({})".format)
    config = made.model.yaml
    if config["head"][-1][2] != "v10Detect":
        raise UserError(f"yolov10({given}): they are of no YOLOv10; call yolo({str(weights)!r})")
    if weights and scale and scale != config.get("scale"):
        raise UserError(
            f"yolov10(scale={scale!r}, {given}): they are of scale {config.get('scale')!r}; "
            "leave the scale out, or take weights of that scale"
        )
    return made
