"""Where a run is written: a directory that holds nothing, or this very run."""

import errno
import itertools
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint
from torch import nn

from psa_seg.engine.config import look_up
from psa_seg.engine.identity import ANYWHERE, SAME_RUN, start
from psa_seg.engine.preflight.checkpoint import load_checkpoint
from psa_seg.errors import UserError

AT_START = re.compile(r"\d{8}_\d{6}|.*\.py|\.probe\..*")  # what a start writes
# What a run that was killed before its first checkpoint can have left, and Slurm.
BEFORE_A_CHECKPOINT = re.compile(rf"{AT_START.pattern}|record\.(json|part)|.*\.(log|out|err)")
PROBE = ".probe."
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DISK_TROUBLE = {*NO_SPACE, errno.EROFS, errno.EACCES, errno.EIO}


def choose_work_dir(name: str, given: str | None, resume: bool) -> str:
    """A work directory in which nothing gets overwritten.

    Args:
        name: of the run; its directories are `work_dirs/NAME`, `work_dirs/NAME_2`, ...
        given: the user's choice, which goes first.
        resume: go on in it, or in the latest of those; else in the first that is new, and is made.

    Raises:
        UserError: where the given directory holds something that is not to be resumed, or cannot
            be read.
    """
    if given:
        if not resume and _is_taken(Path(given)):
            raise UserError(
                f"{given} is not empty\n"
                "  do         continue its run with --resume, or choose another --work-dir"
            )
        return given
    numbered = re.compile(re.escape(name) + r"(?:_(\d+))?")
    found = {
        int(match[1] or 1): path
        for path in Path("work_dirs").glob("*")
        if (match := numbered.fullmatch(path.name)) and _is_taken(path)
    }
    if resume and found:
        return str(found[max(found)])
    for number in itertools.count(1):
        work_dir = Path("work_dirs", f"{name}_{number}" if number > 1 else name)
        try:
            work_dir.mkdir(parents=True)  # two runs that start at once get two
            return str(work_dir)
        except FileExistsError:
            continue
        except OSError as error:
            raise disk_error(error) from error
    raise AssertionError("there is always a next number")


def _is_taken(folder: Path) -> bool:
    try:
        return folder.exists() and (
            not folder.is_dir() or any(not p.name.startswith(PROBE) for p in folder.iterdir())
        )
    except OSError as error:
        raise disk_error(error) from error


def check_writable(folder: str) -> None:
    """Files can be written to `folder`, which is made if it is missing.

    Raises:
        UserError: where they cannot.
    """
    probe = Path(folder, f"{PROBE}{os.getpid()}")
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink(missing_ok=True)  # another node's process may have the same number
    except OSError as error:
        raise disk_error(error) from error


def remove_if_empty_handed(folder: str) -> None:
    """Remove the directory of a fresh run that failed before its first step, and what led to it.

    It was new or empty, so all that is in it is the start's own: a log and a config. The same
    command would otherwise be refused, once the mistake in it is corrected.
    """
    with suppress(OSError):
        for path in Path(folder).iterdir():
            if AT_START.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        os.removedirs(folder)


def check_space(config: Config, model: nn.Module) -> None:
    """The disk has room for the checkpoints of a run.

    A checkpoint holds the weights and, for each, up to two numbers of the optimizer's.

    Raises:
        UserError: where it has not.
    """
    if config.default_hooks.get("checkpoint") is None:
        return
    size = 3 * sum(p.numel() * p.element_size() for p in model.parameters())
    needed = (max(config.default_hooks.checkpoint.get("max_keep_ckpts", 1), 1) + 1) * size
    held = sum(path.stat().st_size for path in Path(config.work_dir).glob("iter_*.pth"))
    free = shutil.disk_usage(config.work_dir).free + held
    if free < needed:
        raise UserError(
            f"{config.work_dir}: {free / 1e9:.2f} GB free, and this run's checkpoints take up to "
            f"{needed / 1e9:.2f} GB\n  do         make room, or choose another --work-dir"
        )


def disk_error(error: OSError) -> UserError:
    """What to say of a disk that does not take, or give, a file."""
    remedy = "correct the path, or its permissions"
    if error.errno in NO_SPACE:
        remedy = "make room there; a training goes on with --resume from its last checkpoint"
    return UserError(
        f"{error.strerror or error}: {error.filename or 'the work directory'}\n"
        f"  do         {remedy}"
    )


def find_run(config: Config) -> str | None:
    """The checkpoint with which the run in the work directory goes on; None if there is none.

    Raises:
        UserError: where it is of another experiment: other settings or another seed.
    """
    path = find_latest_checkpoint(config.work_dir)
    if not path:
        folder = Path(config.work_dir)
        held = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        hook = config.default_hooks.get("checkpoint") or {}
        begun = f"iter_{hook.get('interval')}.pth"  # the first, killed before it was whole
        other = [n for n in held if n != begun and not BEFORE_A_CHECKPOINT.fullmatch(n)]
        if other:
            raise UserError(
                f"{config.work_dir} holds no checkpoint to resume, but other files: {other[0]}\n"
                "  do         choose another --work-dir"
            )
        return None
    here = Path(config.work_dir, Path(path).name)  # the path is of the day it was written
    meta = load_checkpoint(str(here))["meta"]
    if meta["seed"] != config.randomness.seed:
        raise UserError(
            f"{here} is of a run with seed {meta['seed']}, not {config.randomness.seed}\n"
            f"  do         resume it with --seed {meta['seed']}"
        )
    held = Config.fromstring(meta["cfg"], ".py")
    pairs = {key: (look_up(held, key), look_up(config, key)) for key in SAME_RUN}
    pairs["load_from"] = start(held), start(config)
    for key, (there, now) in pairs.items():
        difference = _difference(key, there, now)
        if difference:
            name = meta["experiment_name"].rsplit("_", 2)[0]  # without date and time
            raise UserError(
                f"{config.work_dir} holds another experiment, a run of {name}\n"
                f"  differs    {difference}\n"
                "  do         resume it with the config and options it began with, or work in "
                "another\n             directory: --work-dir, or another name for an "
                "experiment's file"
            )
    return str(here)


def _difference(where: str, there: Any, here: Any) -> str:
    """The first value in which two configs differ; empty if they do not."""
    if isinstance(there, list | tuple) and isinstance(here, list | tuple):
        if len(there) != len(here):
            return f"{where} has {len(there)} entries there, and {len(here)} here"
        there, here = dict(enumerate(there)), dict(enumerate(here))
    if isinstance(there, dict) and isinstance(here, dict):
        parts = (
            _difference(f"{where}.{key}", there.get(key), here.get(key))
            for key in dict.fromkeys([*there, *here])
            if key not in ANYWHERE
        )
        return next(filter(None, parts), "")
    return "" if there == here else f"{where} is {there!r} there, and {here!r} here"
