"""Two gloo processes do what one does."""

import signal
import sys

import numpy as np
import pytest
import torch
from torch.distributed.elastic.multiprocessing import SignalException

from psa_seg.engine import distributed, lock, torchrun
from psa_seg.engine.loop import split_batch
from psa_seg.engine.runner import PairedRunner
from psa_seg.errors import DataError, UserError
from tests.conftest import small
from tests.engine import two_processes
from tests.engine.two_processes import counts
from tests.together import together


@pytest.fixture(scope="module")
def folder(streets, tmp_path_factory):
    """What two processes have left: rank0.pth, rank1.pth and a work directory."""
    folder = tmp_path_factory.mktemp("two")
    done = together(two_processes.__file__, streets, folder, folder=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "gloo: SyncBN needs GPUs, and is BatchNorm here" in done.stdout
    return folder


@pytest.fixture(scope="module")
def ranks(folder):
    return [torch.load(folder / f"rank{rank}.pth", weights_only=False) for rank in range(2)]


def test_every_parameter_gets_a_gradient(ranks):
    assert [rank["without gradient"] for rank in ranks] == [[], []]


@pytest.mark.parametrize("what", ["weights", "statistics"])
def test_both_processes_end_alike(ranks, what):
    """Weights after training; BatchNorm's statistics when validation begins."""
    first, second = (rank[what] for rank in ranks)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_what_befalls_one_process_all_answer_alike(folder, ranks):
    """A loss that is no number in one: no process makes the step. A signal to one: all end."""
    for rank in ranks:
        first, second, third = rank["signalled"]["states"]
        assert all(torch.equal(value, second[name]) for name, value in first.items())
        assert not all(torch.equal(value, third[name]) for name, value in first.items())
        assert rank["signalled"]["number"] == signal.SIGTERM
        path = folder / "signalled/iter_3.pth"
        assert rank["signalled"]["done"] == f"after step 3 of 9, which {path} has"
        assert path.exists()


@pytest.mark.parametrize("at_once", [8, 4])
def test_averaged_gradients_are_those_of_one_process(ranks, streets, tmp_path, at_once):
    """Two processes, two images at once, twice; one process, all eight at once, or four."""
    options = {"train_cfg.micro_batch_size": at_once}
    alone = two_processes.gradients(streets, tmp_path, **options)
    for rank in ranks:
        for name, gradient in alone.items():
            assert gradient.abs().max() > 0 or "ch_wq.bias" in name, name
            torch.testing.assert_close(rank["gradients"][name], gradient, rtol=1e-10, atol=1e-10)


def test_sharded_evaluation_counts_as_one_process_does(folder, ranks, streets, tmp_path):
    """On three images, which two processes cannot share evenly, and on four."""
    options = {"load_from": str(folder / "training/iter_2.pth"), "custom_hooks": []}
    options |= two_processes.THREE_AND_FOUR
    alone = PairedRunner.from_cfg(small(two_processes.CONFIG, streets, tmp_path, **options))
    alone.val()
    pixels = 128 * 256
    for images, ours, theirs in zip((3, 4), ranks[0]["counts"], counts(alone), strict=True):
        assert 0 < ours.sum() <= images * pixels
        assert np.array_equal(ours, theirs)


def test_the_same_step_on_any_number_of_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    splits = [split_batch(8, processes) for processes in (1, 2, 4, 8)]
    assert [(split.at_once, split.accumulated) for split in splits] == [
        (8, 1),
        (4, 1),
        (2, 1),
        (1, 1),
    ]
    splits = [split_batch(8, processes, 2) for processes in (1, 2, 4, 8)]
    assert [(split.at_once, split.accumulated) for split in splits] == [
        (2, 4),
        (2, 2),
        (2, 1),
        (1, 1),
    ]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ((8, 3), "8 images a step cannot be spread evenly over 3 process"),
        ((8, 16), "divides 8"),
        ((8, 2, 3), "3 at once"),
        ((8, 2, 0), "0 at once"),
        ((8, 2, "two"), "no whole number"),
        ((8, 1, 1), "needs two images at once"),
        ((2, 2), "needs two images at once"),  # no SyncBN without GPUs
    ],
)
def test_an_impossible_split_is_one_message(split, message):
    with pytest.raises(UserError, match=message):
        split_batch(*split)


@pytest.mark.parametrize("processes", ["iter_1.pth", "0"])
def test_a_number_of_gpus_that_is_none(monkeypatch, capsys, processes):
    monkeypatch.setattr(sys, "argv", ["torchrun", processes, "tools/test.py"])
    with pytest.raises(SystemExit) as status:
        torchrun.main()
    assert status.value.code == 2
    assert f"error: the number of GPUs (processes) is not '{processes}'" in capsys.readouterr().err


@pytest.mark.parametrize(("rank", "raised"), [("0", DataError), ("1", SystemExit)])
def test_more_processes_than_gpus_are_said_once_on_each_machine(monkeypatch, rank, raised):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(raised) as error:
        distributed.start("pytorch")
    assert raised is SystemExit or "4 processes were asked for, but" in str(error.value)


def test_a_signal_is_the_exit_status(monkeypatch, capsys):
    def asked(options):
        assert any("USR1" in option for option in options)
        raise SignalException("", signal.SIGUSR1)

    monkeypatch.setattr(torchrun, "torchrun", asked)
    set_by_it = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT")
    for name in (*set_by_it, lock.JOB, distributed.RESTARTED):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(sys, "argv", ["torchrun", "4", "tools/train.py"])
    with pytest.raises(SystemExit) as status:
        torchrun.main()
    assert status.value.code == 128 + signal.SIGUSR1
    assert capsys.readouterr().err == "", "the processes have said what they did"
