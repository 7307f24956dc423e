"""Of several processes one fails: all end, and what is said last is which, and why."""

import os
import platform
import re
import shutil
import socket
import time

import pytest
import torch
from torch.distributed import DistBackendError
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.utils.data import DataLoader, Dataset

from psa_seg.engine import causes, failing, lock, prepare, tool, torchrun, work_dir
from psa_seg.errors import DataError, DivergedError, UserError
from tests import lost
from tests.conftest import ROOT
from tests.faults import differences
from tests.together import end_all, together

HERE = f"error: process 1 on {platform.node()}"
BOUND_S = 20  # for what may take 600


@pytest.fixture
def job(streets, tmp_path):
    """A function: a fault of `befalling` → how the training of two processes ends, and where."""

    def job(what, **options):
        path = lost.config(what, streets, tmp_path, silence=3)
        command = [ROOT / "tools/train.py", path.name]
        return together(*command, folder=tmp_path, timeout=BOUND_S + 20, **options)

    yield job
    end_all()


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("raises", 1, f"{HERE}: IndexError: list index out of range\n  in +.*befalling.py:\\d+"),
        ("broken", 2, r"error: process [01] on .*_leftImg8bit.png(.|\n)*\n  do .*"),
        ("hangs", 1, f"{HERE} does not answer, or has ended\n  why +process 0 .* Timed out(.|\n)*"),
    ],
)
def test_all_end_and_the_last_lines_are_the_cause(job, what, status, said):
    began = time.monotonic()
    done = job(what)
    assert time.monotonic() - began < BOUND_S
    assert done.returncode == status
    end = done.stderr[done.stderr.rindex("error: ") :]
    assert re.fullmatch(f"{said}\n", end), done.stderr
    assert done.stderr.count("error: ") == 1
    assert done.stderr.count("Traceback") == (what == "raises"), "a failure's, and no other's"
    assert "gloo" not in done.stderr
    assert "interrupted" not in done.stdout


def test_as_a_user_has_it(streets):
    """Not forked; the second process has one that loads data, which must end with it."""
    row = lost.trial("killed", streets)
    assert (row["status"], row["said"]) == (137, "error: process 1 on node7 was killed by SIGKILL")
    assert row["seconds"] < BOUND_S


def test_the_cause_is_told_on_every_machine_and_all_start_again(job):
    for done in job("killed", machines=2, processes=1, restarts=1):
        assert done.returncode == 0
        assert done.stderr.count("error: ") == done.stderr.count("restart 1 of 1") == 1
        assert f"{HERE} was killed by SIGKILL\n" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"NNODES": "two"}, "'two'"), ({"NNODES": "2", "MASTER_PORT": "PORT"}, "address already in")],
)
def test_machines_that_cannot_meet(monkeypatch, capsys, environment, said):
    with socket.create_server(("", 0)) as server:
        for name, value in environment.items():
            monkeypatch.setenv(name, value.replace("PORT", f"{server.getsockname()[1]}"))
        with pytest.raises(SystemExit) as status:
            torchrun.machines()
    assert status.value.code == 2
    assert said in capsys.readouterr().err


def test_killed_it_is_started_again_and_ends_bit_equal(job, tmp_path):
    """Without a --work-dir: in the one that it had, beside another run's."""
    ends = []
    for what in ("nothing", "killed"):
        done = job(what, restarts=2)
        assert done.returncode == 0, done.stderr
        again = what == "killed"
        assert done.stderr.count(f"{HERE} was killed by SIGKILL") == again
        assert done.stderr.count("restart 1 of 2") == again
        work = tmp_path / ("work_dirs/own_2" if again else "work_dirs/own")
        ends.append(torch.load(work / "iter_3.pth", weights_only=False))
        shutil.rmtree(tmp_path / "data")
        (tmp_path / "befallen").unlink()
    assert len(list((tmp_path / "work_dirs").iterdir())) == 2
    assert "resumed epoch: 0, iter: 1" in done.stdout
    for part in ("state_dict", "optimizer"):
        assert not list(differences(ends[0][part], ends[1][part]))


