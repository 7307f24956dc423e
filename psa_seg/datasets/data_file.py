"""A data set of one's own, as a data.yaml describes it.

    path: .                        # of what follows, relative to this file; may be left out, and
                                   # name variables of the environment: $PAVEMENT_ROOT
    name: pavement                 # by default, the folder's
    images: {train: images/train, val: images/val}    # test, too; val: 0.2 is a share of train
    masks: {train: masks/train, val: masks/val}       # or a pattern, a list: see `pairs`
    names: [background, crack]     # class 0, 1, ...
    values: {0: background, 255: crack, 128: ignore}  # where masks do not hold class numbers;
                                                      # "#804080": road, where they hold colours
    ignore: 255                    # without `values`: numbers that do not count, one or several
    lists: {train: train.txt, val: val.txt}           # names used, where one folder has all
    palette: ["#000000", "#ff0000"]                   # colours to draw with
    scale: [480, 320]              # width, height of images when loaded; by default, their own
    crop: [320, 320]               # width, height of what is trained on; by default, what fits

Images, masks and names must be there; the rest need not.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from psa_seg.datasets import strict_yaml
from psa_seg.datasets.data_classes import (
    IGNORE,
    as_text,
    class_names,
    fault,
    ids_by_value,
    palette,
)
from psa_seg.datasets.headers import LEAST_SIDE, MOST_PIXELS
from psa_seg.datasets.labels import IGNORED
from psa_seg.errors import UserError

NAME = "data.yaml"
KEYS = (
    *("path", "name", "images", "masks", "names", "values", "ignore", "lists", "val", "palette"),
    *("scale", "crop"),
)
SPLITS = ("train", "val", "test")
SHARE = re.compile(r"\s*-?\d*[.,]?\d+(e-?\d+)?\s*(%|percent)?\s*")  # one that is a text


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """What a data.yaml says, in order.

    Attributes:
        path: of the file, or of the folder that needs none.
        root: of relative places.
        name: of the data set.
        images: place of the images by split: `train`, and `val`, `test` where they have their own.
        masks: likewise.
        names: of the classes.
        ids: class number by value of a mask; 255 is ignored.
        colours: whether those values are colours, `0xRRGGBB`.
        palette: RGB of each class.
        lists: names that are used, by split.
        held_out: share of the training images that is the validation set; 0 where that has its own.
        scale: width and height; None for the images' own.
        crop: width and height; None for what fits.
        names_ignored: whether the file says which values do not count, or that all do.
    """

    path: Path
    root: Path
    name: str
    images: Mapping[str, str]
    masks: Mapping[str, str]
    names: tuple[str, ...]
    ids: Mapping[int, int]
    colours: bool
    palette: tuple[tuple[int, int, int], ...]
    lists: Mapping[str, str]
    held_out: float
    scale: tuple[int, int] | None
    crop: tuple[int, int] | None
    names_ignored: bool = field(compare=False)

    def content(self, portable: bool = False) -> dict[str, Any]:
        """All of it but where the file lies, in plain values.

        Args:
            portable: without absolute places, of which the last name is left.
        """
        tell = _portable if portable else str
        return {
            "name": self.name,
            **{key: {s: tell(p) for s, p in getattr(self, key).items()} for key in PLACES},
            "names": list(self.names),
            "values": self.values(),
            "val": self.held_out,
            "palette": [list(colour) for colour in self.palette],
            "scale": list(self.scale) if self.scale else None,
            "crop": list(self.crop) if self.crop else None,
        }

    def values(self) -> list[list[Any]]:
        """Each value of a mask, as it is written, and the name of what it is."""
        return [
            [f"#{value:06x}" if self.colours else value, self.names[i] if i != IGNORED else IGNORE]
            for value, i in self.ids.items()
        ]


PLACES = ("images", "masks", "lists")


def _portable(place: str) -> str:
    return Path(place).name if Path(place).is_absolute() else place


def read_data_file(path: Path) -> DataFile:
    """The data set that a file describes.

    Raises:
        UserError: where it cannot be read, or an entry is missing, unknown or of the wrong kind.
    """
    try:
        found = strict_yaml.load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(
            f"data file cannot be read: {path}\n  {error}\n"
            '  do         correct it there, in UTF-8; colours stand in quotes: "#804080"'
        ) from error
    return data_file(found, path)


def data_file(read: Any, path: Path) -> DataFile:
    """The data set of a mapping as a data.yaml has it; `path` is the file's."""
    if not isinstance(read, dict):
        raise fault(path, "a data file must map keys to values")
    unknown = [key for key in read if key not in KEYS]
    if unknown:
        raise fault(path, f"{unknown[0]!r} is not one of {', '.join(KEYS)}")
    root = path.parent / _expanded(path, as_text(path, "path", read.get("path", ".")))
    images, held_out = _images(path, read)
    masks = _places(path, "masks", read.get("masks"))
    if masks.keys() != images.keys():
        raise fault(path, f"masks has {', '.join(masks)}, and images {', '.join(images)}")
    names = class_names(path, read.get("names"))
    ids, colours = ids_by_value(path, read, names)
    return DataFile(
        path=path,
        root=root,
        name=as_text(path, "name", read.get("name", root.resolve().name or "data")),
        images=images,
        masks=masks,
        names=names,
        ids=ids,
        colours=colours,
        palette=palette(path, read.get("palette"), names, ids if colours else {}),
        lists=_lists(path, read),
        held_out=held_out,
        scale=_size(path, "scale", read.get("scale")),
        crop=_size(path, "crop", read.get("crop")),
        names_ignored=read.get("values") is not None or read.get("ignore") is not None,
    )


