"""The command-line tools as a user runs them."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import cv2
import pytest
import torch
from torch.utils.data import DataLoader

from psa_seg.engine import demo, launch, tool
from psa_seg.engine.pictures import GAP
from psa_seg.errors import UserError
from psa_seg.records import read, write
from tests.conftest import ROOT
from tools import leaderboard as leaderboard_tool
from tools import test as test_tool
from tools import train as train_tool

MAIN = str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py")
QUICK = {"train_dataloader.batch_size": 2, "train_cfg.val_interval": 2}
for loader in ("train", "val", "test"):
    QUICK[f"{loader}_dataloader.num_workers"] = 0


@pytest.fixture
def call(monkeypatch, tmp_path, streets):
    """A function: run a tool's main in an empty folder, its demo on a few scenes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "prepare", lambda root: streets)

    def call(tool, *arguments, **options):
        pairs = [f"{key}={value}" for key, value in (QUICK | options).items()]
        monkeypatch.setattr(sys, "argv", ["tool", *arguments, "--cfg-options", *pairs])
        tool.main()

    return call


def test_demo_trains_resumes_tests_and_makes_a_board(call, tmp_path, capsys, monkeypatch):
    call(train_tool, MAIN, "--demo", "--seed", "3", **{"train_cfg.max_iters": 2})
    assert "SYNTHETIC" in capsys.readouterr().out
    work_dir = tmp_path / "work_dirs/psa_deeplabv3plus_cityscapes_demo_seed3"

    with pytest.raises(UserError, match=r"param_scheduler.0.end is 2 there, and 4 here"):
        call(train_tool, MAIN, "--demo", "--resume", "--seed", "3", **{"train_cfg.max_iters": 4})
    longer = {"train_cfg.max_iters": 4, "param_scheduler.0.end": 2}
    call(train_tool, MAIN, "--demo", "--resume", "--seed", "3", **longer)
    assert not work_dir.with_name(f"{work_dir.name}_2").exists()
    stopped = read(work_dir / "record.json")  # between the checkpoint and its validation
    write(work_dir / "record.json", replace(stopped, validations=stopped.validations[:-1]))
    save_best = {"default_hooks.checkpoint.save_best": "mIoU"}
    call(train_tool, MAIN, "--demo", "--resume", "--seed", "3", **longer, **save_best)
    record = json.loads((work_dir / "record.json").read_text())
    assert [v["iteration"] for v in record["validations"]] == [2, 4]
    assert (record["seed"], record["iterations"], record["val_images"]) == (3, 4, 4)
    assert record["data"] == "synthetic street scenes"
    for name in ("curves.png", "samples.png", "confusion.png"):
        assert cv2.imread(str(work_dir / name)) is not None, name

    with pytest.raises(UserError, match="with seed 3, not 0"):
        call(train_tool, MAIN, "--demo", "--resume", "--work-dir", str(work_dir))

    checkpoint = str(work_dir / "iter_4.pth")
    call(test_tool, MAIN, checkpoint, "--demo", "--show-dir", "shown")
    assert f"mIoU: {record['mIoU']:.4f}" in capsys.readouterr().out
    panels = sorted((tmp_path / "shown").glob("*.png"))
    assert len(panels) == 4
    panel = cv2.imread(str(panels[0]))
    assert panel.shape[1] == 4 * 256 + 3 * GAP
    assert panel.shape[0] > 128, "headings, and a legend"
    (table,) = (work_dir / "test").rglob("classes.csv")
    assert cv2.imread(str(table.with_name("confusion.png"))) is not None
    with pytest.raises(UserError, match=r"checkpoint is a demo's(.|\n)*--demo is among them"):
        call(test_tool, MAIN, checkpoint)

    call(test_tool, MAIN, checkpoint, "--demo", "--tta")
    assert "mIoU: " in capsys.readouterr().out

    call(train_tool, MAIN, "--demo", "--seed", "3", **longer)
    figures = [p for p in work_dir.parent.rglob("*.json") if p.name != "record.json"]
    assert any(path.is_relative_to(work_dir / "test") for path in figures), (
        "as README's start has it"
    )
    monkeypatch.setattr(sys, "argv", ["tool", "work_dirs", "--out", "board"])
    leaderboard_tool.main()
    printed = capsys.readouterr()
    assert printed.err.count("left out: a second record of the run in") == 1
    assert f"{work_dir.name}_2/record.json" in printed.err
    row = (tmp_path / "board/leaderboard.md").read_text().splitlines()[4]
    assert row.startswith(f"| PolarizedSelfAttention, head | {record['mIoU']:.2f} ± ? | 1 |")


