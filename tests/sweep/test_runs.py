"""Runs as a user has them: some at once, killed, gone on with, none twice."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import yaml

from psa_seg.engine.lock import alone
from psa_seg.engine.signals import Interrupted
from psa_seg.errors import BusyError, UserError
from psa_seg.records import read, write
from psa_seg.sweep import many, one, read_experiment, slurm
from tests.conftest import ROOT, answering_signals
from tools import sweep as sweep_tool

SWEEP = [sys.executable, str(ROOT / "tools/sweep.py")]


@pytest.fixture
def trial(tiny, tmp_path, monkeypatch):
    """Path of an experiment of two short runs; the current directory is its folder."""
    tiny("baseline_deeplabv3plus_r18_cityscapes").dump(str(tmp_path / "tiny.py"))
    read = dict(
        config="tiny.py",
        records="records",
        seeds=[0],
        attentions={"none": None, "PSA": dict(type="PolarizedSelfAttention")},
        placements={"head": {"model.decode_head.attention": "ATTENTION"}},
        options={
            "train_cfg.max_iters": 4,
            "train_cfg.val_interval": 2,
            "default_hooks.checkpoint.interval": 1,
            "default_hooks.logger.interval": 1,
        },
    )
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump(read, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return path


def test_killed_it_goes_on_and_repeats_no_finished_run(trial, tmp_path, monkeypatch, capsys):
    found = read_experiment(str(trial))
    one.train(found, found.find("none_seed0"))
    sweep = subprocess.Popen([*SWEEP, str(trial)], start_new_session=True, stdout=subprocess.PIPE)
    first, second = (tmp_path / f"records/{name}_seed0.json" for name in ("none", "psa"))
    try:
        deadline = time.monotonic() + 240
        second_began = tmp_path / "work_dirs/trial/psa_seed0/last_checkpoint"
        while not second_began.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        os.killpg(sweep.pid, signal.SIGKILL)
        sweep.communicate()
    assert first.exists()
    assert not second.exists()
    written = first.stat().st_mtime_ns

    def said(*options):
        monkeypatch.setattr(sys, "argv", [*SWEEP[1:], str(trial), *options])
        sweep_tool.main()
        return capsys.readouterr().out

    assert "2 runs, 1 finished" in said()
    assert first.stat().st_mtime_ns == written
    record = json.loads(second.read_text())
    assert [v["iteration"] for v in record["validations"]] == [2, 4]
    assert record["label"] == "PSA"
    assert cv2.imread(str(tmp_path / "records/psa_seed0.webp")).shape[1] == one.PICTURE_WIDTH
    log = (tmp_path / "work_dirs/trial/psa_seed0.log").read_text()
    assert "resumed epoch: 0, iter: " in log

    expected = ["0", "recorded", "none_seed0", "1", "recorded", "psa_seed0"]
    assert said("--list").split() == expected
    text = trial.read_text()
    trial.write_text(text.replace("seeds:", "score: road IoU\nseeds:"))
    with pytest.raises(UserError, match=r"there +score mIoU"):
        many.run_all(read_experiment(str(trial)), [""])
    kept = second.read_bytes()
    second.unlink()  # what is begun must go on as what it began as, before anything is trained
    trial.write_text(text.replace("seeds:\n- 0", "seeds:\n- 0\n- 1"))
    with pytest.raises(UserError, match=r"work_dirs/trial/psa_seed0/record.json(.|\n)*plan"):
        many.run_all(read_experiment(str(trial)), [""])
    assert not (tmp_path / "work_dirs/trial/none_seed1").exists()
    trial.write_text(text)
    second.write_bytes(kept)
    many.run_all(read_experiment(str(trial)), [""])
    write(second, replace(read(second), config_hash="another"))
    with pytest.raises(UserError, match="record of another run"):
        many.run_all(read_experiment(str(trial)), [""])


def test_runs_that_fail_are_named_after_all_others_had_their_turn(trial, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", SWEEP[1:])
    read = yaml.safe_load(trial.read_text())
    read["options"]["load_from"] = "nowhere.pth"
    trial.write_text(yaml.safe_dump(read, sort_keys=False))
    with pytest.raises(UserError, match=r"2 of 2 runs did not finish, none_seed0 first") as raised:
        many.run_all(read_experiment(str(trial)), ["", ""])
    log = str(raised.value).split("see        ")[1].splitlines()[0]
    assert "nowhere.pth" in Path(log).read_text()
    del read["options"]["load_from"]
    read["options"]["val_dataloader.dataset.data_prefix.img_path"] = "no_folder"
    trial.write_text(yaml.safe_dump(read, sort_keys=False))
    with pytest.raises(UserError, match=r"nothing in .*no_folder"):  # before any is trained
        many.run_all(read_experiment(str(trial)), ["", ""])
    del read["options"]["val_dataloader.dataset.data_prefix.img_path"]
    read["attentions"]["PSA"] = dict(type="PolarisedSelfAttention")
    trial.write_text(yaml.safe_dump(read, sort_keys=False))
    with pytest.raises(UserError, match="PolarisedSelfAttention"):  # before any is trained
        many.run_all(read_experiment(str(trial)), ["", ""])
    read["attentions"]["PSA"] = dict(type="PolarizedSelfAttention")
    for size in ("big", [64], [64, 64, 64]):
        read["options"] = {"train_dataloader.dataset.pipeline.3.crop_size": size}
        trial.write_text(yaml.safe_dump(read, sort_keys=False))
        with pytest.raises(UserError, match=rf"crop_size(.|\n)*of +run none_seed0 of {trial}"):
            many.run_all(read_experiment(str(trial)), ["", ""])
    read["options"] = {"val_evaluator.also": ["boundry"]}
    trial.write_text(yaml.safe_dump(read, sort_keys=False))
    with pytest.raises(UserError, match="no score 'boundry'"):  # before any is trained
        many.run_all(read_experiment(str(trial)), ["", ""])
    read["options"] = {"nothing.like.this": 1}
    trial.write_text(yaml.safe_dump(read, sort_keys=False))
    with pytest.raises(UserError, match="nothing reads 'nothing'"):
        many.run_all(read_experiment(str(trial)), [""])


HOLD = """
import os, time
from pathlib import Path
from psa_seg.engine.lock import alone
from psa_seg.sweep import read_experiment
found = read_experiment("trial.yaml")
with alone(Path("work_dirs/trial/none_seed0.lock"), "run none_seed0"):
    if os.fork():  # the other one is as a process that loads data, and outlives the run
        print("held", flush=True)
    time.sleep(600)
