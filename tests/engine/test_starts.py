"""Starts that fail leave nothing of theirs, and take nothing of others."""

import errno
import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch
from mmengine.visualization import LocalVisBackend
from mmseg.registry import MODELS

from psa_seg.engine import launch, prepare, tool
from psa_seg.engine.loop import ReplayableTrainLoop
from psa_seg.errors import BusyError, UserError
from tests.conftest import evaluate, train

NAME = "psa_deeplabv3plus_cityscapes"


@pytest.mark.parametrize("error", [RuntimeError("out of everything"), KeyboardInterrupt()])
@pytest.mark.parametrize("there", [True, False])
def test_a_start_that_failed_takes_away_what_it_made_and_nothing_above_it(
    tiny, tmp_path, monkeypatch, there, error
):
    """A folder that was the user's stays, empty as it was; one that was made for the run goes."""
    mine = tmp_path / "mine"
    mine.mkdir()
    config = tiny(NAME)
    config.work_dir = str(mine if there else mine / "runs/first")
    run = prepare.training(config)
    assert (run.work_dir / ".run").is_file()

    def fail(run):
        raise error

    monkeypatch.setattr(launch.PairedRunner, "from_run", fail)
    with pytest.raises(type(error)):
        launch.train(run)
    assert list(tmp_path.iterdir()) == [mine]
    assert list(mine.iterdir()) == []


@pytest.mark.parametrize("wrong", ["a folder", "a scorer"])
def test_a_test_that_cannot_start_leaves_nothing(tiny, tmp_path, wrong):
    config = tiny(NAME)
    config.pop("work_dir")
    path = tmp_path / "runs/iter_1.pth"
    path.parent.mkdir()
    torch.save({"state_dict": MODELS.build(config.model).state_dict()}, path)
    (tmp_path / "file").touch()
    options = {"show_dir": str(tmp_path / ("file/below" if wrong == "a folder" else "shown"))}
    if wrong == "a scorer":
        config.test_evaluator = dict(type="Nope")
    with pytest.raises(UserError):
        evaluate(config, str(path), **options)
    assert list(path.parent.iterdir()) == [path]


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("removed", "{}/work is gone: something removed it while it was written to"),
        ("log", "No space left on device: {}/work"),
        ("scalars", "No space left on device: {}/work"),
    ],
)
def test_a_work_directory_that_fails_in_training_is_one_message(
    tiny, tmp_path, monkeypatch, capsys, what, message
):
    config = tiny(NAME, **{"train_cfg.max_iters": 2, "default_hooks.checkpoint.interval": 1})
    config.custom_hooks = []
    loop = ReplayableTrainLoop.run_iter

    def run_iter(self, batch):
        if what == "removed":
            shutil.rmtree(tmp_path / "work")
        elif what == "log":
            monkeypatch.setattr(logging.FileHandler, "flush", full)
        loop(self, batch)

    monkeypatch.setattr(ReplayableTrainLoop, "run_iter", run_iter)
    if what == "scalars":
        monkeypatch.setattr(LocalVisBackend, "add_scalars", full)
    with pytest.raises(SystemExit) as status:
        tool.run(lambda: train(config))
    assert status.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message.format(tmp_path)}\n")
    assert "Traceback" not in told


HOLD = """
import sys, time
from pathlib import Path
from psa_seg.engine.lock import alone
with alone(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_of_two_that_go_on_in_one_directory_the_second_is_told(tiny, tmp_path):
    """The first holds it until its process ends; a start that failed would have gone by itself."""
    config = tiny(NAME, **{"train_cfg.max_iters": 2, "default_hooks.checkpoint.interval": 1})
    work = tmp_path / "work"
    command = [sys.executable, "-c", HOLD, str(work / ".run")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert any(line == b"held\n" for line in holder.stdout)
        config.resume = True
        with pytest.raises(BusyError, match="another process is at the run in"):
            train(config)
        config.resume = False
        with pytest.raises(BusyError, match="another process is at the run in"):
            train(config)
        config.resume = True
        assert [path.name for path in work.iterdir()] == [".run"]
    finally:
        holder.kill()
        holder.communicate()
    train(config)
