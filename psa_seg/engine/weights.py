"""The weights that training starts from: on this disk, or fetched now, and what they hold."""

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import (
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from psa_seg.checkpoints.reading import load_checkpoint
from psa_seg.errors import UserError
from psa_seg.files import absolute, near
from psa_seg.records.fingerprint import digest, sources

CONNECT_TIMEOUT_S = 20
MODELS = {
    **dict.fromkeys(("open-mmlab", "openmmlab"), get_external_models),
    **dict.fromkeys(("torchvision", "modelzoo"), get_torchvision_models),
    "mmcls": get_mmcls_models,
}
SCHEMES = ("http://", "https://", *(f"{scheme}://" for scheme in MODELS))


def fetch(config: Config) -> dict[str, str]:
    """Have the weights that a run starts from on this disk, in torch's cache where need be.

    They are the checkpoint in `load_from`, and every file that the model's config names.

    Returns:
        A local path for each, by its key in the config; another of mmengine's addresses as it is.

    Raises:
        UserError: with the address, the cache path and the override, or for a file that holds more
            than data; a run never starts from random weights where the config says others.
    """
    found = {}
    for key, source in sources(config).items():
        what = "checkpoint" if key == "load_from" else "weights"
        found[key] = _fetch(what, source, key, config.filename)
        if key != "load_from":  # which is read where it is held against the model
            load_checkpoint(found[key])  # data alone, before mmengine's loader runs what is in it
    return found


def digests(paths: Mapping[str, str]) -> dict[str, str]:
    """What local files of weights hold, by their keys."""
    local = {key: Path(path).expanduser() for key, path in paths.items()}
    return {key: digest(path) for key, path in local.items() if path.is_file()}


def digests_here(config: Config) -> dict[str, str]:
    """`digests` of what a config names and this disk has; nothing is fetched."""
    return digests({key: cached(source) or source for key, source in sources(config).items()})


def _fetch(what: str, source: str, key: str, config: str) -> str:
    """The local path of `source`."""
    override = f"--cfg-options {key}=FILE"
    if Path(source).expanduser().is_file():
        return source
    if "://" in source and not source.startswith(SCHEMES):
        return source  # one of mmengine's other schemes, which it fetches itself
    address = _address(source)
    if address is None:
        raise UserError(
            f"{what} not found: {absolute(source)}\n{near(source)}"
            f"  set in     {key} of {config}\n"
            f"  do         correct the path, or override it: {override}"
        )
    cached = _cache(address)
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


def cached(source: str) -> str | None:
    """The path of an address in torch's cache, if it is there; None for a local file."""
    if not source.startswith(SCHEMES):
        return None
    path = _cache(_address(source) or "")
    return str(path) if path.is_file() else None


def _cache(address: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(address).path).name)


def _address(source: str) -> str | None:
    """The URL behind a checkpoint's name in OpenMMLab's schemes; None for a local file."""
    scheme, _, name = source.partition("://")
    if not name:
        return None
    if scheme not in MODELS:
        return source
    try:
        known = MODELS[scheme]()
    except ImportError as error:
        raise UserError(f"weights: {source} needs a package: {error.name}") from error
    if name not in known:
        raise UserError(f"weights: {scheme}:// has no model named {name!r}")
    return known[name]
