"""Checkpoints: data alone, and of just the model that a config describes."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch import Tensor

from psa_seg.errors import UserError

CLASSIFIER = re.compile(r"decode_head\.(\d+\.)?conv_seg\.weight")
ARRAYS = ("_reconstruct", "scalar")
# What the logs in mmengine's checkpoints are made of, under numpy 1 and 2.
IN_LOGS = (
    *("builtins.getattr", "mmengine.logging.history_buffer.HistoryBuffer"),
    *("numpy.ndarray", "numpy.dtype"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ARRAYS),
)


class _Forgotten:
    """Takes the place of whatever `IN_LOGS` names: nothing is called, and no log is kept."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def load_checkpoint(path: str) -> dict[str, Any]:
    """The checkpoint at `path`, a file or an address, on the CPU.

    Of a file, tensors and plain values alone are read, and nothing in it is called: mmengine's
    loader, which reads the rest, would run any program that a file holds.

    Raises:
        UserError: where it is missing or broken, or holds more than data.
    """
    try:
        if "://" in path:
            return CheckpointLoader.load_checkpoint(path, "cpu", logger="silent")
        return _load_data(Path(path).expanduser())
    except Exception as error:  # whatever a broken file makes the unpickler say
        called = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, UnpicklingError) and called:
            raise UserError(
                f"checkpoint holds more than data, and is not loaded: {path}\n"
                f"  because    {called[1]} in it could run any program\n"
                "  do         get one of weights alone; if you trust this one, load it yourself, "
                "and\n             torch.save({'state_dict': ...}) what it has"
            ) from None
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"checkpoint cannot be read: {path}\n  {type(error).__name__}: {reason}\n"
            "  do         name a file that torch.save wrote; one that was cut short, copy again"
        ) from error


def _load_data(path: Path) -> dict[str, Any]:
    """What `path` holds, with stand-ins for logs, whatever else this process trusts elsewhere."""
    trusted = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals([(_Forgotten, name) for name in IN_LOGS]):
            return torch.load(path, "cpu", weights_only=True)
    finally:
        torch.serialization.add_safe_globals(trusted)


def differences(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], new: str | None = None
) -> dict[str, list[str]]:
    """Keys of `given` that are missing, left over or of another shape; empty where none is.

    Args:
        given: a checkpoint's state dict.
        own: that of the model it should be of.
        new: part of the names of what the checkpoint may lack.
    """
    wrong = {
        "missing": [k for k in own if k not in given and not (new and new in k)],
        "left over": [k for k in given if k not in own],
        "of another shape": [k for k in own if k in given and own[k].shape != given[k].shape],
    }
    return {what: keys for what, keys in wrong.items() if keys}


def listing(wrong: Mapping[str, Collection[str]], most: int = 3) -> list[str]:
    """Lines that say how many keys differ, and the first `most` of them."""
    return [f"  {what:<17} {len(k)}: {', '.join(list(k)[:most])}" for what, k in wrong.items()]


def check_checkpoint(model: ConfigDict, path: str, new: str | None = None) -> None:
    """The checkpoint at `path` is of just the model that this config describes.

    Args:
        model: config of the model.
        path: file or address of the checkpoint.
        new: part of the names of what the checkpoint may lack.

    Raises:
        UserError: with the keys that are missing, left over or of another shape.
    """
    checkpoint = load_checkpoint(path)
    given, own = checkpoint.get("state_dict", checkpoint), MODELS.build(model).state_dict()
    wrong = differences(given, own, new)
    if not wrong:
        return
    classifiers = list(filter(CLASSIFIER.fullmatch, wrong.get("of another shape", ())))
    if classifiers:
        there, here = (len(state[classifiers[-1]]) for state in (given, own))
        told = f"has {there} classes, and this config {here}"
    else:
        told = "is of another model"
    remedy = "  do         give the config (and options) that the checkpoint was trained with"
    raise UserError("\n".join([f"checkpoint {told}: {path}", *listing(wrong), remedy]))
