"""Datasets: importing this package registers them. The synthetic one is drawn by `synthetic`."""

from psa_seg.datasets.camvid import CamVidDataset
from psa_seg.datasets.cityscapes import RawCityscapesDataset
from psa_seg.datasets.replay import NumberedDataset, NumberedSampler
from psa_seg.datasets.transforms import LoadLabelIds

__all__ = [
    "CamVidDataset",
    "LoadLabelIds",
    "NumberedDataset",
    "NumberedSampler",
    "RawCityscapesDataset",
]
