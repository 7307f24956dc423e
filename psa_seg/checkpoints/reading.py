"""Checkpoints are data: tensors, and the config they were trained with. Nothing in a file is run.

This is the door through which every file of weights comes in.
"""

import ast
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from psa_seg.checkpoints import shared
from psa_seg.errors import UserError

ARRAYS = ("_reconstruct", "scalar")
# What the logs in mmengine's checkpoints are made of, under numpy 1 and 2.
IN_LOGS = (
    *("builtins.getattr", "mmengine.logging.history_buffer.HistoryBuffer"),
    *("numpy.ndarray", "numpy.dtype"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ARRAYS),
)
NUMBERS = {"inf": math.inf, "nan": math.nan}


class _Forgotten:
    """Takes the place of whatever `IN_LOGS` names: nothing is called, and no log is kept."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def load_checkpoint(path: str) -> dict[str, Any]:
    """The checkpoint at `path`, a file or an address, on the CPU.

    A .safetensors is one, too, with the `meta` that lies beside it. Of a file, tensors and plain
    values alone are read, and nothing in it is called. An address of a scheme that only mmengine
    knows goes to its loader, which would run what a file holds.

    Raises:
        UserError: where it is missing or broken, or holds more than data, or weights that are no
            numbers.
    """
    try:
        if "://" in path:
            return CheckpointLoader.load_checkpoint(path, "cpu", logger="silent")
        file = Path(path).expanduser()
        found = shared.read(file) if file.suffix == shared.ENDING else _load_data(file)
        if not isinstance(found, Mapping):
            raise TypeError(f"it holds a {type(found).__name__}, and no weights by their names")
        if not isinstance(state_dict(found), Mapping):
            raise TypeError("what it holds as state_dict is no weights by their names")
        _require_numbers(state_dict(found), path)
        return found
    except UserError:
        raise
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
        if isinstance(error, UnpicklingError):  # PyTorch's own advice would be to trust the file
            reason = "it is not what torch.save writes"
        raise UserError(
            f"checkpoint cannot be read: {path}\n  {type(error).__name__}: {reason}\n"
            "  do         name a file that torch.save wrote; one that was cut short, copy again"
        ) from error


def _require_numbers(weights: Mapping[str, Tensor], path: str) -> None:
    wrong = not_finite(weights)
    if wrong:
        raise UserError(
            f"checkpoint of a run that diverged: {path}\n"
            f"  because    NaN or Inf in {len(wrong)} of {len(weights)} tensors, {wrong[0]} first\n"
            "  do         take one from before that, or train anew with a lower learning rate"
        )


def _is_mask(tensor: Tensor) -> bool:
    """Whether a tensor is added to scores of attention: square, of zeros and infinities alone."""
    if tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2] or tensor.isnan().any():
        return False
    return bool((tensor[tensor.isfinite()] == 0).all()) and bool(tensor.isfinite().any())


def not_finite(node: Any, name: str = "") -> list[str]:
    """Names of the tensors in a checkpoint, or in a part of one, that hold NaN or Inf."""
    if isinstance(node, Tensor):
        if not (node.is_floating_point() or node.is_complex()) or node.is_meta:
            return []
        node = node.float() if node.element_size() == 1 else node  # 8 bits: PyTorch cannot tell
        return [] if bool(node.isfinite().all()) or _is_mask(node) else [name]
    if isinstance(node, Mapping):
        parts = [(str(key), value) for key, value in node.items()]
    elif isinstance(node, list | tuple):
        parts = [(str(number), value) for number, value in enumerate(node)]
    else:
        return []
    return [n for key, value in parts for n in not_finite(value, f"{name}.{key}" if name else key)]


@CheckpointLoader.register_scheme(prefixes=rf".*\{shared.ENDING}$")  # matched from the beginning
def load_from_safetensors(filename: str, map_location: Any) -> dict[str, Any]:
    """mmengine's way to such a file: `init_cfg`, `load_from`, its Runner."""
    return load_checkpoint(filename)


def _load_data(path: Path) -> dict[str, Any]:
    """What `path` holds, with stand-ins for logs, whatever else this process trusts elsewhere."""
    trusted = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals([(_Forgotten, name) for name in IN_LOGS]):
            return torch.load(path, "cpu", weights_only=True)
    finally:
        torch.serialization.add_safe_globals(trusted)


def state_dict(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights in a checkpoint, or that it is."""
    return checkpoint.get("state_dict", checkpoint)


def classes_of(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of the classes that a checkpoint was trained for; None where it does not tell.

    mmengine's have them in `meta.dataset_meta.classes`, those of mmseg 0.x in `meta.CLASSES`.
    """
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    data = meta.get("dataset_meta")
    found = data.get("classes") if isinstance(data, Mapping) else meta.get("CLASSES")
    return tuple(map(str, found)) if isinstance(found, list | tuple) and found else None


def config_of(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The config that a checkpoint was trained with, as its `meta` tells it.

    mmengine keeps it as the text of a Python file. Of that, literals and `dict(...)` are read:
    nothing is called.

    Returns:
        None where the checkpoint tells of none, or tells it in any other way.
    """
    meta = checkpoint.get("meta")
    text = meta.get("cfg") if isinstance(meta, Mapping) else None
    if isinstance(text, dict):  # of a folder that was shared
        return text or None
    try:
        lines = ast.parse(text).body if isinstance(text, str) else []
        return {_name(line): _literal(line.value) for line in lines} or None  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, AttributeError, TypeError, RecursionError):
        return None


def _name(line: ast.stmt) -> str:
    if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
        return line.targets[0].id
    raise ValueError("a line that is no assignment")


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=arguments, keywords=keywords):
            found: dict[Any, Any] = {}
            for argument in arguments:  # as mmengine writes keys that are no identifiers
                found |= _literal(argument)
            return found | {pair.arg: _literal(pair.value) for pair in keywords}
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_literal(key): _literal(value) for key, value in pairs if key}
        case ast.List(elts=items):
            return [_literal(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item) for item in items)
        case ast.Name(id=name) if name in NUMBERS:
            return NUMBERS[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_literal(operand)
        case ast.Name() | ast.Attribute():  # a type, by its name
            return ast.unparse(node)
        case _:
            return ast.literal_eval(node)


def differences(
    given: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    may_lack: Callable[[str], bool] = lambda key: False,
) -> dict[str, list[str]]:
    """Keys of `given` that are missing, left over or of another shape; empty where none is.

    Args:
        given: a checkpoint's state dict.
        own: that of the model it should be of.
        may_lack: whether a key of `own` need not be given.
    """
    wrong = {
        "missing": [k for k in own if k not in given and not may_lack(k)],
        "left over": [k for k in given if k not in own],
        "of another shape": [
            k for k in own if k in given and own[k].shape != getattr(given[k], "shape", None)
        ],
    }
    return {what: keys for what, keys in wrong.items() if keys}


def listing(wrong: Mapping[str, Collection[str]], most: int = 3) -> list[str]:
    """Lines that say how many keys differ, and the first `most` of them."""
    return [f"  {what:<17} {len(k)}: {', '.join(list(k)[:most])}" for what, k in wrong.items()]
