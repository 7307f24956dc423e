"""Checkpoints: readable, and of just the model that a config describes."""

from typing import Any

from mmengine.config import ConfigDict
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS

from psa_seg.errors import UserError

CLASSIFIER = "decode_head.conv_seg.weight"


def load_checkpoint(path: str) -> dict[str, Any]:
    """The checkpoint at `path`, a file or an address, on the CPU.

    Raises:
        UserError: where it is missing, or broken.
    """
    try:
        return CheckpointLoader.load_checkpoint(path, "cpu", logger="silent")
    except Exception as error:  # whatever a broken file makes the unpickler say
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"checkpoint cannot be read: {path}\n  {reason}\n"
            "  do         correct the path; a file that was cut short has to be copied again"
        ) from error


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
    wrong = {
        "missing": [k for k in own if k not in given and not (new and new in k)],
        "left over": [k for k in given if k not in own],
        "of another shape": [k for k in own if k in given and own[k].shape != given[k].shape],
    }
    if not any(wrong.values()):
        return
    if CLASSIFIER in wrong["of another shape"]:
        told = f"has {len(given[CLASSIFIER])} classes, and this config {len(own[CLASSIFIER])}"
    else:
        told = "is of another model"
    lines = [f"  {what:<17} {len(k)}: {', '.join(k[:3])}" for what, k in wrong.items() if k]
    remedy = "  do         give the config (and options) that the checkpoint was trained with"
    raise UserError("\n".join([f"checkpoint {told}: {path}", *lines, remedy]))
