"""The parts of a model that are ours: options that exist, with values that fit."""

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.models.backbones import TIMMBackbone
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from psa_seg import shipped
from psa_seg.engine.explain import meant, meant_by, near, options
from psa_seg.models import LeanEncoderDecoder
from psa_seg.ops.choice import VARIABLE, chosen, interpreted

CHANNELS = 256  # of an attention, which its place will give it: any width splits into its parts


def check_model(config: Config) -> list[str]:
    """What is wrong with the parts of the model that are ours, wherever they stand.

    A finding names the part, what is wrong with it, and the options it has; or says why
    `PSA_SEG_IMPL` cannot be followed.
    """
    try:
        implementation = chosen()
    except ValueError as error:
        return [f"{error}\n  do         correct it, or leave it unset"]
    if implementation == "triton" and not (torch.cuda.is_available() or interpreted()):
        return [
            f"{VARIABLE}=triton needs a GPU, and PyTorch sees none here\n"
            "  do         leave it unset: plain PyTorch is what suits a CPU"
        ]
    return list(_faults(config))


def has_batch_norm(config: Config) -> bool:
    """Whether the model has a layer that counts over the images of a batch."""
    return any(isinstance(layer, _BatchNorm) for layer in _shapes(config.model).modules())


def _shapes(model: dict[str, Any]) -> Any:
    """A model, or a part of one, whose weights are anything: without memory, if it can be."""
    bare = _without_download(model)
    try:
        with torch.device("meta"):
            return MODELS.build(bare)
    except RuntimeError as error:  # some compute numbers when they are built: mmseg's Swin does
        if "meta" not in str(error):
            raise
        return MODELS.build(bare)


def _without_download(model: Any) -> Any:
    """A copy of the config, in which no backbone of timm's fetches its weights."""
    bare = copy.deepcopy(model)
    nodes = [bare]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            node.update({"pretrained": False} if "model_name" in node else {})
        nodes += node.values() if isinstance(node, dict) else node if _several(node) else ()
    return bare


def _several(node: Any) -> bool:
    return isinstance(node, list | tuple)


def check_checkpoints(config: Config) -> list[str]:
    """What is wrong with options that are looked at when the first checkpoint is written."""
    hook = config.default_hooks.get("checkpoint") or {}
    names = [*options(CheckpointHook), *inspect.signature(Runner.save_checkpoint).parameters]
    if "interval" in hook and hook.get("by_epoch", True):
        return [
            f"default_hooks.checkpoint counts epochs, and runs count steps: {config.filename}\n"
            "  why        by_epoch=True is mmengine's default: the first would be the last\n"
            "  do         add by_epoch=False; the interval is in steps then"
        ]
    return [
        f"{config.filename}: default_hooks.checkpoint has no option {key!r}\n"
        + meant_by(near(str(key), names))
        + f"  options    {', '.join(options(CheckpointHook))}"
        for key in hook
        if key not in ("type", *names)
    ]


def check_views(config: Config) -> list[str]:
    """What keeps a config from test-time augmentation."""
    if "tta_model" not in config or "tta_pipeline" not in config:
        return [
            f"--tta needs tta_model and tta_pipeline: {config.filename}\n"
            f"  do         take the bases of {shipped.CONFIGS}, which have both, or leave --tta out"
        ]
    kind = config.model.type
    lean = issubclass(MODELS.get(kind), LeanEncoderDecoder)
    if lean and config.tta_model.type == "SegTTAModel":
        return [
            f"tta_model.type is 'SegTTAModel', which reads logits that {kind} leaves "
            f"out: {config.filename}\n  do         make it 'LeanTTAModel': same label maps, less "
            "memory"
        ]
    return []


def _faults(config: Config) -> Iterator[str]:
    for where, part in _parts(dict(config.model, type=None), "model"):  # the whole is upstream's
        kind = MODELS.get(part["type"])
        names = options(kind)
        head = f"{config.filename}: {where}, {part['type']}"
        tail = f"  options    {', '.join(names)}"
        for key in () if issubclass(kind, TIMMBackbone) else part:  # timm has the others
            if key not in (*names, "type", "_scope_"):
                close = near(str(key), names)
                hint = f"; did you mean {close!r}?" if close else ""
                yield f"{head} has no option {key!r}{hint}\n{tail}"
                return
        try:
            _shapes({"in_channels": CHANNELS, **part} if "in_channels" in names else part)
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            yield f"{head} cannot be built\n  {error}\n{meant(str(error))}{tail}"
            return


def _parts(node: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ours within a model's config, the innermost first: where it stands, and what it says."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _parts(value, f"{where}.{key}")
        kind = node.get("type")
        found = MODELS.get(kind) if isinstance(kind, str) else None
        if inspect.isclass(found) and found.__module__.startswith("psa_seg."):
            yield where, node
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _parts(value, f"{where}.{index}")
