"""What a file of an image says of itself before it is decoded: whole, of which size, turned or not.

OpenCV turns images by their Exif orientation when it loads them; masks are loaded by Pillow, which
does not.
"""

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from psa_seg.errors import DataError

MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 0  # Pillow's own bound, beyond which it warns
HEAD = 1 << 16  # bytes, in which a WebP says how it is compressed
LEAST_SIDE = 2  # pixels; one cannot be scaled by half
TAIL = 1024  # bytes, of which the last mark of a file that is whole is one
ORIENTATION = 0x0112  # of Exif: 1 is upright
BITS, COMPRESSION = 258, 259  # tags of a TIFF
PARTS = ((273, 324), (279, 325))  # offsets and lengths of strips, or else of tiles
BMP_HEADER = 34  # bytes, up to how it is compressed
TURNED_BY_OPENCV = {"JPEG", "PNG", "WEBP", "TIFF"}
TRANSPOSED = (5, 6, 7, 8)  # rows and columns change places


class Header(NamedTuple):
    """Of an image, or a mask."""

    size: tuple[int, int]  # width and height as Pillow loads it
    loaded: tuple[int, int]  # width and height as OpenCV does
    orientation: int  # by which OpenCV turns it; 1: it does not
    mode: str  # Pillow's: L, P, RGB, ...
    lossy: bool  # compressed so that values come back as others


def header(path: Path) -> Header:
    """The header of an image's file.

    Raises:
        DataError: with the path, for a file that is missing, not whole, no image, or holds more
            than `MOST_PIXELS`.
    """
    if not path.is_file():
        kind = "is a folder, and no image" if path.is_dir() else "not found"
        raise DataError(f"{kind}: {path}\n  do         correct the path, or leave that file out")
    try:
        with path.open("rb") as file, Image.open(file) as image:
            size, mode, kind = image.size, image.mode, image.format or ""
            turned, lossy = _orientation(image, file), _is_lossy(image, file)
            if not _is_whole(image, file, kind):
                raise EOFError("it ends early")
    except Exception as error:  # whatever a broken file makes Pillow say
        if isinstance(error, OSError) and error.errno:  # the disk's
            raise
        if isinstance(error, Image.DecompressionBombError):
            raise DataError(_too_large(path, str(error))) from None
        raise DataError(
            f"cut short, or no image: {path}\n"
            f"  because    {_reason(error)}\n"
            "  do         copy, unpack or export it again"
        ) from None
    if min(size) < LEAST_SIDE:
        raise DataError(
            f"smaller than any image: {path}\n  because    {size[0]}x{size[1]} pixels\n"
            "  do         take it out of the set, with its mask"
        )
    if size[0] * size[1] > MOST_PIXELS:
        raise DataError(_too_large(path, f"{size[0]}x{size[1]} pixels"))
    if kind not in TURNED_BY_OPENCV:
        turned = 1
    both_turn = kind == "TIFF"  # Pillow, too, and tells the size that comes out
    loaded = size[::-1] if turned in TRANSPOSED and not both_turn else size
    return Header(size, loaded, turned, mode, lossy)


def _too_large(path: Path, found: str) -> str:
    return (
        f"more pixels than are decoded: {path}\n"
        f"  because    {found}; the bound is {MOST_PIXELS:,}\n"
        "  do         cut it into tiles, with its mask, or scale both down"
    )


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _orientation(image: Image.Image, file: BinaryIO) -> int:
    if image.format == "PNG" and "exif" not in image.info and not _has_late_exif(file):
        return 1  # asked for its Exif, Pillow would decode all of it
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def _is_lossy(image: Image.Image, file: BinaryIO) -> bool:
    if image.format == "WEBP":
        file.seek(0)
        return b"VP8L" not in file.read(HEAD)
    return image.format == "JPEG" or image.info.get("compression") == "jpeg"  # of a TIFF


def _has_late_exif(file: BinaryIO) -> bool:
    """Whether a PNG has a chunk of Exif, which may follow the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return True
        file.seek(length + 4, 1)
    return False


def _is_whole(image: Image.Image, file: BinaryIO, kind: str) -> bool:
    length = file.seek(0, 2)
    file.seek(-min(TAIL, length), 2)
    tail = file.read()
    if kind == "JPEG" and b"\xff\xd9" not in tail:
        file.seek(0)
        with Image.open(file) as again:
            again.load()  # raises, unless something has merely been appended
    if kind == "PNG" and b"IEND" not in tail:
        return False
    return length >= _promised(image, file, kind)


def _promised(image: Image.Image, file: BinaryIO, kind: str) -> int:
    """Bytes that a file must have by what its header says; 0 where it does not say."""
    file.seek(0)
    head = file.read(BMP_HEADER)
    if kind == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8
    if kind == "TIFF":  # of each strip or tile, its offset and its length
        tags = getattr(image, "tag_v2", {})
        parts = (tags.get(strips, tags.get(tiles, ())) for strips, tiles in PARTS)
        offsets, sizes = parts
        end = max(map(sum, zip(offsets, sizes, strict=False)), default=0)
        if tags.get(COMPRESSION, 1) != 1 or not offsets:
            return end
        width, height = image.size  # the last strip may have fewer rows than its length is for
        return min(end, min(offsets) + (width * sum(tags.get(BITS, (1,))) + 7) // 8 * height)
    if kind != "BMP" or len(head) < BMP_HEADER:
        return 0
    pixels, size, width, height, _, bits, packed = struct.unpack("<10xIIiiHHI", head)
    if size < 40 or packed not in (0, 3):  # of OS/2, or compressed
        return 0
    return pixels + (width * bits + 31) // 32 * 4 * abs(height)
