"""Whether two models differ, from scores that share their seeds.

Equal seeds mean equal starts and equal crops, so what is tested is the difference seed by seed: a
paired t-test (Student 1908), and Holm's correction (Holm 1979, Scand. J. Statist. 6:65) for several
models compared with one baseline.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05
BETTER, WORSE = "better", "worse"
UNDECIDED, UNTESTED = "no significant difference", "not tested"


class Comparison(NamedTuple):
    """A model against the baseline, in the unit of the scores.

    NaN where the spread cannot be known: of one pair, and of differences that are all the same.
    """

    seeds: tuple[int, ...]  # that both have
    difference: float  # mean, positive where the model scores higher
    low: float  # of the 95 % interval
    high: float
    p: float  # corrected for all that were to be compared
    tests: int  # how many those are
    needed: float  # the smallest difference that would be significant, at this spread
    verdict: str  # by the corrected p


def compare(
    models: Mapping[str, Mapping[int, float]],
    baseline: Mapping[int, float],
    planned: int | None = None,
) -> dict[str, Comparison]:
    """Compare every model with the baseline.

    Args:
        models: by name, scores by seed.
        baseline: scores by seed.
        planned: how many comparisons were settled beforehand; by default, those that can be made.
            Of some that are not made yet, Holm's correction takes p to be 1.

    Returns:
        By name: a comparison over the seeds that model and baseline share. `needed` is the critical
        difference at level 0.05 / comparisons, the first and strictest of Holm's.
    """
    shared = {
        name: tuple(sorted(scores.keys() & baseline.keys())) for name, scores in models.items()
    }
    differences = {
        name: np.array([models[name][seed] - baseline[seed] for seed in seeds])
        for name, seeds in shared.items()
    }
    corrected = holm([_p(values) for values in differences.values()], planned)
    tests = max(planned or 0, len(corrected) - int(np.isnan(corrected).sum()), 1)
    result = {}
    for (name, values), p in zip(differences.items(), corrected, strict=True):
        mean, error = _mean_and_error(values)
        freedom = max(len(values) - 1, 1)
        half = stats.t.ppf(1 - LEVEL / 2, freedom) * error
        verdict = UNTESTED if np.isnan(p) else UNDECIDED
        if p <= LEVEL:
            verdict = BETTER if mean > 0 else WORSE
        result[name] = Comparison(
            seeds=shared[name],
            difference=mean,
            low=mean - half,
            high=mean + half,
            p=p,
            tests=tests,
            needed=stats.t.ppf(1 - LEVEL / (2 * tests), freedom) * error,
            verdict=verdict,
        )
    return result


def holm(p: Sequence[float], planned: int | None = None) -> list[float]:
    """Holm's step-down correction; NaN, a comparison that could not be made, does not count.

    Args:
        p: of each comparison.
        planned: how many there will be; by default, as many as are made.
    """
    made = sorted((value, index) for index, value in enumerate(p) if not np.isnan(value))
    total = max(planned or 0, len(made))
    corrected, least = [float("nan")] * len(p), 0.0
    for rank, (value, index) in enumerate(made):
        least = max(least, min((total - rank) * value, 1.0))
        corrected[index] = least
    return corrected


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    if len(values) == 0:
        return float("nan"), float("nan")
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    error = spread / np.sqrt(len(values)) if spread else float("nan")
    return float(values.mean()), float(error)


def _p(values: np.ndarray) -> float:
    mean, error = _mean_and_error(values)
    if np.isnan(error):
        return float("nan")
    return float(2 * stats.t.sf(abs(mean / error), len(values) - 1))
