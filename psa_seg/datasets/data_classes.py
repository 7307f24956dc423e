"""What a data.yaml says of classes: their names, the values of masks, colours."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from psa_seg import shipped
from psa_seg.datasets.colours import differing, rgb
from psa_seg.datasets.labels import IGNORED
from psa_seg.datasets.masks import LARGEST
from psa_seg.errors import UserError

IGNORE = "ignore"
MOST_CLASSES = IGNORED  # numbers 0 to 254
COLOUR = re.compile(r"#([0-9a-fA-F]{6})")


def class_names(path: Path, given: Any) -> tuple[str, ...]:
    """Names of class 0, 1, ...; each function here raises UserError for what is wrong."""
    if isinstance(given, dict):  # {0: road, 1: car}
        if sorted(given, key=str) != sorted(range(len(given)), key=str):
            raise fault(path, f"names must number 0 to {len(given) - 1}, and not {list(given)}")
        given = [given[i] for i in range(len(given))]
    if not isinstance(given, list) or not given:
        raise fault(path, "names must list the classes: [background, crack]")
    names = tuple(as_text(path, "names", name) for name in given)
    if len({*names}) < len(names) or IGNORE in names:
        raise fault(path, f"names must differ, and none be {IGNORE!r}: {', '.join(names)}")
    if not 2 <= len(names) <= MOST_CLASSES:
        raise fault(path, f"there are {len(names)} names, and can be 2 to {MOST_CLASSES}")
    return names


def ids_by_value(
    path: Path, read: Mapping[str, Any], names: Sequence[str]
) -> tuple[dict[int, int], bool]:
    """Class number by value, and whether values are colours."""
    ignored = read.get("ignore")
    values = read.get("values")
    if values is None:
        numbers = (
            ignored if isinstance(ignored, list) else [IGNORED if ignored is None else ignored]
        )
        if any(type(n) is not int or abs(n) >= LARGEST for n in numbers):
            raise fault(path, f"ignore must be a number, or several, not {ignored!r}")
        clash = [number for number in numbers if 0 <= number < len(names)]
        if clash:
            raise fault(path, f"ignore is {clash[0]}, which is {names[clash[0]]}: give `values`")
        return {**dict(enumerate(range(len(names)))), **dict.fromkeys(numbers, IGNORED)}, False
    if ignored is not None:
        raise fault(path, "ignore stands beside values, which name it: {128: ignore}")
    if not isinstance(values, dict) or not values:
        raise fault(path, "values must map each value of a mask to a name: {0: road, 255: ignore}")
    number = {**{name: i for i, name in enumerate(names)}, IGNORE: IGNORED}
    meanings = [as_text(path, "values", name) for name in values.values()]
    strange = [name for name in meanings if name not in number]
    if strange:
        raise fault(path, f"values has {strange[0]!r}, which is not among names, nor {IGNORE!r}")
    without = [name for name in names if name not in meanings]
    if without:
        raise fault(path, f"values has no value of {without[0]!r}")
    hues = [COLOUR.fullmatch(value) for value in values if isinstance(value, str)]
    if len(hues) not in (0, len(values)) or not all(hues):
        raise fault(path, 'values are all numbers, or all colours in quotes: "#804080"')
    if not hues and any(type(value) is not int or abs(value) >= LARGEST for value in values):
        raise fault(path, f"values must be whole numbers, or colours, not {list(values)}")
    keys = [int(value[1:], 16) if hues else value for value in values]
    if len({*keys}) < len(keys):
        raise fault(path, "values has a colour twice")
    return {k: number[name] for k, name in zip(keys, meanings, strict=True)}, bool(hues)


def palette(
    path: Path, given: Any, names: Sequence[str], colours: Mapping[int, int]
) -> tuple[tuple[int, int, int], ...]:
    """RGB of each class: what is given, or else the masks' colours, or else ones that differ."""
    if given is None:
        of_masks = {i: rgb(value) for value, i in reversed([*colours.items()])}
        others = differing(len(names))
        return tuple(of_masks.get(i, others[i]) for i in range(len(names)))
    if not isinstance(given, list) or len(given) != len(names):
        raise fault(path, f"palette must list {len(names)} colours, as there are names")
    found = []
    for colour in given:
        text = COLOUR.fullmatch(colour) if isinstance(colour, str) else None
        numbers = list(rgb(int(text[1], 16))) if text else colour
        if not isinstance(numbers, list) or len(numbers) != 3:
            raise fault(path, f'palette has {colour!r}, and no "#804080" or [128, 64, 128]')
        if any(type(n) is not int or not 0 <= n < 256 for n in numbers):
            raise fault(path, f"palette has {colour!r}: red, green, blue are 0 to 255")
        found.append((numbers[0], numbers[1], numbers[2]))
    return tuple(found)


def as_text(path: Path, key: str, given: Any) -> str:
    """What stands at a key, if it can be a text."""
    if isinstance(given, bool | None) or not isinstance(given, str | int | float) or given == "":
        raise fault(path, f"{key} must be a text, not {given!r} (quotes make one of it)")
    if "\0" in str(given):
        raise fault(path, f"{key} has a character that no file can be called by: {given!r}")
    return str(given)


def fault(path: Path, what: str) -> UserError:
    """The message for what is wrong in a data file."""
    return UserError(
        f"{what}\n  where      {path}\n"
        "  do         correct it as docs/your_data.md says; "
        f"{shipped.words('doctor')} --data FOLDER\n             writes one"
    )
