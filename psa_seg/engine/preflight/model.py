"""The parts of a model that are ours: options that exist, with values that fit."""

import difflib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from psa_seg.errors import UserError
from psa_seg.ops.implementation import VARIABLE, interpreted, requested

CHANNELS = 256  # of an attention, which its place will give it: any width splits into its parts


def check_model(config: Config) -> None:
    """Every part of the model that is one of ours, wherever it stands, can be built as written.

    Raises:
        UserError: names the part, what is wrong with it, and the options it has; or says why
            `PSA_SEG_IMPL` cannot be followed.
    """
    try:
        implementation = requested()
    except ValueError as error:
        raise UserError(f"{error}\n  do         correct it, or leave it unset") from error
    if implementation == "triton" and not (torch.cuda.is_available() or interpreted()):
        raise UserError(
            f"{VARIABLE}=triton needs a GPU, and PyTorch sees none here\n"
            "  do         leave it unset: plain PyTorch is what suits a CPU"
        )
    for where, part in _parts(dict(config.model, type=None), "model"):  # the whole is upstream's
        kind = MODELS.get(part["type"])
        options = _options(kind)
        head = f"{config.filename}: {where}, {part['type']}"
        tail = f"  options    {', '.join(options)}"
        for key in part:
            if key not in (*options, "type", "_scope_"):
                close = difflib.get_close_matches(key, options, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise UserError(f"{head} has no option {key!r}{hint}\n{tail}")
        try:
            with torch.device("meta"):  # shapes alone
                MODELS.build(
                    {"in_channels": CHANNELS, **part} if "in_channels" in options else part
                )
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            raise UserError(f"{head} cannot be built\n  {error}\n{tail}") from error


def _parts(node: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ours within a model's config, the innermost first: where it stands, and what it says."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _parts(value, f"{where}.{key}")
        kind = node.get("type")
        found = MODELS.get(kind) if isinstance(kind, str) else None
        if inspect.isclass(found) and found.__module__.startswith("psa_seg."):
            yield where, node
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _parts(value, f"{where}.{index}")


def _options(kind: type) -> list[str]:
    """Names of a class's options, those it hands on to its parents included."""
    names: dict[str, None] = {}
    for parent in kind.__mro__:
        parameters = inspect.signature(parent).parameters.values()
        names |= dict.fromkeys(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(names)
