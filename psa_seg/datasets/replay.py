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
from torch.utils.data import Dataset


@DATA_SAMPLERS.register_module()
class NumberedSampler(InfiniteSampler):
    """`InfiniteSampler` that says of each image the how manieth of the run it is, too.

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
        return self.dataset[index]
