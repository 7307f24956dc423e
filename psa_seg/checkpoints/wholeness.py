"""Whether a file is all of what torch.save wrote: a zip whose directory and checksums agree."""

import errno
import os
import zipfile
from pathlib import Path

from psa_seg.files import disk_error

DAMAGES = (errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.EIO)
CUT = "it is cut short, or not what torch.save writes"
NOWHERE = errno.EINVAL  # a directory that points before the file's beginning


def damage(path: Path) -> str:
    """What is wrong with a file as a checkpoint; empty where it is whole.

    It is read once, and nothing in it is unpacked.

    Raises:
        UserError: where it may not be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [e for e in archive.infolist() if e.compress_type != zipfile.ZIP_STORED]
            if packed:
                return f"{packed[0].filename} in it is compressed, which torch.save does not do"
            broken = archive.testzip()
    except OSError as error:
        if error.errno == NOWHERE:
            return CUT
        if error.errno not in DAMAGES:  # a whole file may be there tomorrow
            raise disk_error(error) from error
        return os.strerror(error.errno)
    except Exception:  # whatever a broken directory makes zipfile say
        return CUT
    return f"{broken} in it is not what was written" if broken else ""
