"""The data that a run reads: there, whole, in pairs, and labelled in the ids they should be."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL.Image import getmodebandnames

from psa_seg import shipped
from psa_seg.datasets import FolderDataset
from psa_seg.datasets.headers import Header, header
from psa_seg.datasets.transforms import of_another_size
from psa_seg.engine.doctor.masks import Survey, survey, wrong_classes
from psa_seg.errors import DataError, UserError
from psa_seg.files import disk_error, near
from psa_seg.registry import name_of

WHOLE = dict(pipeline=[], serialize_data=False, indices=None)  # a set as it lies on the disk
KEEPS_SIZE = (2, 3, 4)  # orientations that do not show in an image's size


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class Found(NamedTuple):
    """A data set as it lies on the disk."""

    built: Any
    pairs: list[Pair]
    headers: list[tuple[Header, Header]]  # of image and mask
    survey: Survey

    def both(self) -> Iterator[tuple[Pair, tuple[Header, Header]]]:
        """Each pair with its headers."""
        return zip(self.pairs, self.headers, strict=True)


def check_data(config: Config, *loaders: str) -> list[str]:
    """What is wrong with what the named data loaders read: the first fault of each data set.

    Looks at the name, the header and the end of every file, and at every mask.
    """
    return look(config, *loaders)[1]


def look(config: Config, *loaders: str) -> tuple[dict[str, list[Found]], list[str]]:
    """What the named data loaders read, as far as nothing is wrong with it, and what is."""
    found: dict[str, list[Found]] = {}
    wrong: list[str] = []
    for loader in filter(config.get, loaders):
        for _, dataset in leaves(config[loader].dataset):
            one = _look(config, dataset)
            if isinstance(one, str):
                wrong.append(one)
            else:
                found.setdefault(loader, []).append(one)
    if not wrong:
        wrong = wrong_classes(
            config, {key: [f.survey for f in sets] for key, sets in found.items()}
        )
    return found, wrong


def _look(config: Config, dataset: ConfigDict) -> Found | str:
    """The set on the disk; or what is wrong, with which file, and what to do."""
    absence = _wrong_folders(config, dataset)
    if absence:
        return absence
    try:
        built = DATASETS.build({**dataset, **WHOLE})
    except UserError as error:
        return f"{config.data_name}: {error}"
    except OSError as error:  # of listing: a link that leads back, a folder that may not be read
        return f"{config.data_name}: {disk_error(error)}"
    entries = [built.get_data_info(i) for i in range(len(built))]
    without = next((e for e in entries if "seg_map_path" not in e), None)
    if without:
        return (
            f"{config.filename}: {type(built).__name__} has no mask for {without['img_path']}\n"
            "  do         give data_prefix a seg_map_path"
        )
    pairs = [Pair(Path(e["img_path"]), Path(e["seg_map_path"])) for e in entries]
    wrong = _wrong_pairs(config, dataset, built, pairs)
    if wrong:
        return wrong
    headers = _headers(config.data_name, pairs, _loading(dataset, "LoadImageFromFile"))
    if isinstance(headers, str):
        return headers
    several = [
        p for p, (_, m) in zip(pairs, headers, strict=True) if len(getmodebandnames(m.mode)) > 1
    ]
    if several and _loading(dataset, "LoadAnnotations"):
        return (
            f"{config.data_name}: {len(several)} masks have several channels, and LoadAnnotations "
            f"takes one\n  first      {several[0].mask}\n"
            "  do         export them with one, or take LoadLabelIds, which reads grey saved as RGB"
        )
    untold = is_own(dataset) and not (isinstance(built, FolderDataset) and config.names_ignored)
    masks = survey(config, dataset, built, entries, untold)
    return masks if isinstance(masks, str) else Found(built, pairs, headers, masks)


def leaves(dataset: ConfigDict, where: str = "dataset") -> Iterator[tuple[str, ConfigDict]]:
    """The data sets within concatenated or wrapped ones, each with its key."""
    inner = within(dataset, where)
    if not inner:
        yield where, dataset
    for key, one in inner.items():
        yield from leaves(one, key)


def first_steps(dataset: ConfigDict) -> list[Any]:
    """The pipeline of a data set, or of the first within it; the list itself."""
    return next(leaves(dataset))[1].get("pipeline") or []


def within(dataset: ConfigDict, where: str) -> dict[str, ConfigDict]:
    """The data sets that one concatenates or wraps, by their keys."""
    found = {f"{where}.datasets.{i}": d for i, d in enumerate(dataset.get("datasets") or [])}
    if "dataset" in dataset:
        found[f"{where}.dataset"] = dataset.dataset
    return found


def _wrong_folders(config: Config, dataset: ConfigDict) -> str | None:
    root = dataset.get("data_root") or ""
    paths = [Path(root, prefix) for prefix in dataset.get("data_prefix", {}).values()]
    if dataset.get("ann_file"):
        paths.append(Path(root, dataset.ann_file))
    for path in paths:
        if not (path.is_file() or any(path.glob("*"))):
            return _absence(config, dataset, f"nothing in {path}", path)
    return None


def _absence(config: Config, dataset: ConfigDict, problem: str, path: Path) -> str:
    if is_own(dataset):
        return (
            f"{problem}\n  looked in  {path.resolve()}\n{near(path)}"
            f"  do         correct data_root and data_prefix of this {dataset.type}, in "
            f"{config.filename}"
        )
    hint = near(path)
    hint = hint if "synthetic" not in hint else ""  # a demo's streets are no such data
    train = f"{shipped.words('train')} {shipped.name(config.filename)}"
    return (
        f"{config.data_name}: {problem}\n"
        f"  looked in  {path.resolve()}\n{hint}"
        f"  get it     {config.data_help}\n"
        f"  or yours   {train} --data FOLDER_OR_YAML\n"
        f"  meanwhile  {train} --demo\n"
        "             (synthetic street scenes; minutes on a laptop, nothing to get)"
    )


def is_own(dataset: ConfigDict) -> bool:
    """Whether a set is a user's own, and no public one that a `data_help` could tell how to get."""
    kind = DATASETS.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    public = getattr(kind, "__module__", "").startswith(("mmseg.", "psa_seg."))
    return kind in (BaseSegDataset, FolderDataset) or not public


