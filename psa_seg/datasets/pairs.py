"""Images and their masks on a disk: in folders, by patterns, or in lists.

A place is a folder (`images/train`), a pattern (`masks/*_mask.png`: the star stands for the name,
nested folders included) or a list (`train.txt`: a file a line).
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from psa_seg.errors import DataError
from psa_seg.files import absolute, near
from psa_seg.kinds import IMAGES

STAR = "*"
MASKS = IMAGES | {".ico", ".pcx", ".tga", ".sgi"}  # that Pillow decodes
LISTS = {".txt", ".lst"}


class Pair(NamedTuple):
    """An image and its mask, and the name that they have in common."""

    name: str
    image: Path
    mask: Path


def pairs(root: Path, images: str, masks: str, chosen: str = "") -> list[Pair]:
    """Every image of a place with its mask, in the order of their paths (of a list, in its own).

    Args:
        root: of relative places.
        images: place of the images.
        masks: place of the masks: of one name each with its image. Where images are a list, a
            list, too, or a place that has each image's name in it.
        chosen: a list of names, without their endings if need be, that are used; all, if empty.

    Raises:
        DataError: for a place where nothing is, and images and masks that do not pair.
    """
    if _is_list(images):
        return _listed(root, images, masks)
    there = find(root, masks, MASKS)
    shared = {_real(path) for path in there.values()} if STAR in masks else set()
    here = {n: p for n, p in find(root, images, IMAGES).items() if _real(p) not in shared}
    if not here:
        raise _nothing("image", root, images)
    if chosen:
        names = [_as_name(line, here) for line in lines(root / chosen)]
        _require_all(names, here, root / images, f"named in {root / chosen}")
        here = {name: here[name] for name in names}
    _require_all(here, there, root / masks, f"of images in {root / images}")
    left = sorted(there.keys() - here.keys())
    if left and not chosen:
        folder = images.partition(STAR)[0].rpartition("/")[0] if STAR in images else images
        raise DataError(
            f"{len(left)} masks without an image\n"
            f"  first      {there[left[0]]}\n"
            f"  beside it  {_near(left[0], (path.name for path in walk(root / folder)))}; read are "
            f"{', '.join(sorted(IMAGES))}\n"
            f"  do         copy the images that are missing to {root / images}, or take these "
            "masks away"
        )
    found = [Pair(name, here[name], there[name]) for name in here]
    itself = next((pair for pair in found if _real(pair.image) == _real(pair.mask)), None)
    if itself:
        raise DataError(
            f"an image is its own mask: {itself.image}\n"
            "  do         say which of the files are masks: masks/*.png, *_mask.png"
        )
    return found


def _real(path: Path) -> str:
    """Where a file lies; of a dead link, where it would."""
    return os.path.realpath(path)


def is_held_out(name: str, share: float) -> bool:
    """Whether a share of the names has this one: by its hash, whichever others there are."""
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def find(root: Path, place: str, suffixes: Collection[str]) -> dict[str, Path]:
    """Files of a folder or a pattern by their names, in the order of their paths.

    Raises:
        DataError: where nothing is, or two files have one name.
    """
    head, star, after = place.partition(STAR)
    folder, slash, before = head.rpartition("/") if star else (place, "", "")
    top = root / (folder or slash)
    if not top.is_dir():
        raise _nothing("folder", root, folder)
    found: dict[str, Path] = {}
    for path in walk(top):
        name = path.relative_to(top).as_posix()
        if "." not in after:  # of any suffix that there is
            if path.suffix.lower() not in suffixes:
                continue
            name = name[: -len(path.suffix)]
        parent, slash, last = name.rpartition("/")
        if not (last.startswith(before) and name.endswith(after)):
            continue
        name = f"{parent}{slash}{last[len(before) :]}" if before else name
        name = unicodedata.normalize("NFC", name[: len(name) - len(after)])  # macOS writes NFD
        if name in found:
            raise DataError(
                f"two files are called {name!r}: {found[name].name} and {path.name}\n"
                f"  in         {path.parent}\n"
                f"  do         take one away, or say which: {place.rstrip('/')}/*{path.suffix}"
            )
        found[name] = path
    if not found:
        raise _nothing("file", root, place)
    return found


def walk(top: Path) -> Iterator[Path]:
    """Files below a folder, in the order of their paths; links are followed, but in no circle."""
    seen: set[str] = set()
    found: list[Path] = []
    for folder, inner, names in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        inner[:] = [] if real in seen else sorted(n for n in inner if not n.startswith("."))
        if real not in seen:
            found += [Path(folder, name) for name in names if not name.startswith(".")]
        seen.add(real)
    yield from sorted(path for path in found if not path.is_dir())  # dead links, too: to be told


def without_endings(names: Sequence[Path]) -> list[Path]:
    """Names of files without their endings; with them, where two would be the same."""
    short = [name.with_suffix("") for name in names]
    times = Counter(short)
    mixed = [name if times[s] > 1 else s for name, s in zip(names, short, strict=True)]
    return mixed if len({*mixed}) == len(mixed) else list(names)


def _listed(root: Path, images: str, masks: str) -> list[Pair]:
    """Pairs of a list of images."""
    listed = [root / line for line in lines(root / images)]
    gone = [path for path in listed if not path.is_file()]
    if gone:
        raise DataError(
            f"{len(gone)} of {len(listed)} files of a list are missing\n"
            f"  first      {gone[0]}\n  where      {root / images}\n"
            "  do         name one file in each line, relative to `path` of the data.yaml"
        )
    if _is_list(masks):
        others = [root / line for line in lines(root / masks)]
        if len(others) != len(listed):
            raise DataError(
                f"{root / images} has {len(listed)} lines, and {root / masks} {len(others)}\n"
                "  do         have the mask of each image in the same line"
            )
        names = [os.path.relpath(path, root) for path in listed]
        return [Pair(*three) for three in zip(names, listed, others, strict=True)]
    there = find(root, masks, MASKS)
    names = [_as_name(os.path.relpath(path, root), there) for path in listed]
    _require_all(names, there, root / masks, f"of images in {root / images}")
    return [Pair(name, path, there[name]) for name, path in zip(names, listed, strict=True)]


def _is_list(place: str) -> bool:
    return STAR not in place and Path(place).suffix.lower() in LISTS


def lines(path: Path) -> list[str]:
    """What a list names: a file in each line, none of them twice."""
    try:
        read = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        remedy = "correct its path in the data.yaml"
        raise DataError(
            f"list cannot be read: {path}\n  {error}\n"
            f"  do         {remedy if isinstance(error, OSError) else 'save it as text in UTF-8'}"
        ) from None
    found = [line for line in read if line]
    if not found:
        raise DataError(f"nothing in the list {path}\n  do         name a file in each line")
    twice = [line for line, times in Counter(found).items() if times > 1]
    if twice:
        raise DataError(f"{path} names a file twice: {twice[0]}\n  do         take one line away")
    return found


def _as_name(line: str, names: Collection[str]) -> str:
    """That of `names` which a line means: as it stands, without its ending, or its last parts."""
    parts = Path(line).parts
    for start in range(len(parts)):
        rest = Path(*parts[start:])
        for name in (rest.as_posix(), rest.with_suffix("").as_posix()):
            if name in names:
                return name
    return line


def _require_all(names: Collection[str], there: Collection[str], place: Path, whose: str) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} names are missing, {whose}\n"
            f"  looked in  {place}\n"
            f"  first      {missing[0]}\n"
            f"  beside it  {_near(missing[0], there)}\n"
            "  do         copy what is missing, take its other half away, or say how names "
            "differ:\n             masks: masks/*_mask.png"
        )


def _near(name: str, others: Iterable[str]) -> str:
    """Names that begin as one does, for a message."""
    begin = Path(name).name[:4].casefold()
    near = sorted(other for other in others if Path(other).name.casefold().startswith(begin))[:3]
    return ", ".join(near) or "nothing of that name"


def _nothing(what: str, root: Path, place: str) -> DataError:
    return DataError(
        f"no {what} at {absolute(root / place)}\n"
        f"{near(root / place) * (what == 'folder')}"
        "  do         correct the place in the data.yaml: a folder, a pattern (masks/*_mask.png) "
        "or\n             a list (train.txt, train.lst), relative to its `path`"
    )
