"""`--data`: a data set of one's own in the place of a config's, and all that follows from it."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from psa_seg import shipped
from psa_seg.datasets.data_file import NAME, SPLITS, DataFile, data_file, read_data_file
from psa_seg.datasets.folder import split_pairs
from psa_seg.datasets.headers import header
from psa_seg.datasets.labels import IGNORED
from psa_seg.datasets.transforms import MASK_LOADERS
from psa_seg.engine.doctor.classes import heads
from psa_seg.engine.doctor.data import leaves
from psa_seg.engine.doctor.masks import counts_of
from psa_seg.errors import UserError
from psa_seg.files import missing
from psa_seg.registry import name_of

TYPICAL = 64  # images, spread over the set, of which the commonest size is that of all
MOST_UNNAMED = 64  # classes; more values than that are a photograph's
OTHER_SIZES = {"RandomChoiceResize", "ResizeShortestEdge", "ResizeToMultiple", "RandomMosaic"}


def find_data(path: str, classes: str | None = None) -> DataFile:
    """The data set at `path`: a data.yaml, a folder with one, or a folder laid out as usual.

    Args:
        path: of the file or the folder.
        classes: names of the classes, `road,car`, of a folder that has no data.yaml.

    Raises:
        UserError: where there is nothing of the kind, or it is not what it must be.
    """
    given = Path(path)
    if given.is_dir() and (given / NAME).is_file():
        given = given / NAME
    if given.is_file():
        if classes:
            raise UserError(
                f"--classes beside {given}, which names them\n  do         change `names` there"
            )
        return read_data_file(given)
    if not given.is_dir():
        raise missing("--data", path, f"name a folder, or a {NAME}")
    return _of_folder(given, classes)


def _of_folder(folder: Path, classes: str | None) -> DataFile:
    """A folder with images/train, images/val, masks/train and masks/val, whose masks number."""
    splits = [split for split in SPLITS if (folder / "images" / split).is_dir()]
    if not {"train", "val"} <= {*splits}:
        raise UserError(
            f"{folder} has no {NAME}, and no images/train, images/val, masks/train, masks/val\n"
            f"  do         write a {NAME}, or have one written from what lies there:\n"
            f"             {shipped.words('doctor')} --data {shlex.quote(str(folder))}"
        )
    read: dict[str, Any] = {k: {s: f"{k}/{s}" for s in splits} for k in ("images", "masks")}
    names = [name.strip() for name in classes.split(",")] if classes else ["0", "1"]
    if len({*names} - {""}) < max(2, len(names)):
        raise UserError(
            f"--classes {classes}: give two or more names, all different\n  do         road,car"
        )
    file = replace(data_file({**read, "names": names}, folder / NAME), path=folder)
    if classes:
        return file
    counted = counts_of([pair.mask for pair in split_pairs(file, "train")], colours=False)
    found: set[int] = set()
    for one in counted:
        if not isinstance(one, dict):
            raise one
        found |= one.keys() - {IGNORED}
    if found != {*range(len(found))} or not 2 <= len(found) <= MOST_UNNAMED:
        raise UserError(
            f"masks in {folder} do not hold class numbers 0, 1, ..., but {sorted(found)[:8]} "
            f"(of {len(found)}, and maybe {IGNORED}, which is ignored)\n"
            f"  do         say what each value is, in a {NAME}; one is written by\n"
            f"             {shipped.words('doctor')} --data {shlex.quote(str(folder))}"
        )
    names = [f"class {i}" for i in range(len(found))]
    print(
        f"*** {folder} does not name its {len(found)} classes: they are called {', '.join(names)}"
    )
    print(
        "*** Give --classes, in the order of their numbers, for tables that say what is what. ***"
    )
    return replace(data_file({**read, "names": names}, folder / NAME), path=folder)


def use_data(config: Config, data: DataFile) -> None:
    """Put a data set into `config`, in place, and all that follows from it.

    Data sets, classes of every head, what is ignored, sizes of images and crops.
    """
    config.data_name = data.name
    config.data_file = data.content(portable=True)
    config.data_help = f"correct {data.path}"
    config.names_ignored = data.names_ignored
    crop = _crop(config, data)
    for split in SPLITS:
        loader = config[f"{split}_dataloader"]
        dataset = loader.dataset
        _, first = next(leaves(dataset))
        if first is not dataset and dataset.get("pipeline"):
            raise _unknown_step(config, f"the pipeline of {dataset.type}")
        pipeline = first.get("pipeline") or []
        for step in pipeline:
            if name_of(step.get("type")) in OTHER_SIZES:
                raise _unknown_step(config, step["type"])
        loader.dataset = dict(
            type="FolderDataset",
            data_root=str(data.root.resolve()),
            content={k: v for k, v in data.content().items() if k != "name"},
            split=split,
            pipeline=_sized(pipeline, data.scale, crop),
            test_mode=split != "train",
        )
    if config.get("tta_pipeline"):
        config.tta_pipeline = _sized(config.tta_pipeline, data.scale, crop)
    for _, head in heads(config.model):
        head.num_classes = len(data.names)
        head.pop("ignore_index", None)
    for name in ("val_evaluator", "test_evaluator"):
        scorers = config[name]
        for scorer in scorers if isinstance(scorers, list) else [scorers]:
            scorer.pop("ignore_index", None)
    windows = config.model.get("test_cfg") or {}
    if windows.get("mode") == "slide":
        windows.update(crop_size=crop, stride=tuple(-(-2 * side // 3) for side in crop))
    preprocessor = config.model.get("data_preprocessor")
    if preprocessor and preprocessor.get("size"):
        preprocessor.update(size=crop, seg_pad_val=IGNORED)


def _unknown_step(config: Config, what: str) -> UserError:
    return UserError(
        f"--data does not know which sizes {what} should have for these images: {config.filename}\n"
        "  do         take Resize or RandomResize in the pipelines, as those in\n"
        f"             {shipped.CONFIGS}/_base_/datasets have"
    )


def _crop(config: Config, data: DataFile) -> tuple[int, int]:
    """Rows and columns of what is trained on: as the file says, or the config's as far as fits."""
    if data.crop:
        return data.crop[::-1]
    width, height = data.scale or typical_size(data)
    size = (config.model.get("data_preprocessor") or {}).get("size") or (height, width)
    rows, columns = (size, size) if isinstance(size, int) else size
    return min(rows, height), min(columns, width)


