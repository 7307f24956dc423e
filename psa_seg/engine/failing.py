"""What befell one of several processes: left as a note, for who started them to say it last.

A process that ends takes the others with it, each of which finds that a connection was closed; what
counts is the first cause. `torchrun.py` reads the notes of its machine when all have ended.
"""

import json
import os
import platform
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from psa_seg.errors import DataError, KilledError, UserError
from psa_seg.files import DISK_TROUBLE, disk_error

FOLDER = "PSA_SEG_NOTES"  # environment variable: of the notes
# Whoever is the cause may end later than its connections; then what started both ends this process.
MOURNING_S = 3.0
LOST = re.compile(
    r"connection (closed|reset|refused)|broken pipe|timed? ?out|remote ?(process|peer|error)", re.I
)
OF_GLOO = re.compile(r"^\[\S*gloo\S*\] ")  # a line of its source, before what it says
LOADER_KILLED = re.compile(r"DataLoader worker \(pid \d+\) is killed by signal: (Killed|Bus error)")
OF_LOADER = {
    "Killed": KilledError(
        "a process that loads data was killed (SIGKILL), as the kernel does when memory runs out\n"
        "  do         see whether it did: dmesg, or your cluster's accounts; then have fewer of\n"
        "             them (num_workers of train_dataloader and val_dataloader), or ask for\n"
        "             more memory; --resume goes on",
        status=128 + getattr(signal, "SIGKILL", 9),  # which Windows has not
    ),
    "Bus error": KilledError(
        "a process that loads data was killed (SIGBUS): shared memory ran out\n"
        "  do         give the container more of it (docker run --shm-size=8g), or have fewer\n"
        "             such processes (num_workers of train_dataloader); --resume goes on",
        status=128 + getattr(signal, "SIGBUS", 7),
    ),
}


@dataclass(frozen=True)
class Note:
    """How a process ended.

    Attributes:
        rank: of the process.
        at: seconds since the epoch.
        status: its exit status.
        text: what is to be said.
        lost: whether it was another process's end, or silence, that ended it.
        trace: traceback of a failure that is no user's.
    """

    rank: int
    at: float
    status: int
    text: str
    lost: bool
    trace: str


@contextmanager
def collected() -> Iterator[None]:
    """Processes that are started in this block leave notes, which are there until it ends."""
    with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}.") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def notes() -> list[Note]:
    """Those of this machine's processes, the first cause first."""
    folder = os.environ.get(FOLDER)
    paths = Path(folder).glob("*.json") if folder else ()
    found = [Note(**json.loads(path.read_text())) for path in paths]
    return sorted(found, key=lambda note: (note.lost, note.at))


def is_orphan() -> bool:
    """Whether what started this process, and would read its note, has ended."""
    folder = os.environ.get(FOLDER, "")
    return folder != "" and not Path(folder).name.startswith(f"{os.getppid()}.")


def message(error: Exception) -> UserError | None:
    """What a user is told; None of a failure that is ours or a library's."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in DISK_TROUBLE:
        return DataError(f"{disk_error(error)}")
    cause: BaseException | None = error
    while cause is not None:
        if killed := LOADER_KILLED.search(f"{cause}"):
            return OF_LOADER[killed[1]]
        cause = cause.__cause__ or cause.__context__
    return None


def end(error: Exception, asked: bool) -> NoReturn:
    """End this process, one of several, at once: others may wait for it, and it for them.

    Args:
        error: that ends it.
        asked: whether it was to end anyway.
    """
    known, rank = message(error), int(os.environ.get("RANK", "0"))
    here = f"process {rank} on {platform.node()}"
    # All processes make the same mistake, but each reads files of its own.
    alone = known is None or isinstance(known, DataError)
    lost = known is None and _is_of_connections(error)
    text = f"{here}: {known or _last_words(error)}" if alone else f"{known}"
    trace = "" if known else "".join(traceback.format_exception(error))
    status = known.status if known else 1
    is_read = _leave(Note(rank, time.time(), status, text, lost, trace))
    sys.stdout.flush()
    if lost:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(0 if asked else MOURNING_S)
    if not is_read and not (lost and asked) and (alone or rank == 0):
        print((trace or f"error: {text}").rstrip(), file=sys.stderr, flush=True)
    os._exit(status)


def _leave(note: Note) -> bool:
    """Write a note; whether somebody reads it."""
    if FOLDER not in os.environ or is_orphan():
        return False
    part = Path(os.environ[FOLDER]) / f"{note.rank}.part"
    try:
        part.write_text(json.dumps(asdict(note)))
        part.rename(part.with_suffix(".json"))
    except OSError:  # the disk may be what failed
        return False
    return True


def _is_of_connections(error: Exception) -> bool:
    """Whether an error says that another process has closed a connection, or does not answer."""
    of_torch = getattr(sys.modules.get("torch.distributed"), "DistError", ())
    met = isinstance(error, of_torch) or "gloo" in f"{error}".lower()
    return met and LOST.search(f"{error}") is not None


def _last_words(error: Exception) -> str:
    """Type and message of a failure, and where it was; of a process that loads data, its own."""
    frames = traceback.extract_tb(error.__traceback__)
    last = ([f for f in frames if "site-packages" not in f.filename] or frames)[-1]
    said = f"{type(error).__name__}: {OF_GLOO.sub('', f'{error}')}"
    where = f"{last.filename}:{last.lineno}"
    if "Original Traceback" in said and (places := re.findall(r'File "(.+)", line (\d+)', said)):
        said, where = said.rstrip().splitlines()[-1], ":".join(places[-1])
    return f"{said}\n  in         {where}"
