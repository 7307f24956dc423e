"""What is imported when: commands parse first, boards need no stack, backends stay."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = ("torch", "mmengine", "mmcv", "mmseg", "cv2")
TOOLS = sorted(path.name for path in (ROOT / "tools").glob("*.py"))


def loaded(code, cwd=ROOT):
    """Which of the heavy packages Python has loaded after `code`."""
    code += f"\nimport sys; print('LOADED', *[m for m in {HEAVY} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.split("LOADED")[1].split()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tools_help_imports_nothing(tool):
    """Before its arguments are parsed; a wrong one is told as soon."""
    code = f"""
import runpy, sys
sys.argv = ["{tool}", {{}}]
try:
    runpy.run_path("tools/{tool}", run_name="__main__")
except SystemExit as error:
    assert error.code == {{}}, error.code
"""
    assert loaded(code.format('"--help"', 0)) == []
    assert loaded(code.format('"--no-such-option"', 2)) == []


def test_boards_are_made_without_the_stack(tmp_path):
    records = ROOT / "benchmarks/results"
    code = (
        f"from psa_seg.leaderboard import write; write({str(records)!r}, {str(tmp_path)!r}, True)"
    )
    assert loaded(code) == []
    page = (tmp_path / "index.html").read_text()
    assert "CamVid" in page


def test_the_attention_needs_torch_alone():
    assert loaded("from psa_seg import PolarizedSelfAttention, attend_in_blocks") == ["torch"]


def test_pictures_leave_a_notebooks_backend_alone():
    code = """
import matplotlib
matplotlib.use("svg")
import psa_seg.engine.pictures, psa_seg.registered
assert matplotlib.get_backend() == "svg"
"""
    assert "torch" in loaded(code)
