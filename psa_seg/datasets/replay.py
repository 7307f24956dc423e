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

from psa_seg.datasets.labels import IGNORED
from psa_seg.datasets.loading import NamingDataset


@DATA_SAMPLERS.register_module()
class NumberedSampler(InfiniteSampler):
    """`InfiniteSampler` that also gives each image its index in the run.

    Yields `number * len(dataset) + index`, for `NumberedDataset` to take apart. Number n goes to
    process `n % processes`: the images of one step are the same for any number of processes.
    """

    def _infinite_indices(self) -> Iterator[int]:
        for number, index in enumerate(super()._infinite_indices()):
            yield number * self.size + index


class NumberedDataset(NamingDataset):
    """A dataset whose random transforms draw from a stream of each image's own.

    Args:
        dataset: indexed by image; its transforms draw from `random` and `numpy.random`.
        seed: of the run.
        ignored: truth value of the pixels that do not count.
    """

    def __init__(self, dataset: Any, seed: int, ignored: int = IGNORED) -> None:
        super().__init__(dataset, ignored)
        self.seed = seed

    def __getitem__(self, numbered: int) -> Any:
        """The image and its annotation, as transformed at this point of the run."""
        number, index = divmod(numbered, len(self))
        random.seed(f"{self.seed} {number}")
        np.random.seed([self.seed, number])
        return self.load(index)
