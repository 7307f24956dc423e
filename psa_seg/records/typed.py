"""Plain values, as JSON has them, into frozen dataclasses: every type is checked."""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")
LIMIT = 2**63
WORDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def from_plain(kind: type[Kind], value: Any, where: str = "") -> Kind:
    """`value` as a `kind`.

    Args:
        kind: a dataclass, `str`, `bool`, `int`, `float`, `tuple[T, ...]`, `dict[str, T]`, `Any`, or
            a union of one of these with None. A number is finite; a whole number is no truth value.
        value: strings, numbers, lists, mappings and None.
        where: name of the value, for messages.

    Raises:
        ValueError: names the value that is not what it must be.
    """
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (kind,) = (k for k in arguments if k is not type(None))
        return None if value is None else from_plain(kind, value, where)  # type: ignore[return-value]
    if origin is tuple:
        _expect(isinstance(value, list | tuple), value, where, "a list")
        each = arguments[0]
        found = (from_plain(each, v, f"{where}.{i}") for i, v in enumerate(value))
        return tuple(found)  # type: ignore[return-value]
    if origin is dict:
        _expect(isinstance(value, Mapping), value, where, "a mapping")
        return {  # type: ignore[return-value]
            from_plain(str, k, where): from_plain(arguments[1], v, f"{where}.{k}")
            for k, v in value.items()
        }
    if kind is Any:
        return _any(value, where)
    right = type(value) is kind or (kind is float and type(value) is int)
    _expect(right and _is_sound(value), value, where, WORDS[kind])
    return value


def _is_sound(value: Any) -> bool:
    """Whether a number is finite and fits into 64 bits, and a text can be written."""
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    return value is None or (abs(value) < LIMIT and math.isfinite(value))


def _any(value: Any, where: str) -> Any:
    """Whatever JSON has, if all in it can be written again."""
    if isinstance(value, Mapping):
        return {_any(k, where): _any(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_any(v, f"{where}.{i}") for i, v in enumerate(value)]
    _expect(_is_sound(value), value, where, "a text or a number that can be written")
    return value


def _dataclass(kind: type[Kind], value: Any, where: str) -> Kind:
    _expect(isinstance(value, Mapping), value, where or "it", "a mapping")
    hints, prefix = get_type_hints(kind), f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in fields:
            raise ValueError(f"{prefix}{key} is no entry of a record")
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING is field.default_factory
        if name not in value and needed:
            raise ValueError(f"it has no {prefix}{name}")
    given = {k: from_plain(hints[k], v, f"{prefix}{k}") for k, v in value.items()}
    try:
        return kind(**given)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


def _expect(right: bool, value: Any, where: str, what: str) -> None:
    if not right:
        raise ValueError(f"{where} must be {what}, and is {ascii(value)[:40]}")
