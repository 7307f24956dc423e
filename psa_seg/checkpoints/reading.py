"""Checkpoints are data: tensors, and the config they were trained with. Nothing in a file is run.

This is the door through which every file of weights comes in.
"""

import ast
import math
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from psa_seg.checkpoints import data, refusing, shared
from psa_seg.checkpoints.wholeness import damage
from psa_seg.errors import UserError
from psa_seg.files import missing

NUMBERS = {"inf": math.inf, "nan": math.nan}
MOST_KEYS = 4  # told of a file without weights


def load_checkpoint(path: str, map_location: Any = "cpu") -> dict[str, Any]:
    """The checkpoint at `path`, a file or an address, on the CPU.

    A .safetensors is one, too, with the `meta` that lies beside it. Tensors, plain values and logs
    alone are read, and nothing in a file is called, wherever it comes from (`data`).

    Raises:
        UserError: where it is missing or broken, or holds more than data, or no weights by their
            names, or weights that are no numbers.
    """
    address = "://" in path and not Path(path).expanduser().is_file()
    return _load(path, map_location, address)


@CheckpointLoader.register_scheme(prefixes=["", rf".*\{shared.ENDING}$"], force=True)
def load_from_disk(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's way to a file: `init_cfg`, `load_from`, its Runner."""
    return _load(filename, map_location, address=False)


def _load(path: str, map_location: Any, address: bool) -> dict[str, Any]:
    file = Path(path).expanduser()
    try:
        if address:
            found = CheckpointLoader.load_checkpoint(path, map_location, logger="silent")
        elif file.suffix == shared.ENDING:
            found = shared.read(file)
        elif zipfile.is_zipfile(file) and damage(file):  # PyTorch looks at no checksum
            raise zipfile.BadZipFile
        else:
            found = data.load(str(file), map_location)
        _require_weights(found, path)
        _require_numbers(state_dict(found), path)
        return found
    except UserError:
        raise
    except FileNotFoundError as error:
        raise missing("checkpoint", file) from error
    except Exception as error:  # whatever a broken file makes the unpickler say
        raise _refusal(path, error) from error


def _refusal(path: str, error: Exception) -> UserError:
    """Why a file is not read, without PyTorch's own advice, which is to run what is in it."""
    called = re.search(r"GLOBAL (\S+)", str(error))
    file = Path(path).expanduser()
    if isinstance(error, UnpicklingError) and called:
        return UserError(
            f"checkpoint holds more than data, and is not loaded: {path}\n"
            f"  because    {called[1]} in it could run any program\n"
            "  do         get one of weights alone; if you trust who made it: --trust-checkpoint"
        )
    reason, do = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", "copy it again"
    if isinstance(error, OSError) or not file.is_file():
        do = "correct the path, or the address"
        if isinstance(error, UnpicklingError):
            reason = "what lies there is not what torch.save writes"
    elif file.suffix != shared.ENDING:
        kind, do = refusing.what_it_is(file)
        if kind:
            reason = f"it is {kind}"
        elif isinstance(error, UnpicklingError):
            reason = "what it holds is more than data, or is not what torch.save wrote"
    return _unreadable(path, reason, do)


def _unreadable(path: str, reason: str, do: str) -> UserError:
    return UserError(f"checkpoint cannot be read: {path}\n  because    {reason}\n  do         {do}")


def _require_weights(found: Any, path: str) -> None:
    """Raise UserError for what is no weights by their names."""
    weights = state_dict(found) if isinstance(found, Mapping) else found
    wrong = ""
    if not isinstance(weights, Mapping):
        where = "" if weights is found else ", as state_dict"
        wrong = f"a {type(weights).__name__}{where}"
    elif weights and not any(isinstance(value, Tensor) for value in weights.values()):
        wrong = ", ".join(map(str, list(weights)[:MOST_KEYS]))
    if wrong:
        do = "name a checkpoint, of torch.save(model.state_dict(), FILE) say"
        raise _unreadable(path, f"it holds no weights by their names, but {wrong}", do)
    for name, value in weights.items():
        if isinstance(value, Tensor) and value.is_meta:
            do = "take the file that has them: this is of a model without memory (meta)"
            raise _unreadable(path, f"it holds names and shapes, and no numbers: {name}", do)


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


def state_dict(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights in a checkpoint, or that it is."""
    return checkpoint.get("state_dict", checkpoint)


def weights_in(checkpoint: Any, source: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint, or that it is: tensors by name, and nothing else.

    Raises:
        UserError: where there is none.
    """
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not state or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in state.items()
    ):
        found = list(checkpoint)[:5] if isinstance(checkpoint, dict) else []
        raise UserError(
            f"no state dict: {source}\n"
            "  expected   tensors by name, or these under the key state_dict\n"
            f"  found      {', '.join(map(str, found)) or 'none'}\n"
            "  do         torch.save({'state_dict': ...}) what the file has of them"
        )
    return dict(state)


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
    """Keys of `given` that are missing, left over, of another shape or kind; empty where none is.

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
        "no such numbers": [k for k in own if k in given and not _fits(given[k], own[k])],
    }
    return {what: keys for what, keys in wrong.items() if keys}


def _fits(given: Any, own: Tensor) -> bool:
    """Whether a tensor's numbers are of a kind that a model's can become, as far as it is one.

    An average of checkpoints has counts that are no whole numbers.
    """
    if not isinstance(given, Tensor):
        return True  # it is of another shape
    counts = not own.is_floating_point() and given.dtype != torch.bool
    return not given.is_complex() and (given.is_floating_point() or counts)


def listing(wrong: Mapping[str, Collection[str]], most: int = 3) -> list[str]:
    """Lines that say how many keys differ, and the first `most` of them."""
    return [f"  {what:<17} {len(k)}: {', '.join(list(k)[:most])}" for what, k in wrong.items()]