def _wrong_pairs(
    config: Config, dataset: ConfigDict, built: Any, pairs: Sequence[Pair]
) -> str | None:
    if isinstance(built, FolderDataset):  # which has seen to it
        return None
    images, masks = (built.data_prefix[key] for key in ("img_path", "seg_map_path"))
    if not pairs:
        listed = f" that {built.ann_file} lists" if built.ann_file else ""
        return _absence(config, dataset, f"no image *{built.img_suffix}{listed}", Path(images))
    for kind, paths in zip(Pair._fields, zip(*pairs, strict=True), strict=True):
        missing = [path for path in paths if not path.is_file()]
        if missing:
            stem = missing[0].name.removesuffix(built.seg_map_suffix)
            beside = sorted(path.name for path in missing[0].parent.glob(f"{stem}*"))
            return (
                f"{config.data_name}: {len(missing)} of {len(pairs)} {kind}s missing\n"
                f"  first      {missing[0]}\n"
                f"  beside it  {', '.join(beside) or 'nothing of that name'}\n"
                f"  do         copy what is missing, or take its other half away: {images}\n"
                f"             and {masks} must correspond"
            )
    if built.ann_file:  # lists what is used: the folders may hold more
        return None
    found = Path(masks).rglob(f"*{built.seg_map_suffix}")
    seen = {path for path in found if not path.name.startswith(".")}  # as upstream lists them
    extra = sorted(seen - {pair.mask for pair in pairs})
    if extra:
        return (
            f"{config.data_name}: {len(extra)} masks without an image\n"
            f"  first      {extra[0]}\n"
            f"  do         copy the images that are missing to {images}, or take these masks away"
        )
    return None


def _loading(dataset: ConfigDict, kind: str) -> ConfigDict | None:
    """The step of this type in a set's pipeline."""
    steps = dataset.get("pipeline") or []
    found = (s for s in steps if isinstance(s, dict) and name_of(s.get("type")) == kind)
    return next(found, None)


def _headers(
    name: str, pairs: Sequence[Pair], loading: ConfigDict | None
) -> list[tuple[Header, Header]] | str:
    """Of each image and its mask; or what is wrong with the first file in which something is."""
    with ThreadPoolExecutor(16) as pool:  # waits for a disk, mostly
        read = list(pool.map(_header, [path for pair in pairs for path in pair]))
    faults = [found for found in read if isinstance(found, DataError)]
    if faults:
        kinds = Counter(str(fault).partition(":")[0] for fault in faults)
        (kind, number), *_ = kinds.most_common(1)
        first = next(str(fault) for fault in faults if str(fault).startswith(kind))
        return f"{name}: {number} of {len(read)} files: {first}"
    headers = [found for found in read if isinstance(found, Header)]
    lossy = [p.mask for p, one in zip(pairs, headers[1::2], strict=True) if one.lossy]
    if lossy:
        return (
            f"{name}: {len(lossy)} masks are compressed with loss, as photographs are: {lossy[0]}\n"
            "  because    pixels at borders then come back as other classes, or as none\n"
            "  do         export them again, as PNG; a copy of these stays wrong"
        )
    if loading and "ignore_orientation" in loading.get("color_type", ""):
        headers = [one._replace(loaded=one.size, orientation=1) for one in headers]
    both = list(zip(headers[::2], headers[1::2], strict=True))
    unequal = [(p, two) for p, two in zip(pairs, both, strict=True) if two[0].loaded != two[1].size]
    if unequal:
        pair, (image, mask) = unequal[0]
        return (
            f"{name}: {len(unequal)} masks are not of the size of their image\n"
            + of_another_size(str(pair.mask), mask.size, image.loaded)
            + f"\n  image      {pair.image}"
        )
    turned = [pair for pair, two in zip(pairs, both, strict=True) if _is_doubtful(*two)]
    if turned:
        return (
            f"{name}: {len(turned)} images are turned when they are loaded, and their masks may "
            f"not be, or the other way round: {turned[0].image}\n"
            f"  because    Exif says so, there or in {turned[0].mask}, and the sizes do not tell\n"
            "  do         save it upright, and its mask as it then has to be:\n"
            "             ImageOps.exif_transpose of Pillow, mogrify -auto-orient of ImageMagick"
        )
    return both


def _header(path: Path) -> Header | DataError:
    try:
        return header(path)
    except DataError as error:
        return error


def _is_doubtful(image: Header, mask: Header) -> bool:
    square = image.size[0] == image.size[1]
    turned = image.orientation in KEEPS_SIZE or (square and image.orientation != 1)
    return turned or mask.orientation != 1
