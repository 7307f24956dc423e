"""Loading of label maps."""

from typing import Any

import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS


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
