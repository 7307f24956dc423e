"""A first data.yaml, from what lies in a folder."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from psa_seg.datasets.labels import IGNORED
from psa_seg.datasets.pairs import IMAGES, MASKS, pairs, walk
from psa_seg.errors import DataError, UserError

MASK_WORDS = re.compile(r"mask|label|annot|^ann|segm|^seg$|^gt|truth|trimap", re.IGNORECASE)
SPLIT_WORDS = {
    "train": re.compile(r"^(train|training)", re.IGNORECASE),
    "val": re.compile(r"^(val|valid|validation)(?![a-z])|^valannot", re.IGNORECASE),
    "test": re.compile(r"^(test|testing)(?![a-z])|^testannot", re.IGNORECASE),
}
PLAIN = re.compile(r"[A-Za-z_./][\w./-]*")  # that YAML takes without quotes
SHARE = 0.2
MOST_VALUES = 64  # of masks; more come from smoothing


class Layout(NamedTuple):
    """Where images and masks lie, by split."""

    images: dict[str, str]
    masks: dict[str, str]


def layout(folder: Path) -> Layout:
    """Places of images and masks in a folder, by the names of its folders and files.

    Raises:
        UserError: where no images, or no masks, can be told.
    """
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in walk(folder):
        if path.suffix.lower() in IMAGES | MASKS:
            found[_kind(folder, path), _split(folder, path)].append(path)
    splits = {split for _, split in found}
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    for split in [s for s in ("train", "val", "test", "") if s in splits]:
        here, there = found.get(("image", split), []), found.get(("mask", split), [])
        if not here or not there:
            continue
        name = split or "train"
        if name in images:
            continue
        images[name], masks[name] = _places(folder, here, there)
    if "train" not in images:
        kinds = Counter(kind for (kind, _), paths in found.items() for _ in paths)
        raise UserError(
            f"images and their masks cannot be told apart in {folder}\n"
            f"  found      {kinds['image']} images, {kinds['mask']} masks (in folders called mask, "
            "label, annotation,\n             gt, or files that end so)\n"
            "  do         write a data.yaml, as docs/your_data.md says"
        )
    return Layout(images, masks)


def _kind(folder: Path, path: Path) -> str:
    """Whether it is an image or a mask, by the names of its folders, or else by its own."""
    parts = path.relative_to(folder).parts
    inside = any(MASK_WORDS.search(part) for part in parts[:-1])
    after = re.search(r"[_\-.](mask|label|labels|seg|gt|annot|labelids)$", path.stem, re.IGNORECASE)
    return "mask" if inside or after else "image"


def _split(folder: Path, path: Path) -> str:
    parts = path.relative_to(folder).parts[:-1]
    return next((s for s, word in SPLIT_WORDS.items() for p in parts if word.search(p)), "")


def _places(folder: Path, images: Sequence[Path], masks: Sequence[Path]) -> tuple[str, str]:
    """The place of each, with patterns where the names of masks say more than their image's."""
    tops = [Path(os.path.commonpath([p.parent for p in paths])) for paths in (images, masks)]
    here, there = (top.relative_to(folder).as_posix() for top in tops)
    if here != there and _is_pairing(folder, here, there):
        return here, there
    image, mask = _ends(images, masks)
    return f"{here}/*{image}".removeprefix("./"), f"{there}/*{mask}".removeprefix("./")


def _is_pairing(folder: Path, images: str, masks: str) -> bool:
    try:
        return bool(pairs(folder, images, masks))
    except DataError:
        return False


def _ends(images: Sequence[Path], masks: Sequence[Path]) -> tuple[str, str]:
    """How names of images, and of their masks, end after what they have in common."""
    ends: Counter[tuple[str, str]] = Counter()
    names = sorted(path.name for path in masks)
    for image in images[:50]:
        close = max(names, key=lambda name: (_alike(name, image.name), name))
        common = image.stem[: _alike(Path(close).stem, image.stem)]
        common = common.rstrip("_-.") if len(common) < len(image.stem) else common
        ends[image.name[len(common) :], close[len(common) :]] += 1
    return ends.most_common(1)[0][0]


def _alike(a: str, b: str) -> int:
    """With how many equal letters two names begin."""
    differ = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(differ, min(len(a), len(b)))


def written(
    folder: Path, root: str, found: Layout, counts: Mapping[int, int], colours: bool
) -> str:
    """The text of a data.yaml.

    Args:
        folder: of the data.
        root: the same, as the file is to name it.
        found: where images and masks lie.
        counts: pixels by value over all training masks.
        colours: whether values are colours.
    """
    lines = [f"# Of {folder.name}, as it was found: look at every line before you train on it."]
    lines += [f"path: {_quoted(root)}  # of what follows"]
    for key in ("images", "masks"):
        places = [f"{split}: {_quoted(place)}" for split, place in getattr(found, key).items()]
        lines.append(f"{key}: {{{', '.join(places)}}}")
    if "val" not in found.images:
        lines.append(f"val: {SHARE}  # this share of the images is held out, and scored on")
    return "\n".join([*lines, *_classes(counts, colours)]) + "\n"


def _quoted(text: str) -> str:
    return text if PLAIN.fullmatch(text) else "'" + text.replace("'", "''") + "'"


def _classes(counts: Mapping[int, int], colours: bool) -> Iterator[str]:
    """Names, and values where masks do not hold class numbers."""
    total = sum(counts.values())
    if len(counts) > MOST_VALUES:
        raise UserError(
            f"masks hold {len(counts)} different values, and no classes\n"
            "  do         export them in a format without loss (PNG), without smoothing"
        )
    numbers = sorted(counts.keys() - {IGNORED})
    if not colours and numbers == [*range(len(numbers))] and len(numbers) > 1:
        for i in numbers:
            yield f"{'names:' * (i == 0)}\n" * (i == 0) + f"  - class {i}{_share(counts[i], total)}"
        if IGNORED in counts:
            yield f"ignore: {IGNORED}{_share(counts[IGNORED], total)}"
        return
    values = sorted(counts)
    names = {value: _name(value, colours, i) for i, value in enumerate(values)}
    yield "names: [" + ", ".join(names.values()) + "]  # write your own, here and below"
    yield "values:  # what each value of a mask is; ignore: pixels that do not count"
    for value, name in names.items():
        key = f'"#{value:06x}"' if colours else str(value)
        yield f"  {key}: {name}{_share(counts[value], total)}"


def _name(value: int, colours: bool, place: int) -> str:
    return (
        "background"
        if place == 0 and value == 0
        else (f"colour {value:06x}" if colours else f"value {value}")
    )


def _share(count: int, total: int) -> str:
    return f"  # {100 * count / total:.2g} % of the pixels"
