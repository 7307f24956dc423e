"""The data that a run reads: there, whole, in pairs, and labelled in the ids they should be."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config, ConfigDict
from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS
from PIL import Image

from psa_seg.datasets import RawCityscapesDataset
from psa_seg.datasets.labels import IGNORED

SAMPLED_MASKS = 32
WHOLE = dict(pipeline=[], serialize_data=False, indices=None)  # a set as it lies on the disk
TAIL = 1024  # bytes, of which the last mark of a file that is whole is one
ORIENTATION, TRANSPOSED = 0x0112, (5, 6, 7, 8)  # Exif: rows and columns change places on loading


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


def check_data(config: Config, *loaders: str) -> list[str]:
    """What is wrong with what the named data loaders read: the first fault of each data set.

    Looks at the name, the size and the end of every file, and at the ids in a sample of the masks
    (`NumberedDataset` sees the others when they are read).
    """
    sets = [s for loader in filter(config.get, loaders) for _, s in leaves(config[loader].dataset)]
    return [finding for dataset in sets if (finding := _fault(config, dataset))]


def _fault(config: Config, dataset: ConfigDict) -> str | None:
    """What is wrong, with which file, and what to do."""
    absence = _wrong_folders(config, dataset)
    if absence:
        return absence
    built = DATASETS.build({**dataset, **WHOLE})
    entries = [built.get_data_info(i) for i in range(len(built))]
    pairs = [Pair(Path(e["img_path"]), Path(e["seg_map_path"])) for e in entries]
    return (
        _wrong_pairs(config, built, pairs)
        or _wrong_files(config.data_name, pairs)
        or _wrong_ids(config, built, [pair.mask for pair in pairs])
    )


def leaves(dataset: ConfigDict, where: str = "dataset") -> Iterator[tuple[str, ConfigDict]]:
    """The data sets within concatenated or wrapped ones, each with its key."""
    inner = within(dataset, where)
    if not inner:
        yield where, dataset
    for key, one in inner.items():
        yield from leaves(one, key)


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
            return _absence(config, f"nothing in {path}", path)
    return None


def _absence(config: Config, problem: str, path: Path) -> str:
    return (
        f"{config.data_name}: {problem}\n"
        f"  looked in  {path.resolve()}\n"
        f"  get it     {config.data_help}\n"
        f"  meanwhile  python tools/train.py {config.filename} --demo\n"
        "             (synthetic street scenes; minutes on a laptop, nothing to get)"
    )


def _wrong_pairs(config: Config, built: Any, pairs: Sequence[Pair]) -> str | None:
    images, masks = (built.data_prefix[key] for key in ("img_path", "seg_map_path"))
    if not pairs:
        listed = f" that {built.ann_file} lists" if built.ann_file else ""
        return _absence(config, f"no image *{built.img_suffix}{listed}", Path(images))
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


def _wrong_files(name: str, pairs: Sequence[Pair]) -> str | None:
    with ThreadPoolExecutor(16) as pool:  # waits for a disk, mostly
        sizes = list(pool.map(size_on_disk, [path for pair in pairs for path in pair]))
    sized = list(zip(pairs, zip(sizes[::2], sizes[1::2], strict=True), strict=True))
    damaged = [p for pair, two in sized for p, size in zip(pair, two, strict=True) if size is None]
    if damaged:
        return (
            f"{name}: {len(damaged)} of {len(sizes)} files are cut short, or no images\n"
            f"  first      {damaged[0]}\n"
            "  do         copy or unpack them again"
        )
    unequal = [(pair, two) for pair, two in sized if two[0] != two[1]]
    if unequal:
        pair, (image, mask) = unequal[0]
        return (
            f"{name}: {len(unequal)} masks are not of the size of their image\n"
            f"  first      {pair.mask}: {mask}\n"
            f"             {pair.image}: {image}\n"
            "  do         take both from the same release of the data, at the same scale"
        )
    return None


def size_on_disk(path: Path) -> tuple[int, int] | None:
    """Width and height as loaded; None for a file that is not whole, or no image."""
    try:
        with path.open("rb") as file, Image.open(file) as image:
            size, kind = image.size, image.format
            if kind == "JPEG" and image.getexif().get(ORIENTATION) in TRANSPOSED:
                size = size[::-1]
            length = file.seek(0, 2)
            file.seek(-min(TAIL, length), 2)
            tail = file.read()
            file.seek(4)
            promised = int.from_bytes(file.read(4), "little") + 8  # RIFF: the length in WebP files
        if kind == "JPEG" and b"\xff\xd9" not in tail:
            with Image.open(path) as image:
                image.load()  # raises, unless something has merely been appended
    except (OSError, SyntaxError) as error:  # Pillow's own have no number
        if isinstance(error, OSError) and error.errno:
            raise
        return None
    whole = {"PNG": b"IEND" in tail, "WEBP": length >= promised}
    return size if whole.get(kind or "", True) else None


def _wrong_ids(config: Config, built: Any, masks: Sequence[Path]) -> str | None:
    chosen = np.unique(np.linspace(0, len(masks) - 1, SAMPLED_MASKS).astype(int))
    with ThreadPoolExecutor() as pool:
        ids_of = dict(zip(chosen, pool.map(_ids, [masks[i] for i in chosen]), strict=True))
    found = set().union(*ids_of.values())
    problem = _mistaken_ids(built, found)
    if problem:
        return f"{config.data_name}: {problem}\n  for one    {masks[chosen[0]]}"
    classes = len(built.METAINFO.get("classes") or built.metainfo["classes"])
    valid = {*range(classes + built.reduce_zero_label), *(built.label_map or {}), IGNORED}
    for i, ids in ids_of.items():
        if ids - valid:
            return (
                f"{config.data_name}: label ids out of range: {sorted(ids - valid)}\n"
                f"  in         {masks[i]}\n"
                f"  expected   {classes} classes, in the ids of {type(built).__name__}\n"
                "  do         give the masks of this data set, or the dataset type of these masks"
            )
    return None


def _ids(path: Path) -> set[int]:
    with Image.open(path) as image:
        return set(np.unique(np.asarray(image)).tolist())


def _mistaken_ids(dataset: Any, ids: set[int]) -> str | None:
    """What to say if Cityscapes' masks hold train ids for label ids, or the other way round.

    Args:
        dataset: that reads the masks.
        ids: in a good many of them.
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
