"""What tests of the tools share."""

import sys

import pytest

from tools import doctor as tool


@pytest.fixture
def doctor(monkeypatch, capsys, tmp_path):
    """A function: run it → its exit status, what it prints, and what it says besides."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def doctor(*arguments):
        monkeypatch.setattr(sys, "argv", ["doctor", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            tool.main()
        return end.value.code, *capsys.readouterr()

    return doctor
