"""README's figures, the leaderboard and the metafiles are those of the results in here."""

import re

from benchmarks.measure import RESULTS
from benchmarks.tables import README, ROOT, metafiles, render
from psa_seg.leaderboard import write

PICTURE = re.compile('data:image/webp;base64,[^"]*')  # its bytes are its encoder's
REMEDY = "run: python -m benchmarks.tables"


def test_tables_are_those_of_the_results():
    readme = README.read_text()
    assert render(readme) == readme, REMEDY


def test_leaderboard_is_that_of_the_records(tmp_path):
    for path in write(str(RESULTS), str(tmp_path), pictures=False):
        committed = ROOT / "docs/leaderboard" / path.name
        made, there = (PICTURE.sub("", file.read_text()) for file in (path, committed))
        assert made == there, REMEDY


def test_metafiles_are_those_of_the_records():
    for path, text in metafiles().items():
        assert path.read_text() == text, REMEDY
        for config in re.findall(r"^  Config: (.*)$", text, re.MULTILINE):
            assert (ROOT / config).is_file()
