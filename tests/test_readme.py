"""README's figures, the leaderboard and the metafiles are those of the results in here."""

import re

import pytest

from benchmarks.measure import RESULTS
from benchmarks.speed import newest
from benchmarks.tables import PAGES, ROOT, metafiles, render
from psa_seg.engine.options import WITHOUT_UNITS
from psa_seg.leaderboard import write

REMEDY = "run: python -m benchmarks.tables"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_results(page):
    assert render(page) == page.read_text(), REMEDY


def test_leaderboard_is_that_of_the_records(tmp_path):
    paths, left_out = write(str(RESULTS), str(tmp_path), pictures=False)
    assert left_out == []
    for path in paths:
        committed = ROOT / "docs/leaderboard" / path.name
        assert path.read_text() == committed.read_text(), REMEDY


def test_what_bfloat16_would_cost_is_what_was_measured():
    rows, _ = newest("training_cpu")
    times = {row["side"]: float(row["step_ms"]) for row in rows}  # the last crop's is the smallest
    for units, told in WITHOUT_UNITS.items():
        (fast,) = (ms for side, ms in times.items() if f"--amp, {units}" in side)
        (full,) = (ms for side, ms in times.items() if f"ours, {units}" in side)
        assert told == pytest.approx(fast / full, rel=0.05), units


def test_metafiles_are_those_of_the_records():
    configs = []
    for path, text in metafiles().items():
        assert path.read_text() == text, REMEDY
        configs += re.findall(r"^  (?:Config|Based on): (.*)$", text, re.MULTILINE)
    assert configs
    assert all((ROOT / config).is_file() for config in configs)
