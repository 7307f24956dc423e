"""A run goes on from the newest checkpoint that is whole and its own, whatever lies beside it."""

import errno
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from psa_seg.checkpoints.wholeness import damage
from psa_seg.engine import lock, prepare
from psa_seg.engine.lock import alone
from psa_seg.errors import BusyError, UserError
from tests.conftest import small, train
from tests.quick import CROPS

NAME = "psa_deeplabv3plus_r18_cityscapes"
OPTIONS = {
    "train_cfg.max_iters": 2,
    "default_hooks.checkpoint.interval": 1,
    **CROPS,
    "custom_hooks": [],
}


@pytest.fixture(scope="module")
def trained(streets, tmp_path_factory):
    """The work directory of a run of two steps, with a checkpoint of each."""
    work = tmp_path_factory.mktemp("trained") / "work"
    train(small(NAME, streets, work, **OPTIONS))
    return work


@pytest.fixture
def work(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "work"))


@pytest.fixture
def going_on(streets, work):
    """A function: the run as it would go on in `work`."""

    def going_on(must_resume=True, **options):
        config = small(NAME, streets, work, **OPTIONS | options)
        config.resume = True
        return prepare.training(config, must_resume=must_resume)

    return going_on


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def link(path):
    path.unlink()
    path.symlink_to("nowhere")


def folder(path):
    path.unlink()
    path.mkdir()


def compressed(path):
    path.unlink()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10**6))


DAMAGES = {
    "cut short": cut,
    "a bit flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "a page of a server": lambda path: path.write_text("<!DOCTYPE html><html>404</html>"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a link that leads nowhere": link,
    "a folder": folder,
    "compressed": compressed,
}


def changed(change):
    """A function: write a checkpoint anew, with what `change` makes of what it holds."""
    return lambda path: torch.save(change(torch.load(path, weights_only=False)), path)


FOREIGN = {
    "weights alone": changed(lambda held: {"state_dict": held["state_dict"]}),
    "another thing": changed(lambda held: [1, 2]),
    "of another run": changed(lambda held: held | {"meta": held["meta"] | {"seed": 7}}),
    "not finite": changed(
        lambda held: held | {"state_dict": {k: v / 0 for k, v in held["state_dict"].items()}}
    ),
}


@pytest.mark.parametrize("how", [*DAMAGES, *FOREIGN])
def test_what_is_damaged_or_anothers_is_named_kept_and_passed_over(work, going_on, how, capsys):
    (DAMAGES | FOREIGN)[how](work / "iter_2.pth")
    run = going_on()
    assert run.checkpoint == str(work / "iter_1.pth")
    assert run.passed_over == ("iter_2.pth",)
    assert f"NOTE: {work}/iter_2.pth is passed over, and kept: " in capsys.readouterr().out
    assert bool(damage(work / "iter_2.pth")) == (how in DAMAGES)
    assert os.path.lexists(work / "iter_2.pth")


@pytest.mark.parametrize("pointer", [b"", b"/elsewhere/iter_9.pth", b"\xff\xfe\0", None, "folder"])
def test_whatever_the_pointer_says(work, going_on, pointer):
    path = work / "last_checkpoint"
    path.unlink()
    if pointer == "folder":
        path.mkdir()
    elif pointer is not None:
        path.write_bytes(pointer)
    assert going_on().checkpoint == str(work / "iter_2.pth")


def test_numbers_are_numbers(work, going_on):
    (work / "iter_2.pth").rename(work / "iter_10.pth")
    shutil.copy(work / "iter_1.pth", work / "iter_9.pth")
    assert going_on().checkpoint == str(work / "iter_10.pth")


def test_it_goes_on_and_the_damaged_file_stays_beside_its_successor(work, going_on, streets):
    whole = torch.load(work / "iter_2.pth", weights_only=False)
    cut(work / "iter_2.pth")
    damaged = (work / "iter_2.pth").read_bytes()
    (work / ".iter_2.pth.12345.part").write_bytes(damaged)  # of a process that was killed
    config = small(NAME, streets, work, **OPTIONS)
    config.resume = True
    train(config)
    ended = torch.load(work / "iter_2.pth", weights_only=False)
    for name, value in ended["state_dict"].items():
        assert torch.equal(value, whole["state_dict"][name]), name
    assert (work / "iter_2.pth.kept").read_bytes() == damaged
    assert not [*work.glob(".*.part")]