def test_config_that_says_resume_is_obeyed(call, monkeypatch):
    seen = []
    monkeypatch.setattr(launch, "train", seen.append)
    call(train_tool, MAIN, "--demo", resume=True)
    assert seen[0].config.resume is True


def test_resume_without_a_run_is_no_fresh_start(call):
    with pytest.raises(UserError, match=r"nothing to resume: no checkpoint in /.*/typo"):
        call(train_tool, MAIN, "--demo", "--resume", "--work-dir", "typo")


def run(tool, *arguments, cwd, **environment):
    """A tool in a process of its own, as nothing but the tool has set it up."""
    command = [sys.executable, str(ROOT / "tools" / tool), *arguments]
    inherited = {k: v for k, v in os.environ.items() if k != "CITYSCAPES_ROOT"}
    environment = inherited | environment
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_options_that_make_no_sense(call, capsys):
    with pytest.raises(UserError, match="seed=-1 is no whole number of at least 0"):
        call(train_tool, MAIN, "--demo", "--seed", "-1")
    with pytest.raises(SystemExit) as status:
        call(train_tool, MAIN, "--cfg-options", "train_cfg.max_iters", "--log-to", "paper")
    assert status.value.code == 2
    assert "--cfg-options wants KEY=VALUE pairs" in capsys.readouterr().err


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    def misunderstood():
        try:
            interrupted()
        except BaseException:
            raise SyntaxError("Failed to format the config file")  # noqa: B904  as mmengine does

    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    for main in (interrupted, misunderstood):
        tool.run(main, "go on so")
        assert capsys.readouterr().out == "interrupted; go on so\n"
    assert left == [130, 130]


def test_few_cores_are_no_news():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tool.run(lambda: DataLoader([0], num_workers=999))
    assert said == []


@pytest.mark.parametrize(
    ("work", "status", "said"),
    [
        ("print('x')", tool.READER_LEFT, b""),  # `| head`: known when it is flushed
        ("print('x' * 10**6)", tool.READER_LEFT, b""),
        # A worker's, say.
        ("os.write(os.close((p := os.pipe())[0]) or p[1], b'x')", 1, b"BrokenPipeError"),
    ],
)
def test_a_reader_that_has_left_ends_a_tool_without_a_word(work, status, said):
    left, output = os.pipe()
    if not said:
        os.close(left)
    code = f"import os\nfrom psa_seg.engine import tool\ntool.run(lambda: {work})"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=output, stderr=subprocess.PIPE, cwd=ROOT, check=False
    )
    os.close(output)
    assert done.returncode == status
    assert said in done.stderr if said else not done.stderr


def test_a_users_mistake_is_one_message_and_exit_status_2(tmp_path):
    done = run("train.py", MAIN, cwd=tmp_path)
    message = "error: Cityscapes: nothing in data/cityscapes/leftImg8bit"
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_process_of_its_own_finds_every_type(tmp_path, streets):
    torch.save({"state_dict": {}}, tmp_path / "empty.pth")
    done = run("test.py", MAIN, "empty.pth", cwd=tmp_path, CITYSCAPES_ROOT=str(streets))
    assert done.returncode == 2
    assert "error: checkpoint is of another model: empty.pth" in done.stderr
    assert done.stdout.count("CITYSCAPES_ROOT=") == 1, "told once, though bases are read twice"
    assert "Warning" not in done.stdout + done.stderr
