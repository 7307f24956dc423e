"""Weights that travel: `model.safetensors`, and `config.json` beside it, which is plain data.

    folder/
      model.safetensors   the weights by their names
      config.json         {"psa_seg": 1, "cfg": ..., "dataset_meta": ...}: a checkpoint's `meta`

A tuple, which JSON has not, is `{"tuple": [...]}`: some of mmcv's sizes must be one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from psa_seg import files
from psa_seg.errors import UserError

WEIGHTS, CONFIG = "model.safetensors", "config.json"
ENDING = ".safetensors"
MARK, VERSION = "psa_seg", 1
TUPLE = "tuple"


def read(path: Path) -> dict[str, Any]:
    """A checkpoint from a .safetensors file, with the `meta` that lies beside it, if it does.

    Raises:
        UserError: where the package is missing, or what lies beside it is of another version, or
            broken.
        Exception: whatever a broken file makes safetensors, or JSON, say.
    """
    tensors = _safetensors().load_file(path)
    beside = path.with_name(CONFIG)
    try:
        told = json.loads(beside.read_text("utf-8")) if beside.is_file() else {}
    except ValueError as error:
        raise UserError(
            f"cannot be read: {beside}\n  because    {error}\n  do         copy it again"
        ) from error
    if not isinstance(told, dict) or MARK not in told:  # of another library
        return {"state_dict": tensors}
    if told[MARK] != VERSION:
        raise UserError(
            f"{beside} is of version {told[MARK]!r}, and this package reads {VERSION}\n"
            "  do         install the package that wrote it, or a newer one"
        )
    return {"state_dict": tensors, "meta": _from_json(told)}


def write(folder: Path, state: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
    """Both files, in a folder that exists.

    Raises:
        UserError: where the package is missing.
    """
    # A copy of each: a file of this format has no memory that two tensors share.
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    files.write(folder / WEIGHTS, _safetensors().save(tensors, metadata={"format": "pt"}))
    told = {MARK: VERSION, **_to_json(meta)}
    files.write(folder / CONFIG, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise UserError(
            "a package is missing: safetensors\n  do         pip install -e .[share]"
        ) from error
    return safetensors.torch


def _to_json(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _to_json(value) for key, value in node.items()}
    if isinstance(node, tuple):
        return {TUPLE: [_to_json(value) for value in node]}
    if isinstance(node, list):
        return [_to_json(value) for value in node]
    return node


def _from_json(node: Any) -> Any:
    if isinstance(node, dict):
        if node.keys() == {TUPLE}:
            return tuple(_from_json(value) for value in node[TUPLE])
        return {key: _from_json(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_from_json(value) for value in node]
    return node
