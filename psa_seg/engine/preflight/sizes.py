"""The size of what the network sees in training: given twice, by crops and by the preprocessor."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config

from psa_seg.engine.preflight.data import leaves

SIZE = "model.data_preprocessor.size"


def check_sizes(config: Config) -> list[str]:
    """What is wrong where training images are cut to another size than batches are padded to."""
    size = seen(config.model.data_preprocessor.get("size"))
    findings = []
    for key, cut in crops(config):
        if size and cut and cut != size:
            findings.append(
                f"training images are cut to {_text(cut)}, and batches padded to {_text(size)}: "
                f"{_share(cut, size)}\n"
                f"  where      {key} and {SIZE}\n"
                f"  do         set both: --cfg-options {key}={_option(cut)} {SIZE}={_option(cut)}"
            )
    return findings


def crops(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The key, and rows and columns, of the last step of each training pipeline that fixes them."""
    for within, dataset in leaves(config.train_dataloader.dataset):
        for index, step in reversed(list(enumerate(dataset.get("pipeline") or []))):
            option, size = _fixed(step)
            if size:
                yield f"train_dataloader.{within}.pipeline.{index}.{option}", size
                break


def _fixed(step: Any) -> tuple[str, tuple[int, ...]]:
    """The option by which a step of a pipeline sets a size, and rows and columns of it."""
    kind = step.get("type")
    if kind == "RandomCrop":
        return "crop_size", seen(step.get("crop_size"))
    if kind == "Pad":
        return "size", seen(step.get("size"))[::-1]
    if kind == "Resize" and step.get("keep_ratio") is False:
        return "scale", seen(step.get("scale"))[::-1]
    return "", ()


def seen(size: Any) -> tuple[int, ...]:
    """A size of an option, which may be one number, or none."""
    if isinstance(size, int):
        return (size, size)
    return tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else ()


def _share(cut: Sequence[int], size: Sequence[int]) -> str:
    inside = min(cut[0], size[0]) * min(cut[1], size[1]) / (size[0] * size[1])
    if cut[0] > size[0] or cut[1] > size[1]:
        return "the record would tell of a size that no batch has"
    return f"{100 * (1 - inside):.0f} % of a batch would be padding"


def _text(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _option(size: Sequence[int]) -> str:
    return ",".join(map(str, size))
