"""A checkpoint is of just the model that a config describes: its tensors, and what they are for."""

import copy
import re
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS
from torch import Tensor, nn

from psa_seg.checkpoints import names
from psa_seg.checkpoints.reading import (
    classes_of,
    config_of,
    differences,
    listing,
    load_checkpoint,
    state_dict,
)
from psa_seg.engine.doctor.classes import class_names, heads
from psa_seg.errors import UserError
from psa_seg.models import function
from psa_seg.models.placement import find, placed, settled
from psa_seg.records.fingerprint import SAME_RUN, difference, parts
from psa_seg.records.schema import OF_A_DEMO, STREETS
from psa_seg.registry import name_of

CLASSIFIER = re.compile(r"decode_head\.(\d+\.)?conv_seg\.weight")
REMEDY = "  do         give the config (and options) that the checkpoint was trained with"
DEMO = f"{REMEDY}: --demo is among them"
ANOTHER = "  do         start from a checkpoint of this network, or train the one that this is of"
Checkpoint = Mapping[str, Any]


def check_checkpoint(
    model: ConfigDict,
    checkpoint: Checkpoint,
    path: str,
    new_attention: bool = False,
    built: nn.Module | None = None,
    in_order: bool = False,
) -> list[str]:
    """What keeps a checkpoint from being of just the model that this config describes.

    Args:
        model: config of the model.
        checkpoint: that was read.
        path: where from.
        new_attention: whether the checkpoint may lack the attentions.
        built: of that config, if it has been.
        in_order: whether its tensors must come in the model's order, by which an optimizer's state
            knows its parameters.
    """
    built = MODELS.build(model) if built is None else built
    own, given = built.state_dict(), state_dict(checkpoint)
    current = names.current(given, own)
    given = {current[key]: tensor for key, tensor in given.items()}
    attentions = tuple(f"{name}." for name in find(built)) if new_attention else ()
    wrong = differences(given, own, may_lack=lambda key: key.startswith(attentions))
    if wrong:
        classifiers = list(filter(CLASSIFIER.fullmatch, wrong.get("of another shape", ())))
        problem = "is of another model"
        if classifiers:
            there, here = (len(state[classifiers[-1]]) for state in (given, own))
            if there != here:
                problem = f"has {there} classes, and this config {here}"
        widths = any(".conv_seg." not in key for key in wrong.get("of another shape", ()))
        remedy = DEMO if widths and _is_demo(checkpoint) else REMEDY
        remedy = ANOTHER if new_attention else remedy
        return ["\n".join([f"checkpoint {problem}: {path}", *listing(wrong), remedy])]
    others = _other_functions(checkpoint, model, new_attention)
    if others:
        lines = [f"checkpoint is of another function: {path}", f"  differs    {others[0]}", REMEDY]
        return ["\n".join(lines)]
    if in_order and list(given) != [key for key in own if key in given]:
        return [
            f"{path} is of an earlier version of psa_seg, which put attentions elsewhere\n"
            "  why        an optimizer's state goes by the order of the parameters\n"
            "  do         finish the run with the version that it began with, or start from its\n"
            "             weights: --cfg-options load_from=..."
        ]
    return []


def _other_functions(checkpoint: Checkpoint, model: ConfigDict, new: bool) -> list[str]:
    trained, converted = trained_model(checkpoint), _converted(checkpoint)
    if trained is not None:
        added = converted.get("kind") == "deeplabv3plus"  # an attention that does nothing
        return function.differences(trained, model, new_attention=new or added)
    layout = converted.get("layout")  # of the popular port, whose two have the same keys
    return [
        f"model.{where}.layout is {layout!r} there"
        for _, where, attention in placed(model)
        if layout and name_of(attention["type"]) == "PolarizedSelfAttention"
        if attention.get("layout", "parallel") != layout
    ]


def check_names(config: Config, checkpoint: Checkpoint, path: str, *loaders: str) -> list[str]:
    """What is wrong where a checkpoint's classes have other names, or another order, than the data.

    Args:
        config: of a test.
        checkpoint: that was read; one that does not tell its classes is taken.
        path: where from.
        loaders: of the data.
    """
    there = classes_of(checkpoint)
    if there is None:
        return []
    for here in class_names(config, *loaders).values():
        if there != here:
            both = enumerate(zip_longest(there, here))
            first, (old, new) = next((i, names) for i, names in both if names[0] != names[1])
            return [
                f"checkpoint tells other classes than the data have: {path}\n"
                f"  differs    class {first} is {_named(old)} there, and {_named(new)} here\n"
                "  do         give the classes the names, and the order, that it was trained with"
            ]
    return []


