"""Paths that stand in each other's place on a command line, and a message that says so."""

import itertools
import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from psa_seg import kinds, shipped
from psa_seg.errors import UserError
from psa_seg.files import absolute, near

# What to do with each, where the command that was given has no use for it.
ELSEWHERE = {
    kinds.CONFIG: "train {}",
    kinds.CHECKPOINT: "predict {} PICTURES --out DIR",
    kinds.PICTURE: "predict CHECKPOINT {} --out DIR",
    kinds.VIDEO: "predict CHECKPOINT {} --out DIR",
    kinds.PICTURES: "predict CHECKPOINT {} --out DIR",
    kinds.DATA: "doctor --data {}",
    kinds.DATA_FILE: "doctor --data {}",
    kinds.EXPERIMENT: "sweep {}",
    kinds.RUN: "leaderboard {} --out DIR",
    kinds.ZIP: "format-cityscapes --check {}",
}
FOR_TRAINING = {
    **dict.fromkeys((kinds.DATA, kinds.DATA_FILE, kinds.PICTURES), "train CONFIG --data {}"),
    kinds.CHECKPOINT: "train CONFIG --cfg-options load_from={}",
    kinds.RUN: "train CONFIG --work-dir {} --resume",
}
# In each place, what looks at it later has its own words for a folder that is not the right one.
OF_CHECKPOINTS = (kinds.CHECKPOINT, kinds.RUN)
OF_PICTURES = (kinds.PICTURES, kinds.PICTURE, kinds.VIDEO, kinds.DATA, kinds.RUN)
OF_RECORDS = (kinds.RUN, kinds.PICTURES, kinds.DATA)


class Place(NamedTuple):
    """One of a command line.

    Attributes:
        name: as `--help` has it.
        path: that was given.
        kinds: that belong there, of `psa_seg.kinds`.
    """

    name: str
    path: str
    kinds: Collection[str]


def check(
    tool: str, places: Sequence[Place], instead: Mapping[str, str] | None = None, rest: str = ""
) -> None:
    """Whether each path is in its place, as far as one can tell what it is.

    Args:
        tool: its name as a command.
        places: in their order.
        instead: a command for a kind that has no place among them; by default, of `ELSEWHERE`.
        rest: of the command, where its paths have their places.

    Raises:
        UserError: for one that is not.
    """
    found = [_kind(place) for place in places]
    wrong = [bool(k) and k not in place.kinds for k, place in zip(found, places, strict=True)]
    if not any(wrong):
        return
    number = wrong.index(True)
    place, kind = places[number], found[number]
    swapped = _in_order(places, found)
    if swapped:
        command = " ".join(filter(None, [tool, *map(shlex.quote, swapped), rest]))
    else:
        command = {**ELSEWHERE, **(instead or {})}[kind].format(shlex.quote(place.path))
    tool, _, arguments = command.partition(" ")
    raise UserError(
        f"{place.name} is {kind}, and not {next(iter(place.kinds))}: {absolute(place.path)}\n"
        f"  do         {shipped.words(tool)} {arguments}"
    )


def _kind(place: Place) -> str:
    """What a path is; a config may be given by its name, which a folder here may have, too."""
    kind = kinds.kind(absolute(place.path))
    if shipped.is_name(place.path) and (not kind or kinds.CONFIG in place.kinds):
        return kinds.CONFIG
    return kind


def _in_order(places: Sequence[Place], found: Sequence[str]) -> list[str]:
    """The same paths, each where it belongs; none where there is no such order."""
    left, ordered = list(zip(found, places, strict=True)), []
    for place in places:
        fitting = next((pair for pair in left if pair[0] in place.kinds), None)
        if fitting is None:
            return []
        left.remove(fitting)
        ordered.append(fitting[1].path)
    return ordered


def refuse_resumed(arguments: Sequence[str]) -> None:
    """Whether --resume, which takes no value, was given a checkpoint or a folder.

    Raises:
        UserError: where it was.
    """
    for option, following in itertools.pairwise([*arguments, ""]):
        name, equals, value = option.partition("=")
        given = value if equals else following
        if name not in ("--resume", "--auto-resume", "--resume-from") or not given:
            continue
        path = Path(os.path.expanduser(given))
        is_other = given.startswith("-") or shipped.is_name(given) or path.suffix == ".py"
        if not equals and (is_other or not (path.is_dir() or path.suffix in kinds.WEIGHTS)):
            continue
        lines = [
            f"{name} takes no file: it goes on with the last run of its work directory by itself",
            f"  given      {absolute(path)}",
        ]
        if not path.exists():
            lines[-1] += f", which is not there\n{near(path)}  do         leave it out"
            raise UserError("\n".join(lines))
        folder = shlex.quote(str(path if path.is_dir() else path.parent))
        lines.append(f"  do         to go on from there: --work-dir {folder} --resume")
        start = shlex.quote(str(path))
        if path.suffix in kinds.WEIGHTS:
            lines.append(f"             to start from its weights: --cfg-options load_from={start}")
        raise UserError("\n".join(lines))
