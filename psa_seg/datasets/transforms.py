"""Loading of label maps."""

from typing import Any

import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from psa_seg.datasets.labels import IGNORED
from psa_seg.errors import UserError


@TRANSFORMS.register_module()
class LoadLabelIds(LoadAnnotations):
    """`LoadAnnotations` that applies the dataset's `label_map` in one pass, and completely.

    Upstream compares and assigns once per label, 34 passes over two million pixels, and leaves
    ids that are not in the map as they are, for the loss to stumble over. A dataset without a map
    is loaded as upstream does it.

    Raises:
        UserError: for an id that the dataset's map does not have.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds `gt_seg_map`, uint8 `[H, W]`, in the ids that the model is trained on."""
        label_map = results["label_map"]
        results = super().transform(results | {"label_map": None})
        if label_map is None:
            return results
        table = np.full(256, IGNORED, np.uint8)
        known = np.zeros(256, bool)
        known[[*label_map, IGNORED]] = True
        table[list(label_map)] = list(label_map.values())
        ids = results["gt_seg_map"]
        if not known[ids].all():
            strange = np.unique(ids[~known[ids]]).tolist()
            raise UserError(
                f"label ids out of range: {strange}\n"
                f"  in         {results['seg_map_path']}\n"
                f"  expected   {min(label_map)} to {max(label_map)}, or {IGNORED}\n"
                "  do         replace that mask: the others are read as they are needed"
            )
        return results | {"gt_seg_map": table[ids]}
