"""Cityscapes as it is downloaded: label ids on disk, train ids in memory, no converter to run."""

from collections.abc import Sequence
from typing import Any

from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS

from psa_seg.datasets.labels import LABELS


@DATASETS.register_module()
class RawCityscapesDataset(CityscapesDataset):
    """MMSegmentation's `CityscapesDataset` over the original `*_gtFine_labelIds.png`.

    Args:
        seg_map_suffix: ending of the label files.
        **kwargs: as for `CityscapesDataset`.
    """

    def __init__(self, seg_map_suffix: str = "_gtFine_labelIds.png", **kwargs: Any) -> None:
        super().__init__(seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Label id → train id (255: ignored), or the index in a chosen subset of the classes."""
        subset = super().get_label_map(new_classes) or {}
        return {row.id: subset.get(row.train_id, row.train_id) for row in LABELS if row.id >= 0}
