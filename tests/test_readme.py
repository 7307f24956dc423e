"""README's figures are those of the results in the repository."""

from benchmarks.tables import README, render


def test_tables_are_those_of_the_results():
    readme = README.read_text()
    assert render(readme) == readme, "run: python -m benchmarks.tables"