def _images(path: Path, read: Mapping[str, Any]) -> tuple[dict[str, str], float]:
    """Places of the images, and the share of those of `train` that is held out."""
    lists = _lists(path, read)
    given = read.get("images")
    images = dict(given) if isinstance(given, dict) else {"train": given}
    share = read.get("val")
    masks = read.get("masks")
    if isinstance(images.get("val"), int | float):
        share = images.pop("val")
    elif SHARE.fullmatch(str(images.get("val"))) and not (
        isinstance(masks, dict) and "val" in masks
    ):
        raise fault(
            path,
            f"images.val is {images['val']!r}: a share is a number between 0 and 1, 0.2 say; and a "
            "place\n  has its masks at masks.val",
        )
    if isinstance(masks, dict) and isinstance(masks.get("val"), int | float):
        raise fault(path, f"masks.val is {masks['val']}: a share stands at images alone")
    found = _places(path, "images", images)
    if share is None and "val" not in found and "val" not in lists:
        raise fault(
            path,
            "there is no validation set, on which a network is scored: name its images at "
            "images.val,\n  or a share of the training images: val: 0.2",
        )
    if share is None:
        return found, 0.0
    if "val" in found or "val" in lists:
        raise fault(path, f"val is {share!r}, and the validation set is named besides: leave one")
    if type(share) not in (int, float) or not 0 < share < 1:
        raise fault(path, f"val must be a share between 0 and 1, not {share!r}")
    return found, float(share)


def _lists(path: Path, read: Mapping[str, Any]) -> dict[str, str]:
    return {} if read.get("lists") is None else _places(path, "lists", read["lists"])


def _places(path: Path, key: str, given: Any) -> dict[str, str]:
    """Places by split; a text alone is that of all."""
    places = given if isinstance(given, dict) else {"train": given}
    wrong = [split for split in places if split not in SPLITS]
    if wrong or "train" not in places:
        raise fault(path, f"{key} must name train, val (and test), as {{train: {key}/train, ...}}")
    for split, place in places.items():
        if type(place) is not str or not place or "\0" in place:
            raise fault(path, f"{key}.{split} must be a folder, a pattern or a list, not {place!r}")
        if place.count("*") > 1:
            raise fault(path, f"{key}.{split} has more than one star: {place}")
    return dict(places)


def _size(path: Path, key: str, given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    numbers = given if isinstance(given, list) else [given, given]
    if len(numbers) != 2 or any(type(n) is not int or n < 1 for n in numbers):
        raise fault(path, f"{key} must be width and height, as [480, 320], not {given!r}")
    if min(numbers) < LEAST_SIDE:
        raise fault(path, f"{key} has a side of less than {LEAST_SIDE} pixels: {given!r}")
    if numbers[0] * numbers[1] > MOST_PIXELS:
        raise fault(path, f"{key} is of more than {MOST_PIXELS:,} pixels: {given!r}")
    return numbers[0], numbers[1]


def _expanded(path: Path, text: str) -> str:
    """A place with variables of the environment put in."""

    def value(found: re.Match[str]) -> str:
        if not os.environ.get(found[1] or found[2]):
            raise fault(path, f"path has {found[0]}, a variable that is not set, or empty")
        return os.environ[found[1] or found[2]]

    return re.sub(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", value, text)
