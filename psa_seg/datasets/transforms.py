"""Loading of label maps, and pipelines without it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

MASK_LOADERS = ("LoadLabelIds", "LoadAnnotations")


@TRANSFORMS.register_module()
class LoadLabelIds(LoadAnnotations):
    """`LoadAnnotations` that applies the dataset's `label_map` in one pass.

    Upstream compares and assigns once per label, 34 passes over two million pixels.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds `gt_seg_map`, uint8 `[H, W]`, in the ids that the model is trained on."""
        label_map = results["label_map"] or {}
        table = np.arange(256, dtype=np.uint8)
        table[list(label_map)] = list(label_map.values())
        results = super().transform(results | {"label_map": None})
        results["gt_seg_map"] = table[results["gt_seg_map"]]
        return results


def without_masks(steps: Sequence[Any]) -> list[Any]:
    """A pipeline, or a list of test-time augmentations, without steps that load masks."""
    kept: list[Any] = []
    for step in steps:
        if isinstance(step, list):
            step = without_masks(step)
        elif "transforms" in step:
            step = {**step, "transforms": without_masks(step["transforms"])}
        elif step["type"] in MASK_LOADERS:
            continue
        if step:  # of alternatives none may be left
            kept.append(step)
    return kept
