"""Files appear whole or not at all, and never over somebody else's."""

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
def whole(path: Path, new: bool = False) -> Iterator[Path]:
    """A file to write beside `path`, which takes its place at the end of the block.

    Whatever ends the block early leaves `path` as it was, and nothing beside it.

    Args:
        path: of the file, in a folder that exists.
        new: something else at `path` is an error, before the block and after it.

    Raises:
        UserError: where `path` must be new and is not.
    """
    if new:
        must_be_new(path)
    short = os.fsdecode(os.fsencode(path.name)[:200])  # a name has 255 bytes at most
    part = path.with_name(f".{short}.{os.getpid()}.part")
    try:
        yield part
        if new:
            must_be_new(path)
        os.replace(part, path)
    except OSError as error:
        if error.filename in (None, str(part)):  # a write does not say where
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, content: bytes | str, new: bool = False) -> None:
    """Write a file as `whole` does; text is UTF-8, names of files in it the bytes that they are."""
    with whole(path, new) as part:
        if isinstance(content, str):
            content = content.encode(errors="surrogateescape")
        part.write_bytes(content)


def must_be_new(path: Path) -> None:
    """Nothing lies where a file is to be written: a link that leads nowhere is somebody's, too.

    Raises:
        UserError: where something does.
    """
    if os.path.lexists(path):
        raise UserError(f"{path} exists, and stays\n  do         move it, or name another file")


def must_be_free(folder: Path, option: str) -> None:
    """A folder is new, or empty; `option` names another.

    Raises:
        UserError: where something lies in it, or it is a file.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there, and stays\n  do         name a new {option}")


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
