"""What each of several processes does for `test_cityscapes`: DATA FOLDER."""

import sys
from pathlib import Path

import torch

from psa_seg.engine import distributed, tool
from psa_seg.evaluation import CityscapesPixelMetric
from tests.evaluation.test_cityscapes import evaluate, samples_of


def main():
    data, folder = map(Path, sys.argv[1:])
    distributed.start("pytorch")
    torch.manual_seed(0)  # as in a test
    samples = list(samples_of(data))
    rank, metric = torch.distributed.get_rank(), CityscapesPixelMetric()
    figures = evaluate(metric, samples[:1] if rank == 0 else samples[1:], size=len(samples))
    found = dict(figures=figures, confusion=metric.confusion)
    torch.save(found, folder / f"rank{rank}.pth")


if __name__ == "__main__":
    tool.run(main)
