"""Every mask of a data set, counted once: which ids it holds, and how many pixels of each class."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict
from mmseg.datasets import CityscapesDataset
from rich.progress import track

from psa_seg import files
from psa_seg.datasets import FolderDataset, RawCityscapesDataset
from psa_seg.datasets.labels import IGNORED
from psa_seg.datasets.masks import count, listed
from psa_seg.datasets.transforms import ids_of, unknown_values
from psa_seg.errors import DataError
from psa_seg.models.placement import decode_heads

CACHE_VERSION = 1
SHOWN_FROM = 200  # masks, fewer of which are counted before a display would show
TRAINING = "train_dataloader"
HIDDEN = f"  note       {IGNORED} is ignored; if it is a class, `values` of a data.yaml say so\n"
Counts = dict[int, int]


class Survey(NamedTuple):
    """What the masks of a data set hold."""

    classes: tuple[str, ...]
    pixels: tuple[int, ...]  # of each class
    ignored: int  # pixels
    values: tuple[int, ...]  # as they lie on the disk
    areas: tuple[int, ...]  # pixels that count, of the images with any of each class
    colours: bool  # whether those values are colours
    doubtful: bool  # whether there is 255, and nobody has said that it does not count


def together(surveys: Sequence[Survey]) -> Survey:
    """The survey of several sets of the same classes."""
    return Survey(
        surveys[0].classes,
        tuple(map(sum, zip(*(one.pixels for one in surveys), strict=True))),
        sum(one.ignored for one in surveys),
        tuple(sorted({value for one in surveys for value in one.values})),
        tuple(map(sum, zip(*(one.areas for one in surveys), strict=True))),
        any(one.colours for one in surveys),
        any(one.doubtful for one in surveys),
    )


def survey(
    config: Config,
    dataset: ConfigDict,
    built: Any,
    entries: Sequence[Mapping[str, Any]],
    untold: bool,
) -> Survey | str:
    """Pixels by class over all masks; or what is wrong with the first mask in which something is.

    Args:
        config: that names the set.
        dataset: its config.
        built: the set.
        entries: what it says of each image.
        untold: whether 255 is ignored because nobody has said what it is.
    """
    colours = bool(entries[0].get("colours"))
    paths = [Path(entry["seg_map_path"]) for entry in entries]
    found = counts_of(paths, colours)
    faults = [one for one in found if isinstance(one, DataError)]
    if faults:
        return f"{config.data_name}: {len(faults)} of {len(paths)} masks: {faults[0]}"
    counted = [one for one in found if isinstance(one, dict)]
    values = {value for one in counted for value in one}
    problem = _mistaken_ids(built, values)
    if problem:
        return f"{config.data_name}: {problem}\n  for one    {paths[0]}"
    classes = tuple(built.metainfo["classes"])
    ids, ignored = ids_of(entries[0]), ignored_id(config.model)
    valid = {value for value, i in ids.items() if i < len(classes) or i == ignored}
    strange = [p for p, c in zip(paths, counted, strict=True) if not c.keys() <= valid]
    if strange:
        return _strange(config, dataset, built, strange, sorted(values - valid), ids)
    pixels, areas = Counter[int](), Counter[int]()
    for one in counted:
        of_image = Counter[int]()
        for value, number in one.items():
            of_image[ids[value]] += number
        pixels += of_image
        area = sum(of_image[i] for i in of_image if i not in (IGNORED, ignored))
        areas.update(dict.fromkeys(of_image, area))
    numbers = range(len(classes))
    return Survey(
        classes,
        tuple(pixels[i] if i != ignored else 0 for i in numbers),
        pixels[ignored],
        tuple(sorted(values)),
        tuple(areas[i] for i in numbers),
        colours,
        untold and IGNORED in values and ids[IGNORED] == ignored,
    )


def ignored_id(model: ConfigDict) -> int:
    """The truth value of pixels that do not count, in memory, for the model of a config."""
    return decode_heads(model)[-1].get("ignore_index", IGNORED)


def _strange(
    config: Config,
    dataset: ConfigDict,
    built: Any,
    masks: Sequence[Path],
    values: list[int],
    ids: Mapping[int, int],
) -> str:
    number = f"{config.data_name}: {len(masks)} masks: "
    if isinstance(built, FolderDataset):
        colours = built.file.colours
        return number + unknown_values(str(masks[0]), listed(values, colours), ids, colours)
    return (
        f"{number}label ids out of range: {listed(values)}\n"
        f"  in         {masks[0]}\n"
        f"  expected   {len(built.metainfo['classes'])} classes, in the ids of "
        f"{type(built).__name__}\n"
        "  do         give the masks of this data set, or the dataset type of these masks; for "
        "data\n             of your own, a data.yaml says what each value is: --data"
    )


def wrong_classes(config: Config, found: Mapping[str, Sequence[Survey]]) -> list[str]:
    """What keeps sets from being trained or scored on: no pixel that counts, a class without one.

    In what is scored, a class may be without one, unless a single class is left, or the others
    may be hidden in 255: where that is ignored by default, and in no training mask.

    Args:
        config: with `allow_absent`, under which classes need not occur.
        found: surveys by loader.
    """
    wrong: list[str] = []
    trained = found.get(TRAINING)
    for loader, sets in found.items():
        if loader == "test_dataloader" and sets == found.get("val_dataloader"):
            continue  # one set, mostly
        whole = together(sets)
        there = [name for name, number in zip(whole.classes, whole.pixels, strict=True) if number]
        if not there:
            wrong.append(
                f"{config.data_name}: no pixel of a class in {loader}: all are ignored\n"
                "  do         give masks that hold classes; for data of your own, data.yaml says "
                "which\n             value is which"
            )
        elif not config.allow_absent and (why := _why_wrong(config, loader, whole, there, trained)):
            wrong.append(
                f"{config.data_name}: {told_absent(config, loader, whole)}"
                f"  why        {why}\n"
                "  do         take them out of the data set's classes, correct the masks or what "
                "their\n             values stand for, or go on without: --allow-absent (in an "
                "experiment,\n             options: {allow_absent: true})"
            )
    return wrong


def _why_wrong(
    config: Config,
    loader: str,
    whole: Survey,
    there: Sequence[str],
    trained: Sequence[Survey] | None,
) -> str:
    """Why a set cannot be used, by the classes that are there; empty where it can."""
    if len(there) == 1:
        return f"whatever says {there[0]} of every pixel would score 100"
    if not absent_from(config, whole):
        return ""
    if loader == TRAINING:
        return "nothing learns them, and a mean over the others would not say so"
    if whole.doubtful and trained and IGNORED not in together(trained).values:
        return f"{IGNORED} is in no training mask: it may be a class that is missed here"
    return ""


def absent_from(config: Config, whole: Survey) -> list[str]:
    """Classes that no pixel has, but for one whose number is ignored."""
    ignored = ignored_id(config.model)
    named = enumerate(zip(whole.classes, whole.pixels, strict=True))
    return [name for i, (name, number) in named if not number and i != ignored]


def told_absent(config: Config, loader: str, whole: Survey) -> str:
    """Lines of a message: which classes never occur, and what does."""
    absent = absent_from(config, whole)
    number = f"{len(absent)} of {len(whole.classes)} classes never occur"
    masks = "the training masks" if loader == TRAINING else loader
    return (
        f"{number if absent else 'one class alone, and what is ignored, occurs'} in {masks}"
        f"{': ' * bool(absent)}{', '.join(absent[:5])}{', ...' * (len(absent) > 5)}\n"
        f"  found      in the masks: {listed(list(whole.values), whole.colours)}\n"
        + HIDDEN
        * whole.doubtful
    )


def counts_of(paths: Sequence[Path], colours: bool) -> list[Counts | DataError]:
    """Pixels by value of each mask; of one that was counted before, from the cache.

    The cache lies outside the data's folder, by path, size and time of each mask.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    top = os.path.commonpath([path.absolute().parent for path in paths])
    name = hashlib.sha256(f"{top} {colours}".encode()).hexdigest()[:16]
    store = Path(home, "psa_seg", "masks", f"{name}.json")
    known = _cached(store)
    keys = [_key(path) for path in paths]
    new = {key: path for key, path in zip(keys, paths, strict=True) if key not in known}
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        done = pool.map(lambda path: _count(path, colours), new.values())
        shown = track(
            done, "counting masks", len(new), transient=True, disable=len(new) < SHOWN_FROM
        )
        counted = dict(zip(new, shown, strict=True))
    good = {key: counts for key, counts in counted.items() if isinstance(counts, dict)}
    if good:
        ours = {str(path.absolute()) for path in paths}
        _store(store, {**_current(known, {*keys}, ours), **good})
    return [counted[key] if key in counted else known[key] for key in keys]


