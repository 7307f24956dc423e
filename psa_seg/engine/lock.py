"""One process at a time: a lock on a file, which goes with the process, however that ends."""

import errno
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from psa_seg.errors import BusyError
from psa_seg.files import disk_error

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

# A network disk gives up the locks of a machine that went down: NFS 4 after 90 seconds, as servers
# come.
LEASE_S = 120
HELD = (errno.EACCES, errno.EAGAIN)
JOB = "PSA_SEG_JOB"  # environment variable, set by `torchrun.py`
UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold a lock, of a run say.

    Where a process of another machine holds it, wait for as long as a machine that went down would
    seem to. On a disk without locks, go on with a line that says so. Processes that load data are
    forked, and outlive the one that holds it for seconds: POSIX locks, other than those of flock,
    are not handed on to them.

    Args:
        path: of the file, which then says who holds it.
        what: the lock is for.

    Raises:
        BusyError: where another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        deadline = None
        while not _take(file, path):
            file.seek(0)
            holder = file.read(200).split()
            elsewhere = len(holder) > 1 and holder[0] != platform.node()
            if deadline is None:
                deadline = time.monotonic() + (LEASE_S if elsewhere else 0)
                if elsewhere:
                    print(f"{holder[0]} is at {what}, or went down: waiting for up to {LEASE_S} s")
            if time.monotonic() >= deadline:
                who = f": {holder[1]} on {holder[0]}" if len(holder) > 1 else ""
                raise BusyError(
                    f"another process is at {what}{who}\n  do         let it end, or stop it"
                )
            time.sleep(1)
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise BusyError(f"another process has just ended at {what}\n  do         try again")
        file.truncate(0)
        file.write(me())
        file.flush()
        yield


def me() -> str:
    """This machine, and the process to stop here: torchrun's, where that started this one."""
    started = "TORCHELASTIC_RUN_ID" in os.environ
    return f"{platform.node()} {os.getppid() if started else os.getpid()} {job()}\n"


def job() -> str:
    """What processes have in common that torchrun started, and started again; else empty."""
    return os.environ.get(JOB, os.environ.get("TORCHELASTIC_RUN_ID", "").removeprefix("none"))


def is_held(path: Path) -> bool:
    """Whether another process holds a lock, now."""
    try:
        with path.open("r+") as file:
            _lock(file)
    except OSError as error:
        return error.errno in HELD
    return False


def _lock(file: TextIO) -> None:
    if fcntl is None:
        raise OSError(errno.ENOSYS, "no locks of POSIX here")
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _take(file: TextIO, path: Path) -> bool:
    try:
        _lock(file)
    except OSError as error:
        if error.errno in HELD:
            return False
        if error.errno not in UNKNOWN:
            raise disk_error(error) from error
        print(f"NOTE: {path.parent} is on a disk without locks: have no second process there")
    return True
