"""README's figures, the leaderboard and the metafiles are those of the results in here."""

import re

from benchmarks.measure import RESULTS
from benchmarks.tables import README, ROOT, metafiles, render
from psa_seg.leaderboard import write

REMEDY = "run: python -m benchmarks.tables"


def test_tables_are_those_of_the_results():
    readme = README.read_text()
    assert render(readme) == readme, REMEDY


def test_leaderboard_is_that_of_the_records(tmp_path):
    paths, left_out = write(str(RESULTS), str(tmp_path), pictures=False)
    assert left_out == []
    for path in paths:
        committed = ROOT / "docs/leaderboard" / path.name
        assert path.read_text() == committed.read_text(), REMEDY


def test_metafiles_are_those_of_the_records():
    configs = []
    for path, text in metafiles().items():
        assert path.read_text() == text, REMEDY
        configs += re.findall(r"^  (?:Config|Based on): (.*)$", text, re.MULTILINE)
    assert configs
    assert all((ROOT / config).is_file() for config in configs)