def typical_size(data: DataFile) -> tuple[int, int]:
    """Width and height that most training images have."""
    found = split_pairs(data, "train")
    step = -(-len(found) // TYPICAL)
    sizes = Counter(header(pair.image).loaded for pair in found[::step])
    return max(sizes, key=lambda size: (sizes[size], size))


def _sized(steps: Sequence[Any], scale: Any, crop: tuple[int, int]) -> list[Any]:
    """A pipeline, or alternatives in one, for images of these sizes.

    Without a scale, images keep their own: what resizes to one is left out, and what does so at
    random does it about each image's own.
    """
    sized = (
        _sized(step, scale, crop) if isinstance(step, list) else _step(step, scale, crop)
        for step in steps
    )
    return [step for step in sized if step is not None]


def _step(step: ConfigDict, scale: tuple[int, int] | None, crop: tuple[int, int]) -> Any:
    kind, changed = name_of(step["type"]), ConfigDict(step)
    if "transforms" in step and not kind.endswith("Albu"):  # whose steps are another library's
        changed.transforms = _sized(step["transforms"], scale, crop)
    elif kind in MASK_LOADERS:
        return ConfigDict(type="LoadLabelIds")
    elif kind == "RandomResize" and scale is None:
        changed.pop("scale")
        changed.type = "RandomOwnResize"
    elif kind == "Resize" and scale is None:
        return changed if "scale_factor" in step else None
    elif kind == "Resize" and "scale_factor" in step:
        factor = changed.pop("scale_factor")
        changed.scale = tuple(round(factor * side) for side in scale or ())
    elif kind in ("RandomResize", "Resize"):
        changed.scale = scale
    elif kind in ("RandomCrop", "CenterCrop") and "crop_size" in step:
        changed.crop_size = crop if kind == "RandomCrop" else crop[::-1]
        changed.pop("ignore_index", None)
    elif kind == "Pad" and step.get("size"):
        changed.size = crop[::-1]
    return changed
