"""Files appear whole or not at all, and never over somebody else's."""

import difflib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psa_seg.errors import UserError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DISK_TROUBLE = {
    *(*NO_SPACE, errno.EROFS, errno.EACCES, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG),
}


@contextmanager
def whole(path: Path, new: bool = False, lasting: bool = True) -> Iterator[Path]:
    """A file to write beside `path`, which takes its place at the end of the block.

    Whatever ends the block early leaves `path` as it was, and nothing beside it; so does the end of
    the process, or of the machine, but for the file beside it.

    Args:
        path: of the file, in a folder that exists.
        new: something else at `path` is an error, before the block and after it.
        lasting: the disk holds the file before it takes its name; one of many that are made again
            in no time need not wait for that.

    Raises:
        UserError: where `path` must be new and is not, or its folder is gone.
    """
    if new:
        must_be_new(path)
    short = os.fsdecode(os.fsencode(path.name)[:200])  # a name has 255 bytes at most
    part = path.with_name(f".{short}.{os.getpid()}.part")
    try:
        yield part
        if new:
            must_be_new(path)
        if lasting:
            _sync(part)
        os.replace(part, path)
        if lasting:
            _sync(path.parent)
    except OSError as error:
        if error.errno == errno.ENOENT and not path.parent.is_dir():
            raise gone(path.parent) from error
        if error.filename in (None, str(part)):  # a write does not say where
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the disk hold a file, or what a folder lists."""
    is_folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    except PermissionError:
        if is_folder:  # Windows opens none, and syncs no file that is open to be read alone
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network disks know no such thing
            raise
    finally:
        os.close(handle)


def gone(folder: Path) -> UserError:
    """The message for a folder that somebody took away while it was written to."""
    return UserError(
        f"{folder} is gone: something removed it while it was written to\n"
        "  do         find out what did, and give the command again"
    )


def write(path: Path, content: bytes | str, new: bool = False, lasting: bool = True) -> None:
    """Write a file as `whole` does; text is UTF-8, names of files in it the bytes that they are."""
    with whole(path, new, lasting) as part:
        if isinstance(content, str):
            content = content.encode(errors="surrogateescape")
        part.write_bytes(content)


def missing(what: str, path: str | Path, do: str = "correct the path") -> UserError:
    """The message for a path of a user's that leads nowhere: where it was looked for, and what is
    called much the same there.

    Args:
        what: should be there, such as "checkpoint".
        path: as it was given.
        do: what can be done.
    """
    return UserError(f"{what} not found: {absolute(path)}\n{near(path)}  do         {do}")


def absolute(path: str | Path) -> Path:
    """Where a path leads, without following links."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def near(path: str | Path) -> str:
    """A line with names like the first part of a path that is not there; nothing if none is."""
    part = absolute(path)
    if os.path.lexists(part):
        return ""
    while not part.parent.exists():
        part = part.parent
    try:
        names = {name.lower(): name for name in sorted(os.listdir(part.parent))}
    except OSError:  # a file, or a folder that does not let itself be read
        return ""
    found = [names[name] for name in difflib.get_close_matches(part.name.lower(), names)]
    return f"  meant      {' or '.join(found)}, in {part.parent}?\n" if found else ""


def must_be_new(path: Path) -> None:
    """Nothing lies where a file is to be written: a link that leads nowhere is somebody's, too.

    Raises:
        UserError: where something does.
    """
    if os.path.lexists(path):
        raise UserError(
            f"{path} exists already, and is not overwritten\n"
            "  do         move it, or name another file"
        )


def must_be_free(folder: Path, option: str) -> None:
    """A folder is new, or empty; `option` names another.

    Raises:
        UserError: where something lies in it, or it is a file.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder} exists already, and is not touched\n  do         name a new {option}"
        )


def disk_error(error: OSError) -> UserError:
    """The message for a disk that does not take, or give, a file."""
    remedy = "correct the path, or its permissions"
    if error.errno == errno.ELOOP:
        remedy = "take out the link that leads back to where it lies"
    if error.errno in NO_SPACE:
        remedy = "make room there; a training goes on with --resume from its last checkpoint"
    return UserError(
        f"{error.strerror or error}: {error.filename or 'the work directory'}\n"
        f"  do         {remedy}"
    )
