"""What is imported when: commands parse first, boards need no stack, backends stay."""

import ast
import os
import subprocess
import sys

from tests.conftest import ROOT

HEAVY = ("torch", "mmengine", "mmcv", "mmseg", "cv2")
TOOLS = sorted(path.name for path in (ROOT / "tools").glob("*.py"))


def loaded(code, cwd=ROOT):
    """Which of the heavy packages Python has loaded after `code`."""
    code += f"\nimport sys; print('LOADED', *[m for m in {HEAVY} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.split("LOADED")[1].split()


def test_a_tools_help_imports_nothing():
    """Before its arguments are parsed; a wrong one is told as soon."""
    code = f"""
import runpy, sys
for tool in {TOOLS}:
    for option, status in ("--help", 0), ("--no-such-option", 2):
        sys.argv = [tool, option]
        try:
            runpy.run_path("tools/" + tool, run_name="__main__")
        except SystemExit as error:
            assert error.code == status, (tool, error.code)
"""
    assert loaded(code) == []


def test_the_commands_help_imports_nothing():
    """Of each, and it is called by that name."""
    code = """
import contextlib, io, sys
from psa_seg import command
for name in command.COMMANDS:
    sys.argv = ["/bin/psa-seg", name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            command.main()
        except SystemExit as error:
            assert error.code == 0, error.code
    told = said.getvalue()
    if name == "demo":
        assert told.startswith("psa-seg demo [options] is: train psa_deeplabv3plus_cityscapes --")
    else:
        assert told.startswith(f"usage: psa-seg {name} ["), name
    assert "tools/" not in said.getvalue(), said.getvalue()
"""
    assert loaded(code) == []


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


def test_nothing_here_needs_what_windows_lacks(tmp_path):
    """Nor is text read in whatever encoding a system prefers: here ASCII, there cp1252."""
    command = [sys.executable, str(ROOT / "tests/as_on_windows.py"), str(ROOT / "tools")]
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = os.environ | ascii_alone | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("ALL\n"), done.stderr


FLOORS = (  # from the ground up: a package knows those below it, and none beside it or above
    {"errors"},
    {"files", "kinds", "shipped"},
    {"ops"},
    {"attention"},
    {"registry", "records"},
    {"datasets", "evaluation", "leaderboard", "integrations"},
    {"models", "yolo"},
    {"checkpoints"},
    {"engine"},
    {"sweep", "registered"},
    {"inference"},
    {"command"},
    {"__main__"},
)
EXCEPTIONS = {("evaluation", "datasets")}  # ids of classes


def test_no_import_leads_up_or_across():
    level = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    wrong = set()
    for path in (ROOT / "psa_seg").rglob("*.py"):
        here = path.relative_to(ROOT / "psa_seg").parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                there = name.split(".")[1] if name.startswith("psa_seg.") else ""
                if there in level and there != here and level[there] >= level[here]:
                    wrong.add((here, there))
    assert wrong - EXCEPTIONS == set()
