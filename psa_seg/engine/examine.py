"""All that can be looked at without training: one table of what is well, doubtful and wrong."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import Tensor

from psa_seg import files
from psa_seg.checkpoints.reading import classes_of, load_checkpoint, state_dict
from psa_seg.engine import prepare, weights
from psa_seg.engine.doctor import (
    check_checkpoint,
    check_items,
    check_names,
    look,
    new_heads,
    remarks,
)
from psa_seg.engine.doctor.data import Found
from psa_seg.engine.doctor.environment import check_environment, facts, remarks_on_environment
from psa_seg.engine.doctor.masks import together
from psa_seg.engine.doctor.sheet import draw_sheet
from psa_seg.engine.explain import explaining, register
from psa_seg.engine.looking import check_config
from psa_seg.errors import DataError, UserError
from psa_seg.models.placement import settled
from psa_seg.records.fingerprint import sources

OK, WARNING, ERROR = "ok", "warning", "error"
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


class Line(NamedTuple):
    """Of the table."""

    part: str  # environment, config, data, weights, checkpoint
    state: str
    message: str


class Examination(NamedTuple):
    """All lines, and the data as far as they could be looked at."""

    lines: list[Line]
    found: dict[str, list[Found]]

    def text(self) -> str:
        """The table, in the order of parts; what to do is below each line."""
        rows = []
        for line in self.lines:
            first, *rest = line.message.splitlines()
            rows.append(f"{line.state:<8} {line.part:<12} {first}")
            rows += [f"{'':<21} {more}" for more in rest]
        counts = {s: sum(line.state == s for line in self.lines) for s in (WARNING, ERROR)}
        rows.append(", ".join(f"{n} {s}{'s' * (n != 1)}" for s, n in counts.items()))
        return "\n".join(rows)

    def json(self) -> str:
        """The same for programs."""
        return json.dumps([line._asdict() for line in self.lines], indent=2)

    def status(self, strict: bool) -> int:
        """Exit status: 2 with errors, 1 with warnings if those count."""
        states = {line.state for line in self.lines}
        return 2 if ERROR in states else int(strict and WARNING in states)


def examine(args: argparse.Namespace, named: bool = True) -> Examination:
    """Look at everything that the command line names.

    Args:
        args: as for a training; `checkpoint` is a path, or None.
        named: whether the user names a config; another's own mistakes are not told.
    """
    lines = _lines("environment", facts(), check_environment(), remarks_on_environment())
    found: dict[str, list[Found]] = {}
    if not (named or args.data or args.checkpoint):
        return Examination(lines, found)
    try:
        config = prepare.read(args)
        register(config)
        config.model = settled(config.model)
        with explaining(config):
            wrong = check_config(config, *LOADERS)
    except UserError as error:
        part = "data" if isinstance(error, DataError) else "config"
        return Examination([*lines, Line(part, ERROR, str(error))], found)
    lines += _lines("config", str(config.filename), wrong) if named or wrong else []
    if wrong:
        return Examination(lines, found)
    lines += list(_data(config, found)) if named or args.data else []
    lines += _weights(config) if named else []
    if args.checkpoint:
        lines += _checkpoint(config, args.checkpoint, named, named or bool(args.data))
    return Examination(lines, found)


def _lines(part: str, fact: str, wrong: list[str], doubtful: list[str] | None = None) -> list[Line]:
    lines = [Line(part, ERROR, message) for message in wrong]
    lines += [Line(part, WARNING, message) for message in doubtful or []]
    return lines if wrong else [Line(part, OK, fact), *lines]


def _data(config: Config, found: dict[str, list[Found]]) -> Iterator[Line]:
    try:
        with explaining(config):
            there, wrong = look(config, *LOADERS)
            found.update(there)
            wrong = wrong or check_items(config, found)
    except UserError as error:
        wrong = [str(error)]
    yield from (Line("data", ERROR, message) for message in dict.fromkeys(wrong))
    told: list[list[Any]] = []
    for loader, sets in found.items():
        pairs = [one.pairs for one in sets]
        if pairs not in told:  # the set of val is that of test, mostly
            name = loader.removesuffix("_dataloader")
            yield Line("data", OK, f"{config.data_name}, {name}: {_shares(sets)}")
        told.append(pairs)
    if not wrong:
        yield from (Line("data", WARNING, message) for message in remarks(config, found))


def _shares(sets: list[Found]) -> str:
    """Images, their sizes, and the share of pixels of each class."""
    images = sum(len(one.pairs) for one in sets)
    sizes = {header.loaded for one in sets for header, _ in one.headers}
    (width, height), *others = sorted(sizes)
    size = f"{width}x{height}" + (f" to {others[-1][0]}x{others[-1][1]}" if others else "")
    whole = together([one.survey for one in sets])
    total = sum(whole.pixels) + whole.ignored
    named = dict(zip(whole.classes, whole.pixels, strict=True)) | {"(ignored)": whole.ignored}
    rows = [f"\n  {100 * n / total:7.3f} % of the pixels {name}" for name, n in named.items() if n]
    modes = (
        "/".join(sorted({two[kind].mode for one in sets for two in one.headers})) for kind in (0, 1)
    )
    return f"{images} pairs, {size}, images {next(modes)}, masks {next(modes)}{''.join(rows)}"


def _weights(config: Config) -> list[Line]:
    """Files of weights that a run starts from: here, or to be fetched."""
    lines = []
    for key, source in sources(config).items():
        if "://" not in source and not Path(source).expanduser().is_file():
            wrong = files.missing(f"{key}:", source, f"--cfg-options {key}=FILE")
            lines.append(Line("weights", ERROR, str(wrong)))
        elif key == "load_from" and "://" not in source:
            lines += _start(config, source)
        elif "://" in source and not weights.cached(source):
            message = f"{key}: {source} is not on this disk; the first run fetches it"
            lines.append(Line("weights", WARNING, message))
        else:
            lines.append(Line("weights", OK, f"{key}: {source}"))
    return lines


def _start(config: Config, path: str) -> list[Line]:
    """A checkpoint to fine-tune: its heads may be of other classes."""
    try:
        read = load_checkpoint(path)
        with explaining(config):
            twin, anew = new_heads(config.model, read)
            wrong = check_checkpoint(twin, read, path, new_attention=True)
    except UserError as error:
        return [Line("weights", ERROR, str(error))]
    fact = f"load_from: {path}" + "".join(f"\n  anew, for other classes: {key}" for key in anew)
    return _lines("weights", fact, wrong)


def _checkpoint(config: Config, path: str, named: bool, of_data: bool) -> list[Line]:
    """Whether it is of this config's model, if one is named, and of its data, if those are."""
    try:
        read: Any = load_checkpoint(path)
        with explaining(config):
            wrong = check_checkpoint(config.model, read, path) if named else []
            wrong = wrong or (check_names(config, read, path, LOADERS[1]) if of_data else [])
    except UserError as error:
        wrong = [str(error)]
    classes = () if wrong else classes_of(read) or ()
    tensors = () if wrong else [v for v in state_dict(read).values() if isinstance(v, Tensor)]
    number = len(tensors)
    wrong = wrong or [f"{path}: there are no weights in it"] * (not number)
    fact = f"{path}: {number} tensors"
    fact += f", of {len(classes)} classes: {', '.join(map(str, classes))}" if classes else ""
    return _lines("checkpoint", fact, wrong)