def _named(name: str | None) -> str:
    return "not" if name is None else repr(name)


def new_heads(model: ConfigDict, checkpoint: Checkpoint) -> tuple[ConfigDict, list[str]]:
    """The same model with as many classes as a checkpoint has, and what of it starts anew here.

    Args:
        model: config of the model that is to be fine-tuned.
        checkpoint: of the same network, for whatever classes.

    Returns:
        The config that the checkpoint is to fit, and the tensors of `model` that then have another
        shape: those of the heads' classifiers.
    """
    given, twin = state_dict(checkpoint), copy.deepcopy(model)
    for key, head in heads(twin):
        weight = given.get(f"{key.removeprefix('model.')}.conv_seg.weight")
        weight = weight if isinstance(weight, Tensor) and weight.ndim else None
        channels = head.get("out_channels") or head.num_classes
        if weight is not None and len(weight) != channels:
            one = len(weight) == 1
            head.update(num_classes=max(2, len(weight)), out_channels=1 if one else None)
    here, there = (MODELS.build(one).state_dict() for one in (model, twin))
    return twin, [key for key in here if key in there and here[key].shape != there[key].shape]


def trained_model(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Config of the model that a checkpoint was trained as; None where it does not tell."""
    model = (config_of(checkpoint) or {}).get("model")
    return model if isinstance(model, dict) else None


def check_demo(config: Config, path: str) -> list[str]:
    """What is wrong where a demo's checkpoint comes to a config that is none.

    A file that cannot be read is told where it is read for the test.
    """
    try:
        demo = _is_demo(load_checkpoint(path))
    except UserError:
        return []
    if not demo or config.data_name.endswith((OF_A_DEMO, STREETS)):
        return []
    return [f"checkpoint is a demo's, and this config is not: {path}\n{DEMO}"]


def _is_demo(checkpoint: Checkpoint) -> bool:
    return str((config_of(checkpoint) or {}).get("data_name", "")).endswith((OF_A_DEMO, STREETS))


def _converted(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """How `tools/convert_checkpoint.py` made it, if it did."""
    meta = checkpoint.get("meta")
    converted = meta.get("converted") if isinstance(meta, Mapping) else None
    return converted if isinstance(converted, Mapping) else {}


def check_same_run(config: Config, checkpoint: Checkpoint, path: str) -> list[str]:
    """What keeps a run from going on with a checkpoint: it is of another experiment or seed.

    Args:
        config: of the run that would go on, with the digests of its weights.
        checkpoint: that was read.
        path: where from.
    """
    meta = checkpoint.get("meta", {})
    held = config_of(checkpoint)
    if held is None or "seed" not in meta or trained_model(checkpoint) is None:
        return [
            f"{path} does not tell of its run\n"
            "  do         start from its weights instead: --cfg-options load_from=..."
        ]
    seed = config.randomness.seed
    if meta["seed"] != seed:
        return [
            f"{path} is of a run with seed {meta['seed']}, not {seed}\n"
            f"  do         resume it with --seed {meta['seed']}"
        ]
    if meta.get("iter", 0) > config.train_cfg.max_iters:
        return [
            f"{path} is beyond the end of this run: step {meta['iter']} of "
            f"{config.train_cfg.max_iters}\n"
            "  do         raise train_cfg.max_iters, or leave it as it was"
        ]
    found = difference_of_runs(held, config)
    here = config.get("data_hash")
    if not found and here and held.get("data_hash", here) != here:
        found = "the images or masks: others, or of other sizes in bytes, than when it began"
    if not found:
        return []
    name = str(meta.get("experiment_name", "another")).rsplit("_", 2)[0]  # without date and time
    return [
        f"{Path(path).parent} holds another experiment, a run of {name}\n"
        f"  differs    {found}\n"
        "  do         resume it with the config and options it began with, or work in another\n"
        "             directory: --work-dir, or another name for an experiment's file"
    ]


def difference_of_runs(held: dict[str, Any], config: Config) -> str:
    """The first value in which a run differs from the one that is held; empty if none."""
    contents = "start" in held  # files of version 1 do not know what weights held
    began = {**held, "model": settled(held["model"])}
    if not contents and "start_from" in held:  # where they had it
        began["load_from"] = held["start_from"]
    there, here = (parts(each, SAME_RUN, contents) for each in (began, config))
    found = (difference(key, there.get(key), here.get(key)) for key in SAME_RUN)
    return next(filter(None, found), "")
