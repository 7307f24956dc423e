"""A first data.yaml, from what lies in a folder."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from psa_seg.datasets.headers import header
from psa_seg.datasets.labels import IGNORED
from psa_seg.datasets.pairs import MASKS, pairs, walk
from psa_seg.errors import DataError, UserError
from psa_seg.kinds import IMAGES

MASK_WORDS = re.compile(r"mask|label|annot|^ann|segm|^seg$|^gt|truth|trimap", re.IGNORECASE)
SPLIT_WORDS = {
    "train": re.compile(r"^(train|training)", re.IGNORECASE),
    "val": re.compile(r"^(val|valid|validation)(?![a-z])|^valannot", re.IGNORECASE),
    "test": re.compile(r"^(test|testing)(?![a-z])|^testannot", re.IGNORECASE),
}
SHARE = 0.2
MOST_VALUES = 255
FEW, MOSTLY, WHITE = 16, 0.75, 255  # values between black and white, which most pixels are
GREYS = 64  # from here on, values are chosen to be seen, and are no class numbers


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
    """The place of each, with patterns where their names differ.

    Raises:
        UserError: where nothing that is tried pairs every image with a mask.
    """
    tops = [Path(os.path.commonpath([p.parent for p in paths])) for paths in (images, masks)]
    here, there = (top.relative_to(folder).as_posix() for top in tops)
    tries = [(here, there)] * (here != there)
    for image, mask in _ends(images, masks):
        tries += [(here, f"{there}/*{mask}"), (f"{here}/*{image}", f"{there}/*{mask}")]
    before = [_beginning([path.name for path in paths]) for paths in (images, masks)]
    suffixes = [Counter(p.suffix for p in paths).most_common(1)[0][0] for paths in (images, masks)]
    tries.append((f"{here}/{before[0]}*{suffixes[0]}", f"{there}/{before[1]}*{suffixes[1]}"))
    for one, other in tries:
        found = one.removeprefix("./"), other.removeprefix("./")
        if _pairs_all(folder, found, len(images), len(masks)):
            return found
    raise UserError(
        f"names of images and masks do not say which belong together: {folder}\n"
        f"  images     {len(images)}: {images[0].relative_to(folder)}, ...\n"
        f"  masks      {len(masks)}: {masks[0].relative_to(folder)}, ...\n"
        "  do         give each mask its image's name, copy what is missing, or write a data.yaml"
    )


def _pairs_all(folder: Path, places: tuple[str, str], images: int, masks: int) -> bool:
    try:
        found = pairs(folder, *places)
    except DataError:
        return False
    return len(found) == images == masks and all(Path(pair.name).name for pair in found)


def _ends(images: Sequence[Path], masks: Sequence[Path]) -> list[tuple[str, str]]:
    """How names of images, and of masks, end after what they have in common: the usual ways."""
    ends: Counter[tuple[str, str]] = Counter()
    names = sorted(path.name for path in masks)
    for image in images[:50]:
        close = max(names, key=lambda name: (_alike(name, image.name), name))
        common = image.stem[: _alike(Path(close).stem, image.stem)]
        common = common.rstrip("_-.") if len(common) < len(image.stem) else common
        ends[image.name[len(common) :], close[len(common) :]] += 1
    return [pair for pair, _ in ends.most_common(3)]


def _beginning(names: Sequence[str]) -> str:
    """With what all names begin, but for digits that number them."""
    length = min(_alike(names[0], name) for name in names)
    return names[0][:length].rstrip("0123456789") if len(names) > 1 else ""


def _alike(a: str, b: str) -> int:
    """With how many equal letters two names begin."""
    differ = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(differ, min(len(a), len(b)))


def written(
    folder: Path,
    root: str,
    found: Layout,
    counts: Mapping[int, int],
    colours: bool,
    masks: Sequence[Path],
) -> str:
    """The text of a data.yaml.

    Args:
        folder: of the data.
        root: the same, as the file is to name it.
        found: where images and masks lie.
        counts: pixels by value over all training masks.
        colours: whether values are colours.
        masks: that were counted.

    Raises:
        UserError: where values are no classes.
    """
    _require_classes(counts, masks)
    lines = [f"# Of {folder.name}, as it was found: look at every line before you train on it."]
    lines += [f"path: {_quoted(root)}  # of what follows", f"name: {_quoted(folder.name)}"]
    for key in ("images", "masks"):
        places = [f"{split}: {_quoted(place)}" for split, place in getattr(found, key).items()]
        lines.append(f"{key}: {{{', '.join(places)}}}")
    if "val" not in found.images:
        lines.append(f"val: {SHARE}  # this share of the images is held out, and scored on")
    return "\n".join([*lines, *_classes(counts, colours)]) + "\n"


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_flow_style=True, allow_unicode=True, width=10**6).split(
        "\n"
    )[0]


def _classes(counts: Mapping[int, int], colours: bool) -> Iterator[str]:
    """Names, and values where masks do not hold class numbers."""
    total = sum(counts.values())
    others = sorted(counts.keys() - {IGNORED}) if not colours else sorted(counts)
    # 255 beside 0, 1, 4 is what does not count, likely; beside 0 and 128 it is a grey like those.
    marked = not colours and IGNORED in counts and len(others) > 1 and others[-1] < GREYS
    if not colours and others == [*range(len(others))] and len(others) > 1:
        yield "names:"
        yield from (f"  - class {i}{_share(counts[i], total)}" for i in others)
        if IGNORED in counts:
            yield f"ignore: {IGNORED}{_share(counts[IGNORED], total)}"
        return
    values = others if marked else sorted(counts)
    names = {value: _name(value, colours, i) for i, value in enumerate(values)}
    yield "names: [" + ", ".join(names.values()) + "]  # write your own, here and below"
    if len(values) > FEW and not colours:
        yield f"# {len(values)} values: do masks hold as many classes, or are they smoothed?"
    yield "values:  # what each value of a mask is; ignore: pixels that do not count"
    for value, name in [*names.items(), *[(IGNORED, "ignore")] * marked]:
        key = f'"#{value:06x}"' if colours else str(value)
        doubt = " (or a class?)" * (name == "ignore")
        yield f"  {key}: {name}{_share(counts[value], total)}{doubt}"


def _require_classes(counts: Mapping[int, int], masks: Sequence[Path]) -> None:
    """Raise UserError where values are no classes that a file could be written of."""
    lossy = [path for path in masks if header(path).lossy]
    between = sorted(counts.keys() - {0, WHITE})
    mostly = counts.get(0, 0) + counts.get(WHITE, 0) > MOSTLY * sum(counts.values())
    reason = ""
    if lossy:
        reason = f"they are compressed with loss: {len(counts)} different values"
    elif WHITE in counts and mostly and len(between) > FEW and GREYS <= between[-1] < WHITE:
        reason = (
            f"they hold {len(between)} values between 0 and {WHITE}, which most pixels have:\n"
            "             they are smoothed"
        )
    elif len(counts) > MOST_VALUES:
        reason = f"they hold {len(counts)} different values"
    elif len(counts) < 2:
        reason = f"they hold one value alone, {next(iter(counts), 'none')}"
    if reason:
        raise UserError(
            f"masks tell no classes: {(lossy or masks)[0].parent}\n"
            f"  because    {reason}\n"
            "  do         export them as PNG, without smoothing; or write a data.yaml, with `names`"
        )


def _name(value: int, colours: bool, place: int) -> str:
    if place == 0 and value == 0:
        return "background"
    return f"colour {value:06x}" if colours else f"value {value}"


def _share(count: int, total: int) -> str:
    return f"  # {100 * count / total:.2f} % of the pixels"
