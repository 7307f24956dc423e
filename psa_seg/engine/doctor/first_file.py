"""A first data.yaml for a folder that has none."""

import os
from collections import Counter
from pathlib import Path

from psa_seg import files
from psa_seg.datasets.data_file import NAME
from psa_seg.datasets.guess import layout, written
from psa_seg.datasets.pairs import MASKS, find
from psa_seg.engine.doctor.masks import Counts, counts_of
from psa_seg.errors import DataError, UserError


def is_wanted(folder: Path) -> bool:
    """Whether a folder has no data.yaml."""
    return folder.is_dir() and not (folder / NAME).exists()


def write(folder: Path, out: Path | None) -> Path:
    """Write what lies in a folder into a data.yaml, which must not be there yet.

    Args:
        folder: of the data.
        out: of the file; None for one in the folder.

    Raises:
        UserError: where images and masks cannot be told apart or counted, or `out` is there.
    """
    path = out or folder / NAME
    files.must_be_new(path)
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"no file can be written in {path.parent}\n  do         name one: --out")
    found = layout(folder)
    masks = [m for place in found.masks.values() for m in find(folder, place, MASKS).values()]
    counts, colours = _counted(masks)
    inside = path.resolve().parent in (folder.resolve(), *folder.resolve().parents)
    root = os.path.relpath(folder, path.parent) if inside else str(folder.resolve())
    try:
        text = written(folder.resolve(), root, found, counts, colours, masks)
        files.write(path, text, new=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}\n  do         name another place: --out"
        ) from error
    return path


def _counted(masks: list[Path]) -> tuple[Counts, bool]:
    """Pixels by value over all masks, and whether the values are colours."""
    counted, colours = counts_of(masks, colours=False), False
    if (faults := _faults(counted)) and all("channels" in str(fault) for fault in faults):
        counted, colours = counts_of(masks, colours=True), True
        faults = _faults(counted)
    if faults:
        raise UserError(f"{len(faults)} of {len(masks)} masks: {faults[0]}")
    total: Counter[int] = Counter()
    for one in counted:
        total.update(one if isinstance(one, dict) else {})
    return dict(total), colours


def _faults(counted: list[Counts | DataError]) -> list[DataError]:
    return [one for one in counted if isinstance(one, DataError)]
