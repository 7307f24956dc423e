"""Datasets: importing this package registers them. The synthetic one is drawn by `synthetic`."""

from psa_seg.datasets.camvid import CamVidDataset
from psa_seg.datasets.cityscapes import RawCityscapesDataset
from psa_seg.datasets.folder import FolderDataset
from psa_seg.datasets.replay import NumberedDataset, NumberedSampler
from psa_seg.datasets.transforms import LoadLabelIds, RandomOwnResize, ReplayableAlbu

__all__ = [
    "CamVidDataset",
    "FolderDataset",
    "LoadLabelIds",
    "NumberedDataset",
    "NumberedSampler",
    "RandomOwnResize",
    "RawCityscapesDataset",
    "ReplayableAlbu",
]
