"""What asks a training to end finds it at the end of a step, with a checkpoint; twice, at once."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.hooks import Hook

from psa_seg.engine import signals, tool
from psa_seg.engine.runner import PairedRunner
from psa_seg.engine.signals import ASKING, Interrupted
from psa_seg.records import read
from tests.conftest import ROOT, answering_signals, train
from tests.quick import CROPS

NAME = "psa_deeplabv3plus_r18_cityscapes"
OPTIONS = {
    "train_cfg.max_iters": 3,
    "param_scheduler.0.end": 3,
    "train_cfg.val_interval": 2,
    "default_hooks.checkpoint.interval": 2,
    **CROPS,
    "val_dataloader.dataset.indices": 2,
}


@pytest.fixture
def asked(tiny, tmp_path, monkeypatch):
    """A function: train, with a signal, or two, that come at a hook's point of an iteration."""
    point = {}
    built = PairedRunner.from_run

    def from_run(run):
        runner, hook = built(run), Hook()

        def come(runner, batch_idx=0, **_):
            if runner.iter == point["iteration"] and batch_idx in (0, runner.iter):
                for number in point["numbers"]:
                    signal.raise_signal(number)

        setattr(hook, point["where"], come)
        runner.register_hook(hook)
        return runner

    def asked(folder, where="before_train_iter", iteration=-1, numbers=()):
        point.update(where=where, iteration=iteration, numbers=numbers)
        config = tiny(NAME, **OPTIONS)
        config.work_dir = config.visualizer.name = str(tmp_path / folder)
        config.resume = True
        with answering_signals():
            train(config)
        return torch.load(tmp_path / folder / "iter_3.pth", weights_only=False)

    monkeypatch.setattr(PairedRunner, "from_run", staticmethod(from_run))
    return asked


def checkpoints(folder):
    return sorted(path.name for path in folder.glob("*.pth"))


def test_within_a_step_it_is_finished_and_nothing_is_lost(asked, tmp_path):
    expected = asked("whole")["state_dict"]
    for iteration, number in enumerate((signal.SIGTERM, signal.SIGUSR1)):
        with pytest.raises(Interrupted) as raised:
            asked("parts", iteration=iteration, numbers=[number])
        path = tmp_path / f"parts/iter_{iteration + 1}.pth"
        assert raised.value.number == number
        assert raised.value.done == f"after step {iteration + 1} of 3, which {path} has"
        assert path.exists()
    ended = asked("parts")
    for name, value in ended["state_dict"].items():
        assert torch.equal(value, expected[name]), name
    losses, _ = ended["message_hub"]["log_scalars"]["train/loss"].data
    assert len(losses) == 3


def test_in_a_validation_the_checkpoint_before_it_is_enough(asked, tmp_path):
    with pytest.raises(Interrupted, match="SIGHUP") as raised:
        asked("work", where="after_val_iter", iteration=2, numbers=[signal.SIGHUP])
    assert raised.value.done.startswith("in a validation, after step 2 of 3, which")
    assert checkpoints(tmp_path / "work") == ["iter_2.pth"]
    path = tmp_path / "work/record.json"
    assert not read(path).validations
    asked("work")
    record = read(path)
    assert record.is_complete
    assert [v.iteration for v in record.validations] == [2, 3], "the first is made up for"
    assert [attempt.from_step for attempt in record.attempts] == [0, 2]
    assert record.training_memory.MiB > 200


def test_a_second_signal_ends_at_once_and_a_late_one_the_pictures(asked, tmp_path):
    with pytest.raises(Interrupted) as raised:
        asked("twice", iteration=0, numbers=[signal.SIGINT, signal.SIGTERM])
    assert raised.value.done == ""
    assert checkpoints(tmp_path / "twice") == []
    with pytest.raises(Interrupted) as raised:
        asked("late", where="before_val_epoch", iteration=3, numbers=[signal.SIGTERM])
    assert checkpoints(tmp_path / "late") == ["iter_2.pth", "iter_3.pth"]
    assert not (tmp_path / "late/samples.png").exists()
    asked("late")
    assert (tmp_path / "late/samples.png").exists()


@pytest.mark.parametrize("number", ASKING)
def test_a_tool_says_so_and_exits_as_a_shell_has_it(number, capsys, monkeypatch):
    statuses = []
    monkeypatch.setattr(tool.os, "_exit", statuses.append)

    def imports():
        try:
            signal.raise_signal(number)
        except BaseException as error:  # as libraries do in their imports
            raise ImportError("no such module") from error

    def swallows():
        try:
            signal.raise_signal(number)
        except BaseException:
            signals.check()

    with answering_signals():
        for main in (imports, swallows):
            tool.run(main, "again goes on")
            name = "" if number == signal.SIGINT else f" ({number.name})"
            assert capsys.readouterr().out == f"interrupted{name}; again goes on\n"
    assert statuses == [128 + number] * 2


def test_what_is_to_outlive_its_terminal_does():
    with answering_signals(nohup=True):
        signal.raise_signal(signal.SIGHUP)
        assert signals.asked() == 0


@pytest.mark.parametrize("parent", ["TORCHELASTIC_RUN_ID", signals.HANDED_ON])
def test_a_signal_that_a_parent_hands_on_is_not_a_second_one(monkeypatch, parent):
    with answering_signals():
        signals.hold()
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setenv(parent, "1")
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(signals, "ECHO_S", 0)
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)


DEAF = """
import ctypes
from psa_seg.engine import signals
signals.PATIENCE_S = signals.PATIENCE_OF_A_SECOND_S = 0.5
signals.install()
mutex, library = ctypes.create_string_buffer(128), ctypes.CDLL(None)
print("blocked", flush=True)
library.pthread_mutex_lock(mutex)
library.pthread_mutex_lock(mutex)  # which is held: as a collective whose peer is gone
"""


def test_a_main_thread_that_answers_nothing_is_ended():
    command = [sys.executable, "-c", DEAF]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "blocked\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "interrupted (SIGTERM), and no answer: it ends\n"
    assert process.returncode == 128 + signal.SIGTERM


def test_a_signal_to_all_processes_leaves_the_data_their_workers(tiny, tmp_path):
    """... which end with the run that they load for, whoever is told first."""
    options = {"train_cfg.max_iters": 200, "train_dataloader.num_workers": 2}
    config = tiny(NAME, **OPTIONS | options | {"default_hooks.logger.interval": 1})
    config.dump(tmp_path / "config.py")
    command = ["tools/train.py", str(tmp_path / "config.py"), "--work-dir", str(tmp_path / "work")]
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        for line in process.stdout:
            if "Iter(train) [  3/200]" in line:
                break
        os.killpg(process.pid, signal.SIGTERM)
        said = process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    last = said.splitlines()[-1]
    assert last.startswith("interrupted (SIGTERM) after step ")
    assert last.endswith("has; with --resume it goes on from the last checkpoint, if there is one")
    assert last.split("which ")[1].split(" has;")[0].endswith(checkpoints(tmp_path / "work")[-1])
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("workers outlive it")