def test_torchrun_itself_starts_it_again(job, tmp_path):
    done = job("killed", restarts=1, alone=True)
    assert done.returncode == 0, done.stderr
    assert "resumed epoch: 0, iter: 1" in done.stdout
    assert [path.name for path in (tmp_path / "work_dirs").iterdir()] == ["own"]


def test_without_torchrun_no_process_goes_on(job, tmp_path):
    assert job("orphaned").returncode == -9
    said, deadline = tmp_path / "0.out", time.monotonic() + BOUND_S
    while "interrupted (torchrun was killed) after step 2 of 3" not in said.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sorted(tmp_path.glob("work_dirs/own/*.pth")) == [tmp_path / "work_dirs/own/iter_2.pth"]


def test_a_mistake_of_all_is_said_once_and_not_made_again(tmp_path):
    command = [ROOT / "tools/train.py", ROOT / "configs/psa_deeplabv3plus_cityscapes.py"]
    data = [f"{name}_dataloader.dataset.data_root=nowhere" for name in ("train", "val")]
    more = ["--work-dir", "work", "--cfg-options", *data]
    done = together(*command, *more, folder=tmp_path, restarts=2)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1
    assert "\nerror: Cityscapes: nothing in nowhere/leftImg8bit/train" in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "work").exists()


