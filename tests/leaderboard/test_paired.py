"""The statistics, against scipy and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from psa_seg.leaderboard.paired import BETTER, UNDECIDED, UNTESTED, WORSE, compare, holm


def by_seed(values):
    return dict(enumerate(map(float, values)))


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_interval_and_p_are_those_of_scipys_paired_test(count):
    rng = np.random.default_rng(count)
    baseline, model = rng.normal(40, 2, count), rng.normal(41, 2, count)
    found = compare({"model": by_seed(model)}, by_seed(baseline))["model"]
    test = stats.ttest_rel(model, baseline)
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert found.difference == pytest.approx((model - baseline).mean())


def test_only_shared_seeds_are_paired():
    found = compare({"model": {0: 42.0, 2: 44.0, 9: 99.0}}, {0: 40.0, 1: 0.0, 2: 41.0})["model"]
    assert (found.seeds, found.difference) == ((0, 2), 2.5)


def test_holm_by_hand():
    """Holm's own steps: the smallest of four is tested at 0.05/4, the next at 0.05/3, and so on."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    corrected = holm([0.02, math.nan, 0.03])
    assert corrected[0] == corrected[2] == 0.04
    assert math.isnan(corrected[1])


def test_false_alarms_are_one_in_twenty_for_the_whole_family():
    """Five models that equal the baseline: at least one is called different in at most 5 %."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(1000):
        scores = rng.normal(size=(6, 4))
        models = {str(index): by_seed(row) for index, row in enumerate(scores[1:])}
        found = compare(models, by_seed(scores[0])).values()
        alarms += any(comparison.verdict != UNDECIDED for comparison in found)
    assert 5 <= alarms <= 65  # 50 expected at most; 65 is two standard deviations above


def test_what_was_needed_is_where_the_verdict_turns():
    noise = np.array([-0.3, 0.1, 0.2])
    scores = np.array([40, 41, 42])
    baseline = by_seed(scores)
    needed = compare({"a": by_seed(scores + noise), "b": baseline}, baseline)["a"].needed
    for factor, verdict in ((0.99, UNDECIDED), (1.01, BETTER), (-1.01, WORSE)):
        shifted = by_seed(scores + noise + factor * needed)
        assert compare({"a": shifted, "b": baseline}, baseline)["a"].verdict == verdict


def test_one_pair_tells_nothing_and_no_pair_neither():
    found = compare(
        {"one": {0: 50.0}, "none": {5: 1.0}, "same": {0: 40.0, 1: 41.0}}, {0: 40.0, 1: 41.0}
    )
    assert found["one"].difference == 10
    assert math.isnan(found["one"].low)
    assert {comparison.verdict for comparison in found.values()} == {UNTESTED}
    assert found["none"].seeds == ()


def test_equal_differences_tell_nothing_of_their_spread():
    found = compare({"model": {0: 41.0, 1: 42.0}}, {0: 40.0, 1: 41.0})["model"]
    assert (found.difference, found.verdict) == (1.0, UNTESTED)
    assert math.isnan(found.p)
    assert math.isnan(found.low)
