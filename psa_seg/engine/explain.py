"""What a registry could not build, or a class would not take, in the words of the config."""

import difflib
import importlib
import inspect
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mmseg.registry
from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope

from psa_seg.errors import UserError

FOREIGN = "             where it belongs to another type: {0}._delete_=True {0}.type=..."
TAKE_VALUES_OF_A_CONFIG = ("psa_seg.attention", "psa_seg.models", "torch.optim")
UNKNOWN_TYPE = re.compile(r"(\S+) is not in the .+ registry")
UNKNOWN_OPTION = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")


def register(config: Config) -> None:
    """Import what the config names, and look types up where it says, as the Runner will.

    Raises:
        UserError: where a module is missing, or fails when it is imported.
    """
    names = config.custom_imports.get("imports", [])
    for name in [names] if isinstance(names, str) else names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a module is a program: whatever it raises is its author's
            if config.custom_imports.get("allow_failed_imports"):
                continue
            *_, last = traceback.extract_tb(error.__traceback__)
            inside = f"\n  in         {last.filename}:{last.lineno}"
            inside = "" if "importlib" in last.filename else inside
            raise UserError(
                f"{config.filename}: {name} of custom_imports cannot be imported\n"
                f"  {type(error).__name__}: {error}{inside}\n"
                "  do         mend that module, or correct its name; it is looked for in the "
                "current\n             folder and on PYTHONPATH"
            ) from error
    init_default_scope(config.default_scope)


@contextmanager
def explaining(config: Config) -> Iterator[None]:
    """Turn errors that a value in `config` causes, when things are built of it, into messages.

    Others are ours, or a library's, and pass: nothing is trained in this block.

    Raises:
        UserError: for a type or an option that does not exist, or a value that its taker refuses.
    """
    try:
        yield
    except (TypeError, KeyError) as error:
        message = str(error.args[0]) if error.args else ""
        option = UNKNOWN_OPTION.search(message)
        if not (UNKNOWN_TYPE.search(message) or "__init__() " in message):
            absent = next(_absent_types(config.to_dict()), None)
            if absent is None or "is not a callable object" not in message:  # says mmengine then
                raise
            message = f"{absent} is not in the mmseg registry, or in any of mmengine"
        unknown = option[2] if option else ""
        where = [path for path in _paths(config, "") if unknown and path.endswith(f".{unknown}")]
        raise UserError(
            f"{config.filename} (with --cfg-options) asks for what does not exist\n  {message}\n"
            f"  where      {where[0][1:] if where else 'see above'}\n"
            f"{meant(message)}"
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


def meant(message: str) -> str:
    """A line with the type or option that a registry, or a class, did not find; or nothing."""
    kind, option = UNKNOWN_TYPE.search(message), UNKNOWN_OPTION.search(message)
    found = _near_type(kind[1]) if kind else _near_option(*option.groups()) if option else ""
    return f"  meant      {found}?\n" if found else ""


def near(name: str, names: list[str]) -> str:
    """That of `names` which somebody who wrote `name` may have meant; empty if none is like it."""
    by_lower = {each.lower(): each for each in reversed(names)}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else ""


def _registries() -> Iterator[Registry]:
    for value in vars(mmseg.registry).values():
        while isinstance(value, Registry):  # and mmengine's, of which it is a child
            yield value
            value = value.parent


def _absent_types(node: Any) -> Iterator[str]:
    """Types in a config that no registry has."""
    values = node.values() if isinstance(node, dict) else node
    kind = node.get("type") if isinstance(node, dict) else None
    known = (kind in registry.module_dict for registry in _registries())
    if isinstance(kind, str) and "." not in kind and not any(known):
        yield kind
    for value in values:
        if isinstance(value, dict | list | tuple):
            yield from _absent_types(value)


def _near_type(name: str) -> str:
    return near(name, sorted({kind for r in _registries() for kind in r.module_dict}))


def _near_option(kind: str, name: str) -> str:
    found = next((r.module_dict[kind] for r in _registries() if kind in r.module_dict), None)
    return near(name, options(found)) if inspect.isclass(found) else ""


def options(kind: type) -> list[str]:
    """Names of a class's options, those it hands on to its parents included."""
    names: dict[str, None] = {}
    for parent in kind.__mro__:
        parameters = inspect.signature(parent).parameters.values()
        names |= dict.fromkeys(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(names)


def _paths(node: Any, where: str) -> Iterator[str]:
    """Of every key in a config: `.train_cfg.max_iters`, say."""
    if isinstance(node, list | tuple):
        node = dict(enumerate(node))
    if isinstance(node, dict | Config):
        for key, value in node.items():
            yield f"{where}.{key}"
            yield from _paths(value, f"{where}.{key}")
