"""Model files of ours, which name one of the installed package's and say what is added to it.

    base: yolo26{scale}-sem.yaml  # the scale is that of the name by which this file is asked for
    after: 10                     # index of a layer in the base; left out, the backbone's last
    attention: {init: identity}   # options of PolarizedSelfAttention

As Ultralytics has it, `yolo26n-sem-psa.yaml` is `yolo26-sem-psa.yaml` at scale n. Keys of the base,
such as `nc`, may be given, too, and replace the base's.
"""

import logging
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.errors import UserError

NAME = PolarizedSelfAttention.__name__
OURS = ("base", "after", "attention")
ANY = ("nc", "activation", "kpt_shape", "scales", "channels")  # what a base may leave out
SCALED = re.compile(r"(?<=\d)[a-z](?![a-z])")  # a letter, behind a number
ROWS = ("backbone", "head")  # those of the base, whose indices are known
NARROWEST = 16  # channels of YOLO's narrowest map
Description = dict[str, Any]
Where = Callable[[str], str]


def read(path: str | Path, load: Callable[[str], Description]) -> Description | None:
    """What a model file of ours describes, in Ultralytics' own terms; None if it is none of ours.

    Args:
        path: of the file, with a scale in its name or without.
        load: the description of a base, by its name.

    Raises:
        UserError: for a key, base, place or option that does not exist.
    """
    file, scale = _found(Path(path))
    if file is None:
        return None
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None  # theirs to tell
    if not isinstance(given, dict) or "base" not in given or "backbone" in given:
        return None
    if "{scale}" in str(given["base"]) and not scale:  # as theirs does
        logging.getLogger("ultralytics").warning("no model scale passed. Assuming scale='n'.")
    name = str(given["base"]).replace("{scale}", scale or "n")
    try:
        base = load(name)
        if "backbone" not in base:
            raise ValueError(f"{name} has no backbone")
    except (OSError, ValueError, AssertionError) as error:  # whatever they make of a wrong name
        raise UserError(
            f"no model file of Ultralytics: {name}\n"
            f"  because    {str(error).strip()}\n"
            f"  where      base of {file}, asked for as {Path(path).name}\n"
            "  do         name a scale that there is, as n in yolo26n-sem-psa.yaml, or another base"
        ) from error
    rest = {key: value for key, value in given.items() if key not in OURS}
    if scale and not base.get("scale") and scale in (base.get("scales") or {}):
        base = {**base, "scale": scale}
    unknown = [key for key in rest if key in ROWS or (key not in base and key not in ANY)]
    if unknown:
        raise UserError(
            f"unknown key: {unknown[0]}\n"
            f"  where      {file}\n"
            f"  do         take {', '.join(OURS)}, or a key of {name}: {', '.join(base)}"
        )
    options = {} if given.get("attention") is None else given["attention"]
    if not isinstance(options, dict):
        raise UserError(
            f"attention is not a list of options: {options!r}\n"
            f"  where      {file}\n"
            "  do         write them as attention: {layout: sequential}"
        )
    merged = with_layer({**base, **rest}, given.get("after"), options, f"{file}: ".__add__)
    return {**merged, "yaml_file": str(path)}


def _found(path: Path) -> tuple[Path | None, str]:
    """The file that is asked for by `path`, and the scale in its name."""
    named = SCALED.search(path.name)
    scale = named[0] if named else ""
    plain = path.name[: named.start()] + path.name[named.end() :] if named else path.name
    candidates = [path, path.with_name(plain)]
    return next((file for file in candidates if file.is_file()), None), scale


def with_layer(
    config: Mapping[str, Any], after: int | None, options: Mapping[str, Any], where: Where
) -> Description:
    """A description with the attention between the layer `after` and all that take its map.

    Args:
        config: of the plain model.
        after: the layer's index there; None is the last of the backbone.
        options: of the attention.
        where: what is said of a wrong choice, by the choice.

    Raises:
        UserError: for a layer or an option that does not exist.
    """
    check(options, where)
    rows = deepcopy([*config["backbone"], *config["head"]])
    after = len(config["backbone"]) - 1 if after is None else after
    if type(after) is not int or not 0 <= after < len(rows) - 1:
        raise UserError(
            f"{where(f'after={after}')}: no layer of that index has another behind it; "
            f"take 0 to {len(rows) - 2}"
        )

    def moved(source: int, index: int) -> int:
        if source < 0:  # counted back from a layer that moves, to one that may not
            return source - (index + source < after)
        return source + (source >= after)

    for index, row in enumerate(rows):
        if index > after:
            several = isinstance(row[0], list)
            sources = [moved(source, index) for source in (row[0] if several else row[:1])]
            row[0] = sources if several else sources[0]
    rows.insert(after + 1, [-1, 1, NAME, [dict(options)] if options else []])
    split = len(config["backbone"]) + (after < len(config["backbone"]))
    return {**config, "backbone": rows[:split], "head": rows[split:]}


def check(options: Mapping[str, Any], where: Where) -> None:
    """Raise UserError for options that the attention does not have; `where` as above."""
    try:
        PolarizedSelfAttention(NARROWEST, **dict(options))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where(f'attention={options}')}: {error}; help({NAME}) lists the options"
        ) from error
