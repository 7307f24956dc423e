"""Records as JSON files."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from psa_seg import files
from psa_seg.errors import UserError
from psa_seg.records.schema import VERSION, Record, rounded
from psa_seg.records.typed import from_plain

NAME = "record.json"  # in a work directory
DERIVED = ("iterations", "mIoU", "mAcc", "aAcc", "IoU", "mBIoU", "F1", "mF1", "ECE")
MARKS = {"config_hash", "validations"}  # no other JSON has one of these
STAMP = re.compile(r"\d{8}_\d{6}")  # what mmengine calls a start, and its files
TOLERANCE = 1e-3  # of derived figures, which are written with four digits


def write(path: Path, record: Record) -> None:
    """Write a run's record, as far as the run has come.

    Raises:
        OSError: where the disk does not take it; the record before is left as it was.
    """
    text = json.dumps(to_plain(record), indent=1, allow_nan=False)
    files.write(path, _rows_in_line(text) + "\n")


def to_plain(record: Record) -> dict[str, Any]:
    """What is written: the record, and the figures that follow from it."""
    plain = asdict(record)
    validations, inference = plain.pop("validations"), plain.pop("inference")
    validations = [{key: part for key, part in v.items() if part != ()} for v in validations]
    if record.version == 1:
        plain["sittings"] = plain.pop("attempts")
        del plain["version"], plain["start"]
    return {
        **plain,
        **({} if inference is None else {"inference": inference}),
        "validations": validations,
        **rounded(record.validations, record.classes),
    }


def read(path: Path) -> Record:
    """The record at `path`.

    Raises:
        UserError: says what is wrong with it; nothing but a whole and consistent record is read.
    """
    try:
        return _record(json.loads(path.read_text("utf-8"), object_pairs_hook=_each_key_once))
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(
            f"record cannot be read: {path}\n  {error}\n"
            "  do         copy it again from where it was made, or make it again"
        ) from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"it has two entries of one name, among {', '.join(found)[:60]}")
    return found


def _record(read: Any) -> Record:
    if not isinstance(read, dict):
        raise ValueError("it must be a mapping")
    plain = {key: value for key, value in read.items() if key not in DERIVED}
    version = plain.setdefault("version", 1)
    if version == 1 and "sittings" in plain:
        plain["attempts"] = plain.pop("sittings")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(f"version {version!r} is not one of 1 to {VERSION}: update psa_seg")
    record = from_plain(Record, plain)
    derived = rounded(record.validations, record.classes)
    for key in DERIVED:
        if key in read and not _agree(read[key], derived.get(key)):
            raise ValueError(f"{key} is not what its counts give: {str(derived.get(key))[:60]}")
    return record


def _agree(written: Any, derived: Any) -> bool:
    """Whether figures that a file tells are those of its counts."""
    if isinstance(derived, Mapping):
        same = isinstance(written, Mapping) and written.keys() == derived.keys()
        return same and all(_agree(written[key], derived[key]) for key in derived)
    if isinstance(derived, float):
        return type(written) in (int, float) and math.isclose(written, derived, abs_tol=TOLERANCE)
    return type(written) is type(derived) and written == derived


class Found(NamedTuple):
    """What lies in a folder, and below it."""

    records: dict[Path, Record]
    others: list[Path]  # JSON that is no record, and that no run leaves beside one


def find(folder: Path) -> Found:
    """The records in `folder` and below it, behind links, too.

    Raises:
        UserError: where a file is no JSON, or says that it is a record and cannot be read.
    """
    records, others = {}, []
    for path in sorted(_json_files(folder), key=_natural):
        if path.exists() and not path.is_file():  # a folder, a pipe
            others.append(path)
            continue
        marked = _is_marked(path)
        if marked or path.name == NAME or (marked is None and not _is_mmengines(path)):
            records[path] = read(path)  # half a record, maybe: not passed over in silence
        elif not _is_mmengines(path):
            others.append(path)
    return Found(records, others)


def _json_files(folder: Path) -> Iterator[Path]:
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, n) for n in [*names, *folders] if n.endswith(".json"))


def _is_mmengines(path: Path) -> bool:
    """Whether mmengine leaves it in a work directory: a log, in lines of JSON, or figures."""
    return path.parent.name == "vis_data" or bool(STAMP.fullmatch(path.stem))


def _is_marked(path: Path) -> bool | None:
    """Whether a file says that it is a record; None where it says nothing."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return isinstance(found, dict) and bool(MARKS & found.keys())


def _natural(path: Path) -> list[Any]:
    """Orders `run_2` before `run_10`, and `run` before both."""
    parts = (re.split(r"(\d+)", part) for part in path.with_suffix("").parts)
    return [[int(p) if p.isdecimal() else p for p in part] for part in parts]


def _rows_in_line(text: str) -> str:
    """Lists of numbers, such as a row of a confusion matrix, in one line each."""
    return re.sub(r"\[[\s\d,.]*\]", lambda match: " ".join(match[0].split()), text)
