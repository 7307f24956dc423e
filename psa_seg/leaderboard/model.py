"""The runs of one model, and what a table says of them."""

import math
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, median

import numpy as np

from psa_seg.records import Inference, Plan, Record


class Model:
    """The runs of one model, by seed; every figure is of the last iteration, in percent.

    Args:
        label: what tables call it.
        runs: complete records by seed.
        paths: of the records, by seed.
    """

    def __init__(self, label: str, runs: dict[int, Record], paths: dict[int, Path]) -> None:
        self.label, self.runs = label, dict(sorted(runs.items()))
        self.first = next(iter(self.runs.values()))
        self.path = paths[self.first.seed]

    def scores(self, name: str = "") -> dict[int, float]:
        """By planned seed, as of `Record.figure`; by default, the score that models compare by."""
        return {seed: run.figure(name) for seed, run in self.counted.items()}

    def mean_and_sd(self, name: str = "") -> tuple[float, float]:
        """Over planned seeds; the standard deviation of one is NaN."""
        values = np.array(list(self.scores(name).values()))
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan

    def per_class(self, seeds: Iterable[int] | None = None) -> np.ndarray:
        """IoU of each class, mean over (planned) seeds; NaN for what no pixel was or was called."""
        chosen = self.counted if seeds is None else seeds
        return np.mean([self.runs[seed].last.scores()["IoU"] for seed in chosen], axis=0)

    def curve(self) -> list[tuple[int, float]]:
        """Iteration and score of each validation, mean over planned seeds."""
        histories = [
            {v.iteration: run.figure(validation=v) for v in run.validations}
            for run in self.counted.values()
        ]
        shared = set.intersection(*(set(history) for history in histories))
        return [(i, mean(history[i] for history in histories)) for i in sorted(shared)]

    @property
    def plans(self) -> list[Plan]:
        """What was settled before each of its runs; none where nothing was."""
        return [run.plan for run in self.runs.values() if run.plan]

    @property
    def planned(self) -> tuple[int, ...]:
        """Seeds that were settled beforehand, by any of its runs; where none were, those it has."""
        return tuple(sorted({s for p in self.plans for s in p.seeds})) or tuple(self.runs)

    @property
    def counted(self) -> dict[int, Record]:
        """Its runs of planned seeds, of which every figure is."""
        return {seed: run for seed, run in self.runs.items() if seed in self.planned}

    @property
    def tested_with(self) -> frozenset[str]:
        """Labels that are tested together, its own among them; empty where nothing was planned."""
        return frozenset(label for plan in self.plans for label in plan.comparisons)

    @property
    def names(self) -> set[str]:
        """What its records call it."""
        return {run.label for run in self.runs.values()}

    def has(self, seeds: Iterable[int]) -> bool:
        """Whether it has a run of each of these seeds."""
        return self.runs.keys() >= {*seeds}

    def is_whole(self) -> bool:
        """Whether it has a run of each of its planned seeds."""
        return self.has(self.planned)

    def inference(self) -> dict[int, Inference]:
        """What one image costs, by seed."""
        return {seed: run.inference for seed, run in self.runs.items() if run.inference}

    @property
    def slowdown(self) -> float:
        """Time of inference as a multiple of the plain network's, timed in turns by each run."""
        costs = self.inference().values()
        return median(cost.milliseconds / cost.plain_milliseconds for cost in costs)

    @property
    def flops(self) -> float | None:
        """GFLOPs of one image; None where they could not be counted."""
        return self.inference()[self.first.seed].GFLOPs

    @property
    def memory(self) -> int:
        """The most memory in training, MiB."""
        return max(run.training_memory.MiB for run in self.runs.values())
