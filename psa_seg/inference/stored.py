"""What a checkpoint tells of itself: its model, how pictures come to it, what its classes are.

The config in it is data. Types are looked up among those that this package and MMSegmentation
register, and nothing else is imported: a config could name any function there is.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, TRANSFORMS
from torch import nn

import psa_seg.registered  # noqa: F401
from psa_seg import files, shipped
from psa_seg.checkpoints import shared
from psa_seg.checkpoints.reading import classes_of, config_of, load_checkpoint, state_dict
from psa_seg.datasets.colours import RGB, differing
from psa_seg.datasets.data_file import DataFile
from psa_seg.datasets.folder import as_read
from psa_seg.datasets.transforms import without_masks
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_checkpoint
from psa_seg.engine.doctor.data import first_steps
from psa_seg.engine.explain import explaining, register
from psa_seg.errors import UserError, stop_at
from psa_seg.inference.untrusted import STARTS, is_plain, names_of, nodes, require_known, told
from psa_seg.models.placement import decode_heads, settled
from psa_seg.registry import name_of

HUB = re.compile(r"[\w.-]+/[\w.-]+(?<!\.pth)(?<!\.pt)(?<!\.ckpt)(?<!\.safetensors)")
LEAN = {kind: f"Lean{kind}" for kind in ("EncoderDecoder", "CascadeEncoderDecoder")}


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
    if config:
        return _stored(path, checkpoint, _of_file(config))
    with told(path):
        found = _stored(path, checkpoint, _of_checkpoint(checkpoint, path))
        for steps in filter(None, (found.steps, found.views)):
            _try(steps)
    return found


def _stored(path: str, checkpoint: Mapping[str, Any], config: Config) -> Stored:
    """The checkpoint as `config` tells it."""
    with explaining(config):
        config.model = _for_inference(config.model)
        model = revert_sync_batchnorm(MODELS.build(config.model))
        stop_at(check_checkpoint(config.model, checkpoint, path, built=model))
    model.load_state_dict(state_dict(checkpoint))
    if config.get("channels_last"):  # as it was tested: other layouts round otherwise
        model.to(memory_format=torch.channels_last)
    names, palette = _classes(checkpoint, decode_heads(config.model)[-1].num_classes)
    return Stored(
        path=path,
        checkpoint=checkpoint,
        model=model.eval().requires_grad_(False),
        steps=without_masks(_test_pipeline(config)),
        views=without_masks(config.get("tta_pipeline") or []),
        names=names,
        palette=palette,
        data=_own_data(config),
        validation=_validation(config),
    )


def _try(steps: Sequence[Any]) -> None:
    """Send a black picture through a pipeline: that of a stranger may not be one."""
    first, *rest = steps
    TRANSFORMS.build(first)
    shape = (64, 64)
    black = np.zeros((*shape, 3), np.uint8)
    Compose(rest)(dict(img=black, img_path=None, img_shape=shape, ori_shape=shape))["inputs"]


def _file(name: str) -> str:
    """The file of weights that is meant: itself, in a shared folder, or of the Hub's."""
    path = Path(name).expanduser()
    if not path.exists() and HUB.fullmatch(name) and not path.parent.is_dir():
        path = _of_the_hub(name)
    if path.is_dir() and (path / shared.WEIGHTS).is_file():
        path = path / shared.WEIGHTS
    if not path.is_file():
        do = f"name a file, iter_*.pth, or a folder that {shipped.words('share')} wrote"
        if not path.is_dir():
            raise files.missing("checkpoint", name, do)
        raise UserError(
            f"checkpoint is a folder without {shared.WEIGHTS}: {files.absolute(name)}\n"
            f"  do         {do}"
        )
    return str(path)


def _of_the_hub(name: str) -> Path:
    """The folder of a model on the Hugging Face Hub, in its cache."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"checkpoint not found here: {files.absolute(name)}\n{files.near(name)}"
            "  do         correct the path; to look for it on the Hugging Face Hub: "
            "pip install huggingface_hub"
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=[shared.WEIGHTS, shared.CONFIG]))
    except Exception as error:  # no network, no such model, no access: the library's words for it
        reason = f"{error}".strip().partition("\n")[0][:200]
        raise UserError(
            f"checkpoint not found, here or on the Hugging Face Hub: {name}\n"
            f"  looked in  {files.absolute(name).parent}\n{files.near(name)}"
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
    config = Config(held, cfg_text="# of a checkpoint", filename=path)
    require_known(config.model, names_of(MODELS), path)
    steps = first_steps(_dataset(config, "test_dataloader"))
    pipelines = [steps, config.get("test_pipeline") or [], config.get("tta_pipeline") or []]
    require_known(pipelines, names_of(TRANSFORMS), path)
    if not is_plain(_dataset(config, "val_dataloader"), path):
        config.val_dataloader = None  # it is not needed to predict
    return config


def _for_inference(model: Any) -> Any:
    """Config of the same model, without files that a training starts from."""
    result = settled(model)
    for node in nodes(result):
        for key in STARTS:
            node.pop(key, None)
        if isinstance(node.get("class_weight"), str):  # a file, of a loss
            node["class_weight"] = None
    if not isinstance(result.get("test_cfg"), Mapping):
        result["test_cfg"] = dict(mode="whole")
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
    dataset = _dataset(config, "val_dataloader")
    if not dataset.get("data_root"):  # of a model that was shared, too
        return None
    return {**dataset, "pipeline": _test_pipeline(config), "lazy_init": False, "test_mode": True}
