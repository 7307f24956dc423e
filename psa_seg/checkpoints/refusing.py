"""What a file is that is no checkpoint, as far as its first bytes tell."""

import zipfile
from pathlib import Path

from psa_seg.checkpoints.wholeness import damage

LOOK = 512  # bytes
PAGE, POINTER = "an HTML page", "a Git LFS pointer"
SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", POINTER),
    (b"\x89HDF", "an HDF5 file, of Keras say"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
TEXTS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", PAGE),
    (b"<html", PAGE),
    (b"<", "a text in XML, as of a refused download"),
    (b"{", "a text in JSON"),
)
OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before PyTorch 1.6
DO = {
    PAGE: "download it again: a login, or a click, was asked for in its place",
    POINTER: "fetch the file itself: git lfs pull",
}


def what_it_is(path: Path) -> tuple[str, str]:
    """What a file is, in words that follow "it is", and what to do; of a whole zip, no words.

    Raises:
        OSError: where it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(LOOK)
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kind = next((kind for sign, kind in SIGNS if begin.startswith(sign)), "")
    kind = kind or next((kind for sign, kind in TEXTS if text.startswith(sign)), "")
    if not begin:
        kind = "empty"
    elif not kind and begin.startswith(b"PK"):
        kind = _zip(path)
    elif not kind and begin.startswith(OLD):
        kind = "of a PyTorch before 1.6, and cut short or damaged"
    elif not kind and begin[:1] == b"\x80" and begin[1:2] < b"\x06":
        kind = "a plain pickle, which torch.save did not write"
    elif not kind and b'{"' in begin[8:12]:
        kind = "of safetensors, by another name"
    elif not kind:
        kind = "not what torch.save writes"
    do = "name a file that torch.save wrote; one that was cut short, copy again"
    return kind, DO.get(kind, do)


def _zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # whatever a broken directory makes zipfile say
        return "cut short, or damaged"
    if any(name.endswith("/constants.pkl") for name in names):
        return "a program of TorchScript, and no weights by their names"
    if not any(name.endswith("data.pkl") for name in names):
        return f"a zip of other things, {names[0] if names else 'or of nothing'}"
    wrong = damage(path)
    return f"damaged: {wrong}" if wrong else ""