def place_of_sheet(path: Path) -> Path:
    """Where a contact sheet is drawn: at `path`, or, if that is there, at `sheet_2.png`, ...

    Raises:
        UserError: where it could not.
    """
    if not path.parent.is_dir() or path.suffix.lower() != ".png":
        raise UserError(
            f"--show {path} is no PNG in a folder that is there\n  do         name one: sheet.png"
        )
    numbered = (path.with_stem(f"{path.stem}_{n}" if n > 1 else path.stem) for n in count(1))
    return next(place for place in numbered if not os.path.lexists(place))


def show(found: Examination, path: Path) -> None:
    """Draw the contact sheet of the training images.

    Raises:
        UserError: where the data could not be looked at.
    """
    sets = found.found.get(LOADERS[0])
    if not sets:
        raise UserError("the training images could not be read: see the table")
    draw_sheet(path, sets)
    print(f"wrote {path}: do the colours lie where they should?", file=sys.stderr)


def suggestion(found: Examination) -> Line:
    """Weights of classes for the loss, as an option.

    The median frequency over a class's own (Eigen and Fergus 2015, arXiv 1411.4734): the share of
    its pixels among those of the images it occurs in.
    """
    sets = found.found.get(LOADERS[0])
    if not sets or not any(any(one.survey.pixels) for one in sets):
        return Line("suggestion", ERROR, "no weights of classes: no training mask was counted")
    whole = together([one.survey for one in sets])
    shares = [p / a if p else None for p, a in zip(whole.pixels, whole.areas, strict=True)]
    middle = median(share for share in shares if share)
    weights = [round(middle / share, 3) if share else 0.0 for share in shares]
    text = f"class_weight={weights}\n  of {', '.join(whole.classes)}"
    return Line("suggestion", OK, text)