"""


def test_a_run_that_another_process_is_at_is_left_alone(trial):
    found = read_experiment(str(trial))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert b"held\n" in holder.stdout
        with pytest.raises(BusyError, match="another process is at run none_seed0"):
            one.train(found, found.find("0"))
        holder.kill()
        holder.wait()
        with alone(trial.parent / "work_dirs/trial/none_seed0.lock", "run none_seed0"):
            pass  # whatever it had forked
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()


def test_runs_of_other_processes_are_no_success(trial, monkeypatch):
    busy = [sys.executable, "-c", f"raise SystemExit({one.BUSY})"]
    popen = subprocess.Popen
    monkeypatch.setattr(many.subprocess, "Popen", lambda _, **options: popen(busy, **options))
    with pytest.raises(BusyError, match="2 of 2 runs are other processes', none_seed0 first"):
        many.run_all(read_experiment(str(trial)), ["", ""])


def test_a_signal_ends_its_runs_too(trial, monkeypatch):
    popen, begun = subprocess.Popen, []

    def start(_, **options):
        begun.append(popen([sys.executable, "-c", "import time; time.sleep(600)"], **options))
        return begun[-1]

    monkeypatch.setattr(many.subprocess, "Popen", start)
    monkeypatch.setattr(many.time, "sleep", lambda _: signal.raise_signal(signal.SIGTERM))
    with answering_signals(), pytest.raises(Interrupted) as raised:
        many.run_all(read_experiment(str(trial)), ["", ""])
    assert raised.value.number == signal.SIGTERM
    assert [one.wait(60) for one in begun] == [-signal.SIGTERM] * 2


def test_progress_is_of_this_sitting(tmp_path):
    tally = many.Tally({"a": 100, "b": 100, "c": 100})
    for name in ("iter_60.pth", "iter_9.pth", "best_iter_80.pth", "iter_70.pth.kept"):
        (tmp_path / name).touch()
    tally.goes_on("a", many._resumed_from(tmp_path))
    tally.goes_on("b", many._resumed_from(tmp_path / "nowhere"))
    assert (tally.done, tally.total) == (0, 240), "what was done before is no speed"
    tally.comes_to("a", 80)
    tally.comes_to("b", 30)
    assert (tally.done, tally.total) == (50, 240)
    tally.ends("a", finished=True)
    tally.ends("b", finished=False)
    assert (tally.done, tally.total) == (70, 170), "what will not be made is not waited for"


def test_how_far_a_run_has_come_is_of_this_sitting(tmp_path):
    for time_of_day, lines in (("20260101_000000", (8, 9)), ("20260102_000000", (4, 5))):
        log = tmp_path / time_of_day / "vis_data/scalars.json"
        log.parent.mkdir(parents=True)
        log.write_text("".join(json.dumps({"step": step}) + "\n" for step in lines) + '{"st')
    assert many._step(tmp_path, 0.0) == 5
    assert many._step(tmp_path, time.time() + 60) == 0


def test_a_run_is_found_by_name_and_number(trial):
    found = read_experiment(str(trial))
    assert found.find("1") == found.find("psa_seed0") == found.runs[1]
    with pytest.raises(UserError, match="has no run 2"):
        found.find("2")


def test_slurm_gets_a_task_for_each_missing_run(trial, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/sweep.py"])
    found = read_experiment(str(trial))
    found.record_of(found.runs[0]).parent.mkdir()
    found.record_of(found.runs[0]).write_text("{}")
    script = slurm.array_script(found)
    assert "#SBATCH --array=0-0\n" in script
    assert "runs=(psa_seed0)" in script
    assert (
        f'tools/sweep.py {trial} --work-dirs work_dirs --run "${{runs[$SLURM_ARRAY_TASK_ID]}}"'
        in script
    )
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_places(monkeypatch):
    assert many.places(None, 2) == ["", ""]
    monkeypatch.setattr(many.torch.cuda, "device_count", lambda: 2)
    assert many.places(None, 1) == ["0", "1"]
    assert many.places([1], 3) == ["1", "1", "1"]
    with pytest.raises(UserError, match="--gpus 2: PyTorch sees 2 GPU"):
        many.places([2], 1)
    with pytest.raises(UserError, match="it must be at least 1"):
        many.places(None, 0)
