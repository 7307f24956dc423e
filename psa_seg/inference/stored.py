"""What a checkpoint tells of itself: its model, how pictures come to it, what its classes are.

The config in it is data. Types are looked up among those that this package and MMSegmentation
register, and nothing else is imported: a config could name any function there is.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from torch import nn

import psa_seg.registered  # noqa: F401
from psa_seg.checkpoints import shared
from psa_seg.checkpoints.reading import classes_of, config_of, load_checkpoint, state_dict
from psa_seg.datasets.colours import RGB, differing
from psa_seg.datasets.data_file import DataFile
from psa_seg.datasets.folder import as_read
from psa_seg.datasets.transforms import without_masks
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_checkpoint
from psa_seg.engine.doctor.data import first_steps, leaves
from psa_seg.engine.explain import explaining, register
from psa_seg.errors import UserError, stop_at
from psa_seg.models.placement import decode_heads, name_of, settled

HUB = re.compile(r"[\w.-]+/[\w.-]+(?<!\.pth)(?<!\.pt)(?<!\.ckpt)(?<!\.safetensors)")
SCOPES = ("mmseg", "mmengine", "mmcv")
HOMES = (*SCOPES, "psa_seg", "torch")  # of what is registered here
LEAN = {kind: f"Lean{kind}" for kind in ("EncoderDecoder", "CascadeEncoderDecoder")}
# What names files of weights, which those of the checkpoint replace.
STARTS = ("init_cfg", "pretrained", "checkpoint_path")
# How files are read, and pixels chosen in training: mmengine's backends import what they are told.
LOADERS = ("backend_args", "file_client_args", "io_backend", "sampler")
DOORS = {"TIMMBackbone", "VPD"}  # whose options fetch weights, or import by name


@dataclass(frozen=True)
class Stored:
    """A trained model, and what belongs to it.

    Attributes:
        path: of the checkpoint.
        checkpoint: as it was read.
        model: for evaluation, on the CPU.
        steps: of the test pipeline, without masks.
        views: of the pipeline of test-time augmentation, likewise; empty where there is none.
        names: of the classes.
        palette: RGB of each.
        data: the data.yaml it was trained on; None for other data sets.
        validation: config of the data set it was validated on, which may not be on this disk; None
            where it is not told, or is none that is registered here.
    """

    path: str
    checkpoint: Mapping[str, Any]
    model: nn.Module
    steps: list[Any]
    views: list[Any]
    names: tuple[str, ...]
    palette: tuple[RGB, ...]
    data: DataFile | None
    validation: dict[str, Any] | None


def read(path: str, config: str | None = None) -> Stored:
    """What the checkpoint at `path` tells, or, in place of the config in it, the one at `config`.

    Raises:
        UserError: where there is no checkpoint, or it does not tell its config, or names types
            that are not registered here, or its weights do not fit.
    """
    path = _file(path)
    checkpoint = load_checkpoint(path)
    found = _of_file(config) if config else _of_checkpoint(checkpoint, path)
    with told(found.filename):
        steps, views = _test_pipeline(found), found.get("tta_pipeline") or []
        names, palette = _classes(checkpoint, decode_heads(found.model)[-1].num_classes)
        data, validation = _own_data(found), _validation(found)
    with explaining(found):
        found.model = _for_inference(found.model)
        model = revert_sync_batchnorm(MODELS.build(found.model))
        stop_at(check_checkpoint(found.model, checkpoint, path, built=model))
    model.load_state_dict(state_dict(checkpoint))
    if found.get("channels_last"):  # as it was tested: other layouts round otherwise
        model.to(memory_format=torch.channels_last)
    return Stored(
        path=path,
        checkpoint=checkpoint,
        model=model.eval().requires_grad_(False),
        steps=without_masks(steps),
        views=without_masks(views),
        names=names,
        palette=palette,
        data=data,
        validation=validation,
    )


def _file(name: str) -> str:
    """The file of weights that is meant: itself, in a shared folder, or of the Hub's."""
    path = Path(name).expanduser()
    if not path.exists() and HUB.fullmatch(name) and not path.parent.is_dir():
        path = _of_the_hub(name)
    if path.is_dir() and (path / shared.WEIGHTS).is_file():
        path = path / shared.WEIGHTS
    if not path.is_file():
        kind = f"is a folder without {shared.WEIGHTS}" if path.is_dir() else "not found"
        raise UserError(
            f"checkpoint {kind}: {name}\n"
            "  do         name a file, iter_*.pth, or a folder that tools/share.py wrote"
        )
    return str(path)


def _of_the_hub(name: str) -> Path:
    """The folder of a model on the Hugging Face Hub, in its cache."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"checkpoint not found here: {name}\n"
            "  do         correct the path; to look for it on the Hugging Face Hub: "
            "pip install huggingface_hub"
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=[shared.WEIGHTS, shared.CONFIG]))
    except Exception as error:  # no network, no such model, no access: the library's words for it
        reason = f"{error}".strip().partition("\n")[0][:200]
        raise UserError(
            f"checkpoint not found, here or on the Hugging Face Hub: {name}\n"
            f"  because    {type(error).__name__}: {reason}\n"
            "  do         correct the path, or the model's name"
        ) from error


def _of_file(path: str) -> Config:
    """The config in a file of the user's, which is a program, and run as such."""
    config = load_config(path)
    register(config)
    return config


