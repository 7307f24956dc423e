"""Where a run is written: a directory that holds nothing, or this very run."""

import itertools
import os
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from torch import nn

from psa_seg.engine.lock import is_held, job, me
from psa_seg.errors import BusyError, UserError
from psa_seg.files import disk_error

CLAIM = ".run"  # the process that is at work here
TEMPLATE = "iter_{}.pth"  # of the names of checkpoints
PROBE = ".probe."
AT_START = re.compile(r"\d{8}_\d{6}|.*\.py|\.probe\..*|\.run")  # what a start writes
# What a run that was killed before its first checkpoint can have left, and Slurm.
BEFORE_A_CHECKPOINT = re.compile(
    rf"{AT_START.pattern}|record\.json|last_checkpoint|.*\.(part|kept|log|out|err)"
)


class Claim(NamedTuple):
    """A directory that is one run's."""

    path: Path
    fresh: bool = False  # nothing was in it
    made: tuple[Path, ...] = ()  # it and its parents, as far as they were not there; outermost last


def find(name: str, given: str | None, template: str = TEMPLATE) -> Path | None:
    """Where the run of this name that would go on lies: the user's choice, or the latest of it.

    The latest with a checkpoint, if one has any.
    """
    if given:
        return Path(given)
    found = {number: path for number, path in _numbered(name).items() if _is_taken(path)}
    begun = {number for number, path in found.items() if checkpoints_in(path, template)}
    return found[max(begun or found)] if found else None


def of_this_job(name: str, given: str | None) -> Path | None:
    """The directory that this very job has worked in, before it was started again."""
    for path in [Path(given)] if given else _numbered(name).values():
        claim = path / CLAIM
        if claim.is_file() and job() and claim.read_text().split()[2:] == [job()]:
            return path
    return None


def _numbered(name: str) -> dict[int, Path]:
    """The directories of runs of a name, `work_dirs/NAME`, `work_dirs/NAME_2`, ..."""
    numbered = re.compile(re.escape(name) + r"(?:_(\d+))?")
    paths = Path("work_dirs").glob("*")
    return {int(m[1] or 1): path for path in paths if (m := numbered.fullmatch(path.name))}


def claim(name: str, given: str | None) -> Claim:
    """A directory for a new run, made if need be: of two that start at once each gets its own.

    Raises:
        UserError: where the given directory holds something, or cannot be written.
    """
    if given:
        found = _claimed(Path(given))
        if found is None and is_held(Path(given, CLAIM)):
            raise BusyError(
                f"another process is at the run in {given}\n"
                "  do         let it end, or stop it, or choose another --work-dir"
            )
        if found is None:
            raise UserError(
                f"{given} is not empty\n"
                "  do         continue its run with --resume, or choose another --work-dir"
            )
        return found
    numbered = (Path("work_dirs", f"{name}_{n}" if n > 1 else name) for n in itertools.count(1))
    return next(filter(None, (_claimed(path) for path in numbered if not path.exists())))


def _claimed(path: Path) -> Claim | None:
    """The claim of a directory; None where it holds something, if only another's claim."""
    if _is_taken(path):
        return None
    made = _absent(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with (path / CLAIM).open("x") as file:
            file.write(me())
    except FileExistsError:
        return None
    except OSError as error:
        raise disk_error(error) from error
    return Claim(path, fresh=True, made=made)


def _absent(folder: Path) -> tuple[Path, ...]:
    """A folder and its parents, as far as they are not there; the outermost last."""
    return tuple(path for path in (folder, *folder.parents) if not path.exists())


def _is_taken(folder: Path) -> bool:
    try:
        return folder.exists() and (
            not folder.is_dir() or any(not p.name.startswith(PROBE) for p in folder.iterdir())
        )
    except OSError as error:
        raise disk_error(error) from error


def try_writing(folder: Path) -> None:
    """Write a file to `folder`, which is made if it is missing, and take it away.

    Raises:
        UserError: where the disk refuses.
    """
    probe = folder / f"{PROBE}{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink(missing_ok=True)  # another node's process may have the same number
    except OSError as error:
        raise disk_error(error) from error


def make(folder: Path) -> Claim:
    """A directory that may hold other things; what was made for it is known.

    Raises:
        UserError: where the disk refuses.
    """
    made = _absent(folder)
    claim = Claim(folder, fresh=folder in made, made=made)
    try:
        try_writing(folder)
    except UserError:
        abandon(claim)
        raise
    return claim


def abandon(claim: Claim) -> None:
    """Take away what a fresh run that failed before its first step has left, and nothing else.

    Its directory was new or empty, so all that is in it is the start's own: a log and a config.
    The same command would otherwise be refused, once the mistake in it is corrected.
    """
    if not claim.fresh:
        return
    with suppress(OSError):
        for path in claim.path.iterdir():
            if AT_START.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for folder in claim.made:
            folder.rmdir()


def checkpoints_in(folder: Path, template: str = TEMPLATE) -> list[Path]:
    """What is called as a checkpoint of a run in `folder`, of the latest step first.

    Args:
        folder: that may hold some.
        template: of their names, `filename_tmpl` of mmengine's hook.
    """
    before, after = re.split(r"\{[^}]*\}", template, maxsplit=1)
    numbered = re.compile(rf"{re.escape(before)}(\d+){re.escape(after)}")
    found = {
        path: int(match[1])
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := numbered.fullmatch(path.name))
    }
    return sorted(found, key=found.__getitem__, reverse=True)


def sweep_out(folder: Path) -> None:
    """Take away what a process that was killed had begun to write; nobody else is at work here."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def check_foreign(folder: Path, damaged: Collection[str]) -> list[str]:
    """What lies in a directory without a checkpoint that no run has left there before its first.

    Args:
        folder: to look into.
        damaged: names of checkpoints that once were.
    """
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [
        f"{folder} holds no checkpoint to resume, but other files: {name}\n"
        "  do         choose another --work-dir"
        for name in held
        if name not in damaged and not BEFORE_A_CHECKPOINT.fullmatch(name)
    ]


def check_space(config: Config, folder: Path, model: nn.Module) -> list[str]:
    """What is wrong where a disk has no room for the checkpoints of a run.

    A checkpoint holds the weights and, for each, up to two numbers of the optimizer's.
    """
    if config.default_hooks.get("checkpoint") is None:
        return []
    size = 3 * sum(p.numel() * p.element_size() for p in model.parameters())
    needed = (max(config.default_hooks.checkpoint.get("max_keep_ckpts", 1), 1) + 1) * size
    held = sum(path.stat().st_size for path in folder.glob("iter_*.pth"))
    free = shutil.disk_usage(folder).free + held
    if free >= needed:
        return []
    return [
        f"{folder}: {free / 1e9:.2f} GB free, and this run's checkpoints take up to "
        f"{needed / 1e9:.2f} GB\n  do         make room, or choose another --work-dir"
    ]
