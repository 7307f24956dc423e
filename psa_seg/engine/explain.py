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
from psa_seg.records.fingerprint import look_up
from psa_seg.registry import name_of

FOREIGN = "\n             where it belongs to another type: {0}._delete_=True {0}.type=..."
BUILT_OF_A_CONFIG = ("psa_seg.", "mmseg.", "mmengine.", "mmcv.", "torch.optim.")
OURS_AND_LIBRARIES = (*BUILT_OF_A_CONFIG, "torch.")
BUILDING = ("__init__", "initialize")  # the second is mmengine's, of weights
PLACED = ("psa_seg.attention", "psa_seg.models")
TAKE_VALUES_OF_A_CONFIG = (*PLACED, "torch.optim", "mmengine.optim")
UNKNOWN_TYPE = re.compile(r"(\S+) is not in the .+ registry")
MISSING_OPTION = re.compile(r"(\w+)\.__init__\(\) missing \d+ required")
UNKNOWN_OPTION = re.compile(r"(\w+)(?:\.\w+)?\(\) got an unexpected keyword argument '(\w+)'")


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
                "  do         correct that module, or its name; it is looked for in the "
                "current\n             folder and on PYTHONPATH"
            ) from error
    init_default_scope(config.default_scope)


@contextmanager
def explaining(config: Config) -> Iterator[None]:
    """Turn errors that a value in `config` causes, when things are built of it, into messages.

    Others are ours, a library's or a user module's, and pass: nothing is trained in this block.

    Raises:
        UserError: for a type or an option that does not exist, or a value that its taker refuses.
    """
    try:
        yield
    except ImportError as error:
        if not _is_of_libraries(error):
            raise
        raise UserError(
            f"{config.filename} (with its options) needs a package that is not installed\n"
            f"  {str(error).partition(',')[0]}\n"
            "  do         install it (docs/recipes.md says how, for what it has), or leave that out"
        ) from error
    except (TypeError, LookupError, ValueError, AttributeError, AssertionError) as error:
        message = str(error.args[0]) if error.args else ""
        where = _named_in(config, message)
        if where is None:
            _explain_value(config, error, message)
            raise
        raise UserError(
            f"{config.filename} (with its options) names what does not exist\n  {message}\n"
            f"  where      {where}\n"
            f"{meant(message)}"
            "  do         correct the name of that option, type or module"
            + (FOREIGN.format(where.rpartition(".")[0]) if UNKNOWN_OPTION.search(message) else "")
        ) from error


def _named_in(config: Config, message: str) -> str | None:
    """The key in `config` at which stands what a registry or a class did not find; else None."""
    kind, option = UNKNOWN_TYPE.search(message), UNKNOWN_OPTION.search(message)
    missing = MISSING_OPTION.search(message)
    for path, value in _entries(config.to_dict(), ""):
        *_, key = path.split(".")
        if kind and key == "type" and value in (kind[1], kind[1].rpartition(".")[2]):
            return path
        if option and key == option[2] and _takes(config, path, option[1]):
            return path
        if missing and key == "type" and name_of(value) == missing[1]:
            return path
    return None


def _takes(config: Config, path: str, kind: str) -> bool:
    """Whether what stands at `path` is an option of the class `kind`, or of the Runner's."""
    *outer, _ = path.split(".")
    name = name_of(look_up(config, ".".join([*outer, "type"])))
    found = next((r.module_dict[name] for r in _registries() if name in r.module_dict), None)
    return kind == "Runner" or kind in [c.__name__ for c in getattr(found, "__mro__", ())]


def _explain_value(config: Config, error: Exception, message: str) -> None:
    """Raise UserError where a class of a library's, or of ours, refuses what it is built of."""
    if not _is_of_libraries(error):
        return
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    module, function = frame.f_globals["__name__"], frame.f_code.co_name
    taken = function in BUILDING and module.startswith(BUILT_OF_A_CONFIG)
    if taken or (isinstance(error, ValueError) and module.startswith(TAKE_VALUES_OF_A_CONFIG)):
        taker = type(frame.f_locals.get("self", error)).__name__
        hint = "; an attention takes the channels and maps of its place"
        raise UserError(
            f"{config.filename} (with its options): a value does not fit\n"
            f"  {message}\n"
            f"  where      what {taker} is built of\n"
            f"  do         correct it{hint if module.startswith(PLACED) else ''}"
        ) from error


def _is_of_libraries(error: Exception) -> bool:
    """Whether no code of a user's, with values of its own, stands between registry and error."""
    modules = [f.f_globals["__name__"] for f, _line in traceback.walk_tb(error.__traceback__)]
    built = [number for number, name in enumerate(modules) if name.startswith("mmengine.registry")]
    after = modules[max(built, default=0) + 1 :]
    return all(name.startswith(OURS_AND_LIBRARIES) for name in after)


def meant(message: str) -> str:
    """A line with the type or option that a registry, or a class, did not find; or nothing."""
    kind, option = UNKNOWN_TYPE.search(message), UNKNOWN_OPTION.search(message)
    found = _near_type(kind[1]) if kind else _near_option(*option.groups()) if option else ""
    return meant_by(found)


def meant_by(name: str) -> str:
    """The line of a message that names what was meant; nothing where it is not known."""
    return f"  meant      {name}?\n" if name else ""


def near(name: str, names: list[str]) -> str:
    """That of `names` which somebody who wrote `name` may have meant; empty if none is like it."""
    by_lower = {each.lower(): each for each in reversed(names)}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else ""


def _registries() -> Iterator[Registry]:
    for value in vars(mmseg.registry).values():
        while isinstance(value, Registry):  # and mmengine's, of which it is a child
            value.import_from_location()
            yield value
            value = value.parent


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


def _entries(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every key in a config, `train_cfg.max_iters` say, and what stands there."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in pairs:
        path = f"{where}.{key}" if where else str(key)
        yield path, value
        if isinstance(value, dict | list | tuple):
            yield from _entries(value, path)
