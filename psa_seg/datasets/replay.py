"""Crops that are a function of the seed and of an image's number in the run, and of nothing else.

So a run takes the same crops on one GPU and on eight, with any number of workers, and after an
interruption: the state of a random generator need not be kept, only the number of the iteration.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATA_SAMPLERS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from psa_seg.datasets.labels import IGNORED
from psa_seg.errors import DataError


@DATA_SAMPLERS.register_module()
class NumberedSampler(InfiniteSampler):
    """`InfiniteSampler` that also gives each image its index in the run.

    Yields `number * len(dataset) + index`, for `NumberedDataset` to take apart. Number n goes to
    process `n % processes`: the images of one step are the same for any number of processes.
    """

    def _infinite_indices(self) -> Iterator[int]:
        for number, index in enumerate(super()._infinite_indices()):
            yield number * self.size + index


class NumberedDataset(Dataset):
    """A dataset whose random transforms draw from a stream of each image's own.

    Args:
        dataset: indexed by image; its transforms draw from `random` and `numpy.random`.
        seed: of the run.

    Raises:
        DataError: for an image whose mask holds an id that is no class: the loss would stumble
            over it, and on a GPU without a word of where.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed, self.metainfo = dataset, seed, dataset.metainfo

    def __len__(self) -> int:
        """Images in the set."""
        return len(self.dataset)

    def __getitem__(self, numbered: int) -> Any:
        """The image and its annotation, as transformed at this point of the run."""
        number, index = divmod(numbered, len(self.dataset))
        random.seed(f"{self.seed} {number}")
        np.random.seed([self.seed, number])
        item = self.dataset[index]
        _require_ids(item["data_samples"], len(self.metainfo["classes"]))
        return item


def _require_ids(sample: SegDataSample, classes: int) -> None:
    ids = sample.gt_sem_seg.data
    strange = ids[(ids >= classes) & (ids != IGNORED)]
    if len(strange):
        raise DataError(
            f"label ids out of range: {strange.unique().tolist()}\n"
            f"  in         {sample.seg_map_path}\n"
            f"  expected   0 to {classes - 1}, or {IGNORED}, after the data set's own mapping\n"
            "  do         replace that mask: those not looked at beforehand are, when they are read"
        )