def _current(known: Mapping[str, Counts], keys: set[str], paths: set[str]) -> dict[str, Counts]:
    """What is known of masks as they are now, and of others that are still there."""
    of = {key: key.split("\0")[0] for key in known}
    return {
        key: counts
        for key, counts in known.items()
        if key in keys or (of[key] not in paths and Path(of[key]).exists())
    }


def _key(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return f"{path}\0"
    times = f"{stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"  # the first can be set at will
    return f"{path.absolute()}\0{stat.st_size}\0{times}"


def _count(path: Path, colours: bool) -> Counts | DataError:
    try:
        return count(path, colours)
    except DataError as error:
        return error


def _cached(store: Path) -> dict[str, Counts]:
    try:
        held = json.loads(store.read_text("utf-8"))
        if held["version"] != CACHE_VERSION:
            return {}
        return {
            key: {int(value): int(number) for value, number in counts.items()}
            for key, counts in held["masks"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # anything else is no cache
        return {}


def _store(store: Path, counts: Mapping[str, Counts]) -> None:
    with suppress(OSError):  # a full or read-only disk: they are counted again
        store.parent.mkdir(parents=True, exist_ok=True)
        files.write(store, json.dumps({"version": CACHE_VERSION, "masks": counts}))


def _mistaken_ids(dataset: Any, ids: set[int]) -> str | None:
    """What to say if Cityscapes' masks hold train ids for label ids, or the other way round.

    Args:
        dataset: that reads the masks.
        ids: in all of them.
    """
    # Streets without a building, a tree, a car or the sky (label ids 11, 21, 26, 23) do not
    # exist; the test split's empty masks hold 0 to 6.
    classes = ids - {IGNORED}
    if isinstance(dataset, RawCityscapesDataset):
        if classes and max(classes) <= 18 and (IGNORED in ids or max(classes) > 6):
            return (
                "the masks hold train ids (0-18 and 255), where label ids (0-33) belong\n"
                "  do         give the original *_gtFine_labelIds.png, or set the datasets' type "
                "to\n             CityscapesDataset, which reads *_gtFine_labelTrainIds.png"
            )
    elif isinstance(dataset, CityscapesDataset) and classes and max(classes) in range(19, 34):
        return (
            "the masks hold label ids (0-33), where train ids (0-18 and 255) belong\n"
            "  do         set the datasets' type to RawCityscapesDataset: it reads label ids"
        )
    return None