def test_where_a_restarted_run_is(monkeypatch, tmp_path):
    """In the directory that this job has worked in, whatever the options are; else as at first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(lock.JOB, "this")
    for name, claim in (("run", "node 1 this"), ("run_2", "node 1"), ("run_3", "node 1 another")):
        folder = tmp_path / "work_dirs" / name
        folder.mkdir(parents=True)
        (folder / work_dir.CLAIM).write_text(claim)
        (folder / "iter_9.pth").touch()

    def begun(restarts, resume, given=None):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", f"{restarts}")
        found = prepare._begun("run", given, work_dir.TEMPLATE, resume)
        return found and found.name

    assert [begun(0, False), begun(0, True)] == [None, "run_3"]
    assert [begun(1, False), begun(1, True)] == ["run", "run"]
    assert [begun(1, False, f"work_dirs/{name}") for name in ("run", "run_2")] == ["run", None]
    monkeypatch.setenv(lock.JOB, "that")
    assert [begun(1, False), begun(1, True)] == [None, "run_3"], "it was killed before it began"
    assert lock.me().split()[2] == "that"


def failed(**exits):
    """Failures as torchrun hands them on, the first first: r1=-9."""
    return {int(r[1:]): ProcessFailure(int(r[1:]), 0, code, "none") for r, code in exits.items()}


def note(rank, at, lost=False, status=1):
    return failing.Note(rank, at, status, f"what {rank} says", lost, trace="")


@pytest.mark.parametrize(
    ("notes", "failures", "status", "words"),
    [
        ([note(2, 7), note(3, 5, status=2)], failed(r2=1), 2, "what 3 says"),
        ([note(0, 5, True), note(2, 7)], failed(r0=1), 1, "what 2 says"),
        ([note(0, 5, True)], failed(r3=-9, r0=-15), 137, "process 3 HERE was killed by SIGK"),
        ([note(0, 5, True)], failed(r3=7, r0=-15), 7, "process 3 HERE ended with exit sta"),
        ([note(0, 5, True)], failed(r0=1, r1=143), 1, "process 1 and 2 and 3 HERE does not"),
        (
            [note(r, 5, True) for r in range(4)],
            failed(r1=1),
            1,
            "a process on another machine",
        ),
        (
            [note(r, 5, True) for r in range(4)],
            failed(r1=1),
            1,
            "processes wait for each other",
        ),
        (
            [note(0, 5, True)],
            failed(r0=-15, r1=-9),
            143,
            "process 1 and 2 and 3 HERE does not",
        ),
        (
            [],
            failed(r0=-6),
            134,
            "process 0 HERE was killed by SIGABRT\n  do ",
        ),
        ([], failed(r3=-11), 139, "process 3 HERE was killed by SIGSEGV"),
        ([], failed(r0=2), 2, ""),  # argparse
        ([], failed(r0=tool.READER_LEFT), tool.READER_LEFT, ""),
        ([], failed(r0=143), 143, ""),
    ],
)
def test_which_is_the_first_cause(notes, failures, status, words):
    ordered = sorted(notes, key=lambda note: (note.lost, note.at))
    found = causes.of_this_machine(4, "another machine" in words, ordered, failures)
    assert found.status == status
    words = words and f"error: {words.replace('HERE', f'on {platform.node()}')}"
    assert found.words.startswith(words)
    assert bool(found.words) == bool(words)
    assert found.elsewhere == any(w in found.words for w in ("does not", "wait for", "SIGABRT"))


@pytest.mark.parametrize("text", ["-1", "two"])
def test_a_number_of_restarts_that_is_none(monkeypatch, capsys, text):
    monkeypatch.setattr("sys.argv", ["torchrun", "2", f"--max-restarts={text}", "tools/train.py"])
    with pytest.raises(SystemExit) as status:
        torchrun.main()
    assert status.value.code == 2
    assert f"argument --max-restarts: '{text}' is no number of times" in capsys.readouterr().err


class Failing(Dataset):
    """The process that reads it is killed, by a signal; without one it raises."""

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if not self.number:
            return [][index]
        os.kill(os.getpid(), self.number)
        time.sleep(60)


@pytest.mark.parametrize(("number", "said"), [(9, "memory runs out"), (7, "--shm-size")])
def test_a_killed_process_that_loads_data_is_a_message(number, said):
    with pytest.raises(RuntimeError) as raised:
        next(iter(DataLoader(Failing(number), num_workers=1)))
    known = failing.message(raised.value)
    assert isinstance(known, DataError)
    assert said in f"{known}"
    assert known.status not in causes.SAID, "it may go better at a second time"


def test_other_failures_are_none_of_a_users():
    with pytest.raises(RuntimeError) as raised:
        next(iter(DataLoader(Failing(11), num_workers=1)))
    for error in (raised.value, ValueError("Killed"), OSError(2, "no file")):
        assert failing.message(error) is None
    assert {UserError.status, DivergedError.status} <= causes.SAID


def test_where_a_process_that_loads_data_failed():
    with pytest.raises(IndexError) as raised:
        next(iter(DataLoader(Failing(0), num_workers=1)))
    said, where = failing._last_words(raised.value).splitlines()
    assert said == "IndexError: list index out of range"
    assert re.fullmatch(rf"  in +{re.escape(__file__)}:\d+", where)


@pytest.mark.parametrize(
    ("lost", "error"),
    [
        (True, RuntimeError("[/a/gloo/transport/tcp/pair.cc:553] Connection closed by peer")),
        (True, RuntimeError("[/a/gloo/transport/tcp/buffer.cc:129] Timed out waiting 5000ms")),
        (True, DistBackendError("ncclRemoteError: A call failed possibly due to a network error")),
        (False, DistBackendError("ncclInvalidUsage: Duplicate GPU detected : rank 0 and rank 1")),
        (False, RuntimeError("[enforce fail at /a/gloo/pair.cc:446] op.preamble.length <= nbytes")),
        (False, RuntimeError("Connection closed by peer")),  # of a user's own
    ],
)
def test_who_has_lost_another_process(lost, error):
    assert failing._is_of_connections(error) == lost


def test_wrong_arguments_are_said_once(monkeypatch):
    """By whoever started the processes: the first of them to end may not be the one that speaks."""
    monkeypatch.setenv(failing.FOLDER, "anywhere")
    parser = tool.Parser(prog="train.py")
    parser.add_argument("--seed", type=int)
    with pytest.raises(UserError, match=r"argument --seed: (.|\n)* see train.py --help"):
        parser.parse_args(["--seed", "two"])
