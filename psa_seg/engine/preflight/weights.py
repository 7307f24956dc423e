"""The weights that training starts from: on this disk, or fetched now."""

import re
import socket
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import get_external_models, get_mmcls_models

from psa_seg.engine.preflight.checkpoint import load_checkpoint
from psa_seg.errors import UserError

CONNECT_TIMEOUT_S = 20
SCHEMES = ("http://", "https://", "open-mmlab://", "mmcls://")


def check_weights(config: Config) -> None:
    """The weights that training starts from are on this disk, or fetched now into torch's cache.

    They are the checkpoint in `load_from`, which becomes a local path, and ImageNet's for the
    backbone.

    Raises:
        UserError: with the address, the cache path and the override; a run never starts from
            random weights where the config says pretrained ones.
    """
    if config.load_from:
        config.load_from = _fetch("checkpoint", config.load_from, "load_from", config.filename)
    init = config.model.backbone.get("init_cfg")
    if isinstance(init, dict) and init.get("type") == "Pretrained":
        key = "model.backbone.init_cfg.checkpoint"
        source = _fetch("backbone weights", init["checkpoint"], key, config.filename)
        load_checkpoint(source)  # data alone, before mmengine's loader takes it for a program


def _fetch(what: str, source: str, key: str, config: str) -> str:
    """The local path of `source`."""
    override = f"--cfg-options {key}=FILE"
    if "://" in source and not source.startswith(SCHEMES):
        return source  # one of mmengine's other schemes, which it fetches itself
    address = _address(source)
    if address is None:
        if not Path(source).expanduser().is_file():
            raise UserError(
                f"{what} not found: {source}\n"
                f"  set in     {key} of {config}\n"
                f"  do         correct the path, or override it: {override}"
            )
        return source
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(address).path).name)
    if cached.is_file():
        return str(cached)
    cached.parent.mkdir(parents=True, exist_ok=True)
    print(f"Downloading {what}: {address}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_TIMEOUT_S)
    try:
        # Names like OpenMMLab's end in the first eight digits of their SHA-256.
        digits = re.search(r"-([0-9a-f]{8})$", cached.stem)
        prefix = digits[1] if digits else None
        torch.hub.download_url_to_file(address, str(cached), hash_prefix=prefix)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"{what} cannot be downloaded ({error})\n"
            f"  address    {address}\n"
            f"  cache      {cached}\n"
            f"  do         fetch that file elsewhere and put it at the cache path, or name a file\n"
            f"             of your own: {override}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return str(cached)


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
        raise UserError(f"weights: {scheme}:// has no model named {name!r}")
    return known[name]
