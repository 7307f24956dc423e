"""What can be known to go wrong is found before anything is built: one message each."""

import re
import socket
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_external_models, get_mmcls_models
from mmseg.registry import MODELS

from psa_seg.errors import UserError

IMAGE_SUFFIXES = {".png", ".webp", ".jpg", ".jpeg"}
CONNECT_TIMEOUT_S = 20


def check_data(config: Config, *loaders: str) -> None:
    """Every folder that the named data loaders read exists and holds an image.

    Raises:
        UserError: says what is missing, where it was looked for, how to get it, and what to run
            meanwhile.
    """
    for loader in loaders:
        dataset = config[loader].dataset
        for prefix in dataset.data_prefix.values():
            folder = Path(dataset.data_root, prefix)
            found = folder.is_dir() and any(
                path.suffix in IMAGE_SUFFIXES for path in folder.rglob("*")
            )
            if not found:
                raise UserError(
                    f"{config.data_name}: no images in {folder}\n"
                    f"  looked in  {folder.resolve()}\n"
                    f"  get it     {config.data_help}\n"
                    f"  meanwhile  python tools/train.py {config.filename} --demo\n"
                    "             (synthetic street scenes; minutes on a laptop, nothing to get)"
                )


def check_weights(config: Config) -> None:
    """The backbone's ImageNet weights are on this disk, or are fetched now into torch's cache.

    Raises:
        UserError: with the address, the cache path and the override; a run never starts from
            random weights where the config says pretrained ones.
    """
    init = config.model.backbone.get("init_cfg")
    if not isinstance(init, dict) or init.get("type") != "Pretrained":
        return
    source = init["checkpoint"]
    override = "--cfg-options model.backbone.init_cfg.checkpoint=FILE"
    address = _address(source)
    if address is None:
        if not Path(source).expanduser().is_file():
            raise UserError(
                f"backbone weights not found: {source}\n"
                f"  set in     model.backbone.init_cfg.checkpoint of {config.filename}\n"
                f"  do         correct the path, or override it: {override}"
            )
        return
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(address).path).name)
    if cached.is_file():
        return
    cached.parent.mkdir(parents=True, exist_ok=True)
    print(f"Downloading backbone weights: {address}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_TIMEOUT_S)
    try:
        # Names like OpenMMLab's end in the first eight digits of their SHA-256.
        digits = re.search(r"-([0-9a-f]{8})$", cached.stem)
        prefix = digits[1] if digits else None
        torch.hub.download_url_to_file(address, str(cached), hash_prefix=prefix)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"backbone weights cannot be downloaded ({error})\n"
            f"  address    {address}\n"
            f"  cache      {cached}\n"
            f"  do         fetch that file elsewhere and put it at the cache path, or name a file\n"
            f"             of your own: {override}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _address(source: str) -> str | None:
    """The URL behind a checkpoint's name in OpenMMLab's schemes; None for a local file."""
    scheme, _, name = source.partition("://")
    if not name:
        return None
    models = {"open-mmlab": get_external_models, "mmcls": get_mmcls_models}
    if scheme not in models:
        return source
    known = models[scheme]()
    if name not in known:
        raise UserError(f"backbone weights: {scheme}:// has no model named {name!r}")
    return known[name]


def check_amp() -> None:
    """Mixed precision is for GPUs.

    Raises:
        UserError: where there is none.
    """
    if not torch.cuda.is_available():
        raise UserError("--amp needs a GPU, and PyTorch sees none here: leave --amp out")


def check_seed(config: Config, checkpoint: str) -> None:
    """A run is resumed with the seed it began with: on other crops it would be another run.

    Raises:
        UserError: where it is not.
    """
    seed = CheckpointLoader.load_checkpoint(checkpoint, "cpu", logger="silent")["meta"]["seed"]
    if seed != config.randomness.seed:
        raise UserError(
            f"{checkpoint} is of a run with seed {seed}, not {config.randomness.seed}\n"
            f"  do         resume it with --seed {seed}"
        )


def check_checkpoint(model: ConfigDict, path: str, new: str | None = None) -> None:
    """The checkpoint at `path` is of just the model that this config describes.

    Args:
        model: config of the model.
        path: file or address of the checkpoint.
        new: part of the names of what the checkpoint may lack.

    Raises:
        UserError: with the keys that are missing, left over or of another shape.
    """
    try:
        checkpoint = CheckpointLoader.load_checkpoint(path, "cpu", logger="silent")
    except Exception as error:  # whatever a broken file makes the unpickler say
        raise UserError(f"checkpoint cannot be read: {path}\n  {error}") from error
    given, own = checkpoint.get("state_dict", checkpoint), MODELS.build(model).state_dict()
    wrong = {
        "missing": [k for k in own if k not in given and not (new and new in k)],
        "left over": [k for k in given if k not in own],
        "of another shape": [k for k in own if k in given and own[k].shape != given[k].shape],
    }
    if any(wrong.values()):
        lines = [f"  {what:<17} {len(k)}: {', '.join(k[:3])}" for what, k in wrong.items() if k]
        raise UserError("\n".join([f"checkpoint is of another model: {path}", *lines]))
