"""Loading of label maps, pipelines without it, and Albumentations that can be replayed."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import RandomResize
from mmseg.datasets.transforms import Albu, LoadAnnotations
from mmseg.registry import TRANSFORMS

from psa_seg.datasets import masks
from psa_seg.datasets.headers import header
from psa_seg.datasets.labels import IGNORED
from psa_seg.errors import DataError
from psa_seg.registry import name_of

MASK_LOADERS = ("LoadLabelIds", "LoadAnnotations")


@TRANSFORMS.register_module()
class LoadLabelIds(LoadAnnotations):
    """`LoadAnnotations` for masks of any kind, which applies the dataset's `label_map` in one pass.

    Upstream compares and assigns once per label, 34 passes over two million pixels; it takes what
    is above 255 modulo 256, and several channels for one. An image that is to be predicted comes
    without a mask, and passes.

    Raises:
        DataError: with the path, for a mask that cannot be read, is not of its image's size, or
            holds what the dataset has no class for.
    """

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        """Adds `gt_seg_map`, uint8 `[H, W]`, in the ids that the model is trained on."""
        if results.get("seg_map_path") is None:
            return
        path, colours = results["seg_map_path"], results.get("colours", False)
        values = masks.read(Path(path), colours)
        size = results.get("ori_shape", values.shape)
        if values.shape != tuple(size):
            raise DataError(of_another_size(path, values.shape[::-1], size[::-1]))
        ids = ids_of(results)
        try:
            results["gt_seg_map"] = masks.encode(values, ids)
        except ValueError as error:
            raise DataError(unknown_values(path, str(error), ids, colours)) from None
        results["seg_fields"].append("gt_seg_map")


def ids_of(info: Mapping[str, Any]) -> dict[int, int]:
    """Class number of each value that a mask may hold, by what a dataset says of the image.

    Where it names no values, they are class numbers, and those that are none are seen later.
    """
    named = info.get("label_map") or {}
    if info.get("only_labels"):
        return dict(named)
    ids = {i: named.get(i, i) for i in range(256)}
    if info.get("reduce_zero_label"):
        ids = {i: ids[i - 1] if 0 < i < IGNORED else IGNORED for i in range(256)}
    return ids


def of_another_size(path: str, mask: Sequence[int], image: Sequence[int]) -> str:
    """The message for a mask that is not of the size of its image."""
    return (
        f"mask is not of the size of its image: {path}\n"
        f"  because    it is {mask[0]}x{mask[1]}, and the image, as it is loaded, "
        f"{image[0]}x{image[1]}\n"
        "  do         take both from the same export, at the same scale, and turned alike"
    )


def unknown_values(path: str, values: str, ids: Mapping[int, int], colours: bool) -> str:
    """The message for a mask that holds what is no class."""
    known = masks.listed(sorted(ids), colours)
    one_bit = header(Path(path)).mode == "1"
    return (
        f"mask holds what is no class: {values}\n"
        f"  in         {path}\n"
        f"  expected   {known}\n"
        "  do         name it in `values` of the data.yaml, as a class or as ignore; "
        + (
            "this mask has\n             one bit a pixel, 0 or 1"
            if one_bit
            else "values that fill\n             up between two come from smoothing, or from a "
            "JPEG: export as PNG"
        )
    )


@TRANSFORMS.register_module()
class ReplayableAlbu(Albu):
    """`Albu` whose random numbers follow from seed and step, like those of all other transforms.

    Albumentations 2 draws from generators of its own, which nothing seeds: with `Albu`, each
    attempt at a run, and each worker process, augments otherwise.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augments `img` and `gt_seg_map`; `NumberedDataset` has seeded `random`."""
        if hasattr(self.aug, "set_random_seed"):  # else it draws from `random` itself
            self.aug.set_random_seed(random.getrandbits(32))
        return super().transform(results)


def without_masks(steps: Sequence[Any]) -> list[Any]:
    """A pipeline, or a list of test-time augmentations, without steps that load masks."""
    kept: list[Any] = []
    for step in steps:
        if isinstance(step, list | tuple):
            step = without_masks(step)
        elif "transforms" in step:
            step = {**step, "transforms": without_masks(step["transforms"])}
        elif name_of(step["type"]) in MASK_LOADERS:
            continue
        if step:  # of alternatives none may be left
            kept.append(step)
    return kept


@TRANSFORMS.register_module()
class RandomOwnResize(RandomResize):
    """`RandomResize` about each image's own size.

    Args:
        ratio_range: least and greatest factor.
        **kwargs: as for `RandomResize`.
    """

    def __init__(self, ratio_range: tuple[float, float], **kwargs: Any) -> None:
        super().__init__(scale=(1, 1), ratio_range=ratio_range, **kwargs)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """The image, and what goes with it, larger or smaller."""
        self.scale = results["img"].shape[1::-1]
        return super().transform(results)
