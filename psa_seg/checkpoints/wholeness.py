"""Whether a file is all of what torch.save wrote: a zip whose directory and checksums agree."""

import errno
import zipfile
from pathlib import Path

from psa_seg.files import disk_error


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
    except IsADirectoryError:
        return "it is a folder"
    except PermissionError as error:
        raise disk_error(error) from error
    except OSError as error:
        if error.errno == errno.ENOENT:
            return "it leads nowhere"
        return f"the disk does not give it: {error.strerror or error}"
    except Exception as error:  # whatever a broken directory makes zipfile say
        return f"it is cut short, or no zip: {' '.join(str(error).split())[:100]}"
    return f"{broken} in it is not what was written" if broken else ""