def test_a_checkpoint_that_is_written_twice_is_not_put_aside(work, streets):
    """The best one writes that of its step again, with what is the best."""
    cut(work / "iter_2.pth")
    damaged = (work / "iter_2.pth").read_bytes()
    (work / "iter_2.pth.kept").write_text("of an earlier attempt")
    options = {"default_hooks.checkpoint.save_best": "mIoU", "train_cfg.val_interval": 1}
    options |= {"default_hooks.checkpoint.max_keep_ckpts": 1}
    config = small(NAME, streets, work, **OPTIONS | options)
    config.resume = True
    train(config)
    assert not damage(work / "iter_2.pth")
    assert (work / "iter_2.pth.kept").read_text() == "of an earlier attempt"
    assert (work / "iter_2.pth.1.kept").read_bytes() == damaged
    held = torch.load(work / "iter_2.pth", weights_only=False)
    assert held["message_hub"]["runtime_info"]["best_ckpt"].endswith("best_mIoU_iter_2.pth")


@pytest.mark.parametrize(
    ("option", "value", "place"),
    [
        ("filename_tmpl", "step{:06d}.pth", "work/step{:06d}.pth"),
        ("out_dir", "{}/elsewhere", "elsewhere/work/iter_{}.pth"),
    ],
)
def test_under_another_name_or_in_another_place(work, going_on, tmp_path, option, value, place):
    for step in (1, 2):
        path = tmp_path / place.format(step)
        path.parent.mkdir(parents=True, exist_ok=True)
        (work / f"iter_{step}.pth").rename(path)
    options = {f"default_hooks.checkpoint.{option}": value.replace("{}/", f"{tmp_path}/")}
    assert going_on(**options).checkpoint == str(tmp_path / place.format(2))


def test_with_no_whole_one_a_start_is_asked_for(work, going_on, capsys):
    (work / "iter_1.pth").unlink()
    cut(work / "iter_2.pth")
    with pytest.raises(UserError, match="no whole checkpoint in"):
        going_on()
    run = going_on(must_resume=False)
    assert (run.checkpoint, run.passed_over) == (None, ("iter_2.pth",))
    (work / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"other files: thesis.tex"):
        going_on(must_resume=False)


def test_of_another_run_alone_is_refused(going_on):
    with pytest.raises(UserError, match="is of a run with seed 0, not 3"):
        going_on(**{"randomness.seed": 3})


def test_a_file_that_may_not_be_read_is_not_damaged(work, going_on, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "iter_2.pth")

    monkeypatch.setattr("psa_seg.checkpoints.wholeness.zipfile.ZipFile", refused)
    with pytest.raises(UserError, match=r"Permission denied: iter_2\.pth"):
        going_on()


HOLD = """
import sys, time
from pathlib import Path
from psa_seg.engine.lock import alone
with alone(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_of_two_machines_the_second_waits_for_as_long_as_a_dead_one_seems_to_hold(
    tmp_path, monkeypatch, capsys
):
    path = tmp_path / ".run"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert any(line == b"held\n" for line in holder.stdout)
        with (
            pytest.raises(BusyError, match=f"at the run: {holder.pid} on "),
            alone(path, "the run"),
        ):
            pass
        assert "waiting" not in capsys.readouterr().out, "it is on this machine"
        monkeypatch.setattr(lock, "LEASE_S", 1)
        monkeypatch.setattr(lock.platform, "node", lambda: "elsewhere")
        with pytest.raises(BusyError), alone(path, "the run"):
            pass
        assert "is at the run, or went down: waiting for up to 1 s" in capsys.readouterr().out
        monkeypatch.setattr(lock.time, "sleep", lambda _: holder.kill() or holder.wait())
        with alone(path, "the run"):
            assert path.read_text().startswith("elsewhere ")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_said(tmp_path, monkeypatch, capsys, number):
    def refuses(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "lockf", refuses)
    with alone(tmp_path / ".run", "the run"):
        assert f"NOTE: {tmp_path} is on a disk without locks" in capsys.readouterr().out
