"""All runs of an experiment: some at once, each a process, under one progress display."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from psa_seg.errors import UserError
from psa_seg.sweep.experiment import Experiment, Run
from psa_seg.sweep.one import BUSY, configure, is_finished

POLL_SECONDS = 1.0


class Going(NamedTuple):
    """A run that is going."""

    run: Run
    process: subprocess.Popen[bytes]
    log: Path
    place: str
    task: TaskID  # of the display


def places(gpus: Sequence[int] | None, at_once: int) -> list[str]:
    """Where runs can go at one time: a GPU's number as often as it takes runs; '' is the CPU.

    Raises:
        UserError: where a GPU is asked for that is not there, or no run could go anywhere.
    """
    if at_once < 1:
        raise UserError(f"--at-once {at_once}: at least one run has to go")
    there = range(torch.cuda.device_count())
    absent = sorted(set(gpus or ()) - set(there))
    if absent:
        raise UserError(f"--gpus {absent[0]}: PyTorch sees {len(there)} GPU(s) here, from 0 on")
    numbers = [str(gpu) for gpu in (there if gpus is None else gpus)]
    return (numbers or [""]) * at_once


def run_all(experiment: Experiment, free: list[str]) -> None:
    """Train what has no record yet.

    Args:
        experiment: every run's config is looked at before the first is started.
        free: `places`.

    Raises:
        UserError: where a config or a record does not fit, or, after all others, for runs that
            failed.
    """
    waiting, steps = [], {}
    for run in experiment.runs:
        config = configure(experiment, run)
        steps[run.name] = config.train_cfg.max_iters
        if not is_finished(experiment, run, config):
            waiting.append(run)
    for number in (signal.SIGTERM, signal.SIGHUP):  # or runs would go on alone
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    ended = _train(experiment, waiting, free, steps)
    elsewhere = [one for one in ended if one.process.returncode == BUSY]
    failed = [one for one in ended if one.process.returncode not in (0, BUSY)]
    if elsewhere:
        print(f"{len(elsewhere)} runs are other processes': see --list for when they are finished")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(steps)} runs did not finish, {failed[0].run.name} first\n"
            f"  see        {failed[0].log}\n"
            "  do         mend that, and give the same command again: no finished run is repeated"
        )


def _train(
    experiment: Experiment, waiting: list[Run], free: list[str], steps: Mapping[str, int]
) -> list[Going]:
    """All that wait, to their ends, under one display; `steps` are those of every run."""
    going: list[Going] = []
    ended: list[Going] = []
    slots, before = len(free), sum(steps.values()) - sum(steps[run.name] for run in waiting)
    with _display() as display:
        say = display.console.print
        say(f"{experiment.path.stem}: {len(steps)} runs, {len(steps) - len(waiting)} finished")
        overall = display.add_task("all", total=sum(steps.values()), completed=before)
        try:
            while waiting or going:
                while waiting and free:
                    task = display.add_task(waiting[0].name, total=steps[waiting[0].name])
                    going.append(_start(experiment, waiting.pop(0), free.pop(0), slots, task))
                time.sleep(POLL_SECONDS)
                for one in [one for one in going if one.process.poll() is not None]:
                    going.remove(one)
                    ended.append(one)
                    free.append(one.place)
                    display.remove_task(one.task)
                    say(_outcome(experiment, one), f"({len(waiting) + len(going)} left)")
                done = before + sum(steps[one.run.name] for one in ended)
                for one in going:
                    come = _iteration(experiment.work_dir_of(one.run))
                    display.update(one.task, completed=come)
                    done += come
                display.update(overall, completed=done)
        finally:
            for one in going:
                one.process.terminate()
            for one in going:
                one.process.wait()
    return ended


def _display() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), speed_estimate_period=3600)


def _start(experiment: Experiment, run: Run, place: str, slots: int, task: TaskID) -> Going:
    environment = dict(os.environ)
    if place:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(place)] if visible else place
    share = max(1, torch.get_num_threads() // slots)
    environment.setdefault("OMP_NUM_THREADS", str(share))
    path = Path(f"{experiment.work_dir_of(run)}.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.open("ab")
    command = [sys.executable, sys.argv[0], str(experiment.path), "--run", run.name]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    log.close()
    return Going(run, process, path, place, task)


def _iteration(work_dir: Path) -> int:
    """How far a run has come, from the latest of its logs."""
    logs = sorted(work_dir.glob("*/vis_data/scalars.json"))
    lines = logs[-1].read_text().splitlines() if logs else []
    return max((json.loads(line)["step"] for line in lines[-2:] if line.endswith("}")), default=0)


def _outcome(experiment: Experiment, one: Going) -> str:
    if one.process.returncode == BUSY:
        return f"{one.run.name}: another process is at it"
    if one.process.returncode:
        return f"{one.run.name}: failed, see {one.log}"
    record = json.loads(experiment.record_of(one.run).read_text())
    return f"{one.run.name}: mIoU {record['mIoU']:.2f} in {record['wall_time_s'] / 60:.0f} min"