def _of_checkpoint(checkpoint: Mapping[str, Any], path: str) -> Config:
    """The config in a checkpoint, of which nothing is run."""
    held = config_of(checkpoint)
    if not held or not isinstance(held.get("model"), dict):
        raise UserError(
            f"checkpoint does not tell the config it was trained with: {path}\n"
            "  do         give it: --config FILE"
        )
    init_default_scope("mmseg")
    with told(path):
        config = Config(held, cfg_text="# of a checkpoint", filename=path)
        _require_known(config.model, _names(MODELS), path)
        steps = first_steps(_dataset(config, "test_dataloader"))
        pipelines = [steps, config.get("test_pipeline") or [], config.get("tta_pipeline") or []]
        _require_known(pipelines, _names(TRANSFORMS), path)
        _, validation = next(leaves(_dataset(config, "val_dataloader")))
        validation.pop("pipeline", None)  # it is the test's
        try:
            _require_known(validation, _names(DATASETS), path)
        except UserError:  # it is not needed to predict
            config.val_dataloader = None
    return config


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turn what a config of another shape makes these lines raise into a message."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"the config is not such as MMSegmentation takes: {path}\n"
            f"  because    {type(error).__name__}: {error}\n"
            "  do         give the one it was trained with: --config FILE"
        ) from error


def _names(registry: Any) -> set[str]:
    """What a registry builds; a name of another's would be imported, as a module of that name."""
    found: set[str] = set()
    while registry is not None:
        registry.import_from_location()
        found |= registry.module_dict.keys()
        registry = registry.parent
    return found - DOORS


def _require_known(part: Any, known: set[str], path: str) -> None:
    """Leave nothing in a part of a config that names files; raise UserError for unknown types."""
    for node in _nodes([part]):
        for key in (*STARTS, *LOADERS):
            node.pop(key, None)
        if node.get("_scope_", SCOPES[0]) not in SCOPES:
            raise _unknown(path, f"_scope_={node['_scope_']!r}")
        if "type" in node:
            # mmengine would import what a dotted name leads to, whatever it is, and call it.
            kind = str(node["type"])
            home, name = kind.partition(".")[0], kind.rpartition(".")[2]
            if name not in known or (name != kind and home not in HOMES):
                raise _unknown(path, kind)
            node["type"] = name


def _unknown(path: str, what: str) -> UserError:
    return UserError(
        f"the config in the checkpoint names what is not registered here: {what}\n"
        f"  where      {path}\n"
        "  do         if it is a module of yours, give the config itself: --config FILE; what its\n"
        "             custom_imports name is imported then"
    )


def _nodes(node: Any) -> Iterator[Any]:
    """All mappings in a config."""
    if isinstance(node, Mapping):
        yield node
    for value in node.values() if isinstance(node, Mapping) else node:
        if isinstance(value, Mapping | list | tuple):
            yield from _nodes(value)


def _for_inference(model: Any) -> Any:
    """Config of the same model, without files that a training starts from."""
    result = settled(model)
    for node in _nodes(result):
        for key in STARTS:
            node.pop(key, None)
        if isinstance(node.get("class_weight"), str):  # a file, of a loss
            node["class_weight"] = None
    result["type"] = LEAN.get(name_of(result["type"]), result["type"])
    return result


def _dataset(config: Config, loader: str) -> Any:
    """Config of a loader's data set; empty where there is none."""
    return (config.get(loader) or {}).get("dataset") or {}


def _test_pipeline(config: Config) -> list[Any]:
    """Steps from a file to the network: those that the model was tested with."""
    steps = first_steps(_dataset(config, "test_dataloader")) or config.get("test_pipeline")
    if not steps or not name_of(steps[0]["type"]).startswith("LoadImage"):
        raise UserError(
            f"the config has no test pipeline that begins by loading an image: {config.filename}\n"
            "  do         give one that has, in test_dataloader.dataset.pipeline: --config FILE"
        )
    return steps


def _classes(checkpoint: Mapping[str, Any], number: int) -> tuple[tuple[str, ...], tuple[RGB, ...]]:
    """Names and colours of the classes, as the checkpoint tells them."""
    names = classes_of(checkpoint) or ()
    if len(names) != number:
        return tuple(f"class {i}" for i in range(number)), tuple(differing(number))
    meta = checkpoint["meta"]
    given = (meta.get("dataset_meta") or {}).get("palette") or meta.get("PALETTE")
    with suppress(TypeError, ValueError):
        palette = tuple((int(red), int(green), int(blue)) for red, green, blue in given)
        if len(palette) == number and all(0 <= one < 256 for one in chain(*palette)):
            return names, palette
    return names, tuple(differing(number))


def _own_data(config: Config) -> DataFile | None:
    """What the data.yaml said, of a training with `--data`."""
    dataset = _dataset(config, "test_dataloader")
    if name_of(dataset.get("type")) != "FolderDataset":
        return None
    return as_read(dataset["content"], Path(dataset.get("data_root") or "."))


def _validation(config: Config) -> dict[str, Any] | None:
    _, dataset = next(leaves(_dataset(config, "val_dataloader")))
    if not dataset.get("data_root"):  # of a model that was shared, too
        return None
    return {**dataset, "pipeline": _test_pipeline(config), "lazy_init": False, "test_mode": True}
