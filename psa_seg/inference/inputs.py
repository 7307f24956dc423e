"""Which pictures and videos are meant, and a name for what becomes of each."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from psa_seg.datasets.pairs import LISTS, lines, walk, without_endings
from psa_seg.errors import DataError, UserError
from psa_seg.files import missing
from psa_seg.kinds import IMAGES, VIDEOS

TABLE = "shares.csv"  # in a folder of results, which are no pictures to be labelled
HEADING = "picture"  # of its first column
RATE = 25.0  # frames a second of a video that does not say


class Source(NamedTuple):
    """A picture or a video."""

    path: Path
    name: Path  # relative and without an ending: where below a folder its results lie

    @property
    def is_video(self) -> bool:
        """Whether it has frames."""
        return self.path.suffix.lower() in VIDEOS


def find(given: Sequence[str]) -> list[Source]:
    """Pictures and videos, each once, in the order in which they are given.

    A result keeps the path that its picture has in the folder (or below the fixed part of the
    pattern) that was given; where two would have the same, in the folder common to all.

    Args:
        given: files, folders (with all in them), patterns (`**/*.jpg`), or text files (.txt, .lst)
            of a path in each line, relative to the list or else to the current folder.

    Raises:
        UserError: where one of them is not there, or holds no picture.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for text in given:
        here = list(_meant(text))
        if not here:
            raise UserError(
                f"no picture in {text}\n  read       {', '.join(sorted(IMAGES | VIDEOS))}\n"
                "  do         name a picture, a folder, a pattern or a list"
            )
        for path, base in here:
            found.setdefault(os.path.abspath(path), (path, base))
    names = [_below(path, base) for path, base in found.values()]
    if len({*names}) < len(names):
        common = os.path.commonpath([os.path.dirname(path) for path in found])
        names = [Path(os.path.relpath(path, common)) for path in found]
    paths = (path for path, _ in found.values())
    sources = [Source(*pair) for pair in zip(paths, without_endings(names), strict=True)]
    folders = {folder for source in sources for folder in source.name.parents}
    return [
        source._replace(name=source.name.with_name(source.path.name))
        if source.is_video and source.name in folders  # its frames would lie among pictures
        else source
        for source in sources
    ]


def _below(path: Path, base: Path) -> Path:
    """A path from its base, or, where it leads out of that, the file's name."""
    found = Path(os.path.relpath(path, base))
    return Path(path.name) if ".." in found.parts else found


def _meant(text: str) -> Iterator[tuple[Path, Path]]:
    """Files that a word of the command line means, each with the folder it is named from."""
    path = Path(text).expanduser()
    if path.is_dir():
        inside, masks = list(walk(path)), path / "masks"
        if masks.is_dir() and (path / "images").is_dir():
            print(f"left out: {masks}, beside images", file=sys.stderr)
            inside = [one for one in inside if masks not in one.parents]
        yield from ((one, path) for one in _own(inside, path))
    elif path.suffix.lower() in LISTS and path.is_file():
        for line in lines(path):
            beside = path.parent / line
            one = beside if beside.exists() else Path(line).expanduser()
            yield one, path.parent if one is beside and not Path(line).is_absolute() else one.parent
    elif os.path.lexists(path):
        yield path, path.parent
    elif glob.has_magic(text):
        base = Path(*_fixed(path.parts))
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        below = (walk(one) if one.is_dir() and "**" not in text else [one] for one in matches)
        yield from ((one, base) for one in _own(chain.from_iterable(below), base))
    else:
        raise missing("picture", text)


def _own(files: Iterable[Path], base: Path) -> Iterator[Path]:
    """Pictures and videos, but for those that an earlier prediction wrote below `base`."""
    found = [one for one in files if one.suffix.lower() in IMAGES | VIDEOS]
    folders = {folder for one in found for folder in one.parents if folder.is_relative_to(base)}
    written = {folder for folder in folders if _is_result(folder)}
    for folder in sorted(written):
        print(f"left out: {folder}, results of an earlier prediction", file=sys.stderr)
    yield from (one for one in found if written.isdisjoint(one.parents))


def _is_result(folder: Path) -> bool:
    try:
        with (folder / TABLE).open("rb") as file:
            return file.readline().startswith(HEADING.encode())
    except OSError:
        return False


def _fixed(parts: Sequence[str]) -> Iterator[str]:
    """The beginning of a pattern that is one and the same folder."""
    for part in parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


class Video:
    """Frames of a video, uint8 BGR `[H, W, 3]`.

    Args:
        path: of the file.

    Raises:
        DataError: where it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._capture = cv2.VideoCapture(str(path))
        if not path.is_file() or not self._capture.isOpened():
            raise DataError(f"no video that can be read: {path}\n  do         export it again")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else RATE
        self.length = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            good, frame = self._capture.read()
            if not good:
                self._capture.release()
                return
            yield frame
