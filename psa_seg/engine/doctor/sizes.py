"""The size of what the network sees in training: given twice, by crops and by the preprocessor."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from psa_seg.engine.doctor.data import leaves, within
from psa_seg.engine.loop import split_batch
from psa_seg.registry import name_of

SIZE = "model.data_preprocessor.size"
# Options of steps that fix a size, and whether it is of columns and rows.
SIZES = {
    "RandomCrop": {"crop_size": False},
    "CenterCrop": {"crop_size": True},
    "Pad": {"size": True},
    "Resize": {"scale": True},
}
OWN = "RandomOwnResize"
VARYING = {
    *("Pad", "Resize", "RandomResize", "RandomChoiceResize", "ResizeShortestEdge"),
    "ResizeToMultiple",
}


def check_sizes(config: Config) -> list[str]:
    """What is wrong where training images are cut to another size than batches are padded to."""
    size = padded(config)
    return [
        f"training images are cut to {_text(cut)}, and batches padded to {_text(size)}: "
        f"{_share(cut, size)}\n"
        f"  where      {key} and {SIZE}\n"
        f'  do         set both: --cfg-options "{key}={_option(cut)}" "{SIZE}={_option(cut)}"'
        for key, cut in crops(config)
        if size and cut != size
    ]


def check_cut(config: Config) -> list[str]:
    """What is wrong where training images are scaled at random, and not cut to one size again."""
    if not padded(config) or next(crops(config), None) or at_once(config) < 2:
        return []
    for key, dataset in leaves(config.train_dataloader.dataset, "train_dataloader.dataset"):
        steps = dataset.get("pipeline") or []
        nested = any(not isinstance(step, dict) or step.get("transforms") for step in steps)
        kinds = [name_of(step.get("type")) for step in steps if isinstance(step, dict)]
        varying = [kind for kind in kinds if kind in VARYING - {"Pad"} or kind == OWN]
        if varying and not nested:  # what is nested may cut
            return [
                f"{config.filename}: training images come in many sizes, by {varying[0]}, and no "
                f"batch can be made of them\n  where      {key}.pipeline\n"
                "  do         put dict(type='RandomCrop', crop_size=(rows, columns)) after it"
            ]
    return []


def preprocessor(config: Config) -> dict[str, Any]:
    """The config of what makes batches of images, wherever it stands."""
    return config.model.get("data_preprocessor") or config.get("data_preprocessor") or {}


def padded(config: Config) -> tuple[int, ...]:
    """Rows and columns that batches are padded to in training; empty where they vary."""
    return seen(preprocessor(config).get("size"))


def at_once(config: Config, batch_norm: bool = False) -> int:
    """Images that are put into one batch in training.

    Raises:
        UserError: as `split_batch`, where it cannot be done.
    """
    images, micro = config.train_dataloader.batch_size, config.train_cfg.get("micro_batch_size")
    return split_batch(images, get_world_size(), micro, batch_norm).at_once


def crops(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The key, and rows and columns, of the last step of each training pipeline that fixes them."""
    yield from _of_set(config.train_dataloader.dataset, "train_dataloader.dataset")


def _of_set(dataset: Any, where: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Of a data set, or of those within it: what a wrapper's own pipeline fixes comes last."""
    own = list(_fixed(dataset.get("pipeline") or [], f"{where}.pipeline"))
    yield from own
    for key, inner in {} if own else within(dataset, where).items():
        yield from _of_set(inner, key)


def _fixed(steps: Any, where: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The last sizes that a pipeline fixes: several where it chooses, none where they vary."""
    for index, step in reversed(list(enumerate(steps))):
        place = f"{where}.{index}"
        if isinstance(step, list):  # one of several ways
            yield from _fixed(step, place)
            continue
        kind = name_of(step.get("type"))
        if step.get("transforms"):
            inner = list(_fixed(step["transforms"], f"{place}.transforms"))
            yield from inner
            if inner:
                return
        for option, turned in SIZES.get(kind, {}).items():
            size = seen(step.get(option))
            if size and step.get("keep_ratio", False) is False:
                yield f"{place}.{option}", size[::-1] if turned else size
                return
        if kind in VARYING:
            return


def seen(size: Any) -> tuple[int, ...]:
    """A size of an option, which may be one number, or none; none of what is no size."""
    if isinstance(size, int):
        return (size, size)
    two = isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2
    return tuple(size) if two else ()


def _share(cut: Sequence[int], size: Sequence[int]) -> str:
    inside = min(cut[0], size[0]) * min(cut[1], size[1]) / (size[0] * size[1])
    if cut[0] > size[0] or cut[1] > size[1]:
        return "the record would tell of a size that no batch has"
    return f"{100 * (1 - inside):.0f} % of a batch would be padding"


def _text(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _option(size: Sequence[int]) -> str:
    return f"({','.join(map(str, size))})"
