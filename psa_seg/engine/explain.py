"""What a registry could not build, or a class would not take, told in the words of the config."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config

from psa_seg.errors import UserError

FOREIGN = "             where it belongs to another type: {0}._delete_=True {0}.type=..."
TAKE_VALUES_OF_A_CONFIG = ("psa_seg.attention", "psa_seg.models", "torch.optim")


@contextmanager
def explaining(config: Config) -> Iterator[None]:
    """Turn errors that a value in `config` causes into messages; others are ours, and pass.

    Raises:
        UserError: for a type, an option or a module that does not exist, or a value that its
            taker refuses.
    """
    try:
        yield
    except (TypeError, KeyError, ImportError) as error:
        told = str(error.args[0]) if error.args else ""
        if not (isinstance(error, ImportError) or "__init__() " in told or "registry" in told):
            raise
        unknown = told.partition("unexpected keyword argument ")[2].strip("'\"")
        where = [path for path in _paths(config, "") if unknown and path.endswith(f".{unknown}")]
        raise UserError(
            f"{config.filename} (with --cfg-options) asks for what does not exist\n  {told}\n"
            f"  where      {where[0][1:] if where else 'see above'}\n"
            "  do         correct the name of that option, type or module"
            + (f"\n{FOREIGN.format(where[0][1:].rpartition('.')[0])}" if where else "")
        ) from error
    except ValueError as error:
        *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
        if not frame.f_globals["__name__"].startswith(TAKE_VALUES_OF_A_CONFIG):
            raise
        raise UserError(
            f"{config.filename} (with --cfg-options): a value does not fit\n  {error}\n"
            "  do         correct it; an attention takes the channels and maps of its place"
        ) from error


def _paths(node: Any, where: str) -> Iterator[str]:
    """Of every key in a config: `.train_cfg.max_iters`, say."""
    if isinstance(node, list | tuple):
        node = dict(enumerate(node))
    if isinstance(node, dict | Config):
        for key, value in node.items():
            yield f"{where}.{key}"
            yield from _paths(value, f"{where}.{key}")
