"""All runs of an experiment: some at once, each a process, under one progress display."""

import json
import os
import subprocess
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

from psa_seg.engine import looking, signals
from psa_seg.engine.work_dir import checkpoints_in
from psa_seg.errors import BusyError, UserError
from psa_seg.records import read
from psa_seg.sweep.experiment import Experiment, Run
from psa_seg.sweep.one import BUSY, configure, is_finished, named

POLL_SECONDS = 1.0


class Going(NamedTuple):
    """A run that is going."""

    run: Run
    process: subprocess.Popen[bytes]
    log: Path
    place: str
    task: TaskID  # of the display
    since: float  # seconds since the epoch


class Tally:
    """Steps done and to be done since this command began, from which a speed is estimated.

    Steps of an earlier attempt do not count, nor those that a failed run will not make.
    """

    def __init__(self, steps: Mapping[str, int]) -> None:
        self.first, self.end = dict.fromkeys(steps, 0), dict(steps)
        self.now = dict(self.first)

    def goes_on(self, name: str, step: int) -> None:
        """A run starts, from `step`."""
        self.first[name] = self.now[name] = step

    def comes_to(self, name: str, step: int) -> None:
        """A run has come to `step`."""
        self.now[name] = max(step, self.now[name])

    def ends(self, name: str, finished: bool) -> None:
        """A run is over."""
        if finished:
            self.now[name] = self.end[name]
        else:
            self.end[name] = self.now[name]

    @property
    def total(self) -> int:
        """Steps of all that were to be trained."""
        return sum(self.end.values()) - sum(self.first.values())

    @property
    def done(self) -> int:
        """Steps made so far."""
        return sum(self.now.values()) - sum(self.first.values())


def places(gpus: Sequence[int] | None, at_once: int) -> list[str]:
    """Where runs can go at one time: a GPU's number as often as it takes runs; '' is the CPU.

    Raises:
        UserError: where a GPU is asked for that is not there, or no run could go anywhere.
    """
    if at_once < 1:
        raise UserError(f"--at-once {at_once}: it must be at least 1")
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
        BusyError: where all is well, but for runs that other processes are at.
    """
    waiting: list[Run] = []
    steps: dict[str, int] = {}
    for run in experiment.runs:
        config = configure(experiment, run)
        steps[run.name] = config.train_cfg.max_iters
        if not is_finished(experiment, run, config):
            with named(experiment, run):
                if not waiting:
                    looking.readable(config)
                if all(run.label != other.label for other in waiting):
                    looking.buildable(config)
            waiting.append(run)
    print(f"{experiment.path.stem}: {len(steps)} runs, {len(steps) - len(waiting)} finished")
    if not waiting:
        return
    order = list(steps)
    ended = _train(experiment, waiting, free, steps)
    ended.sort(key=lambda one: order.index(one.run.name))
    failed = [one for one in ended if one.process.returncode not in (0, BUSY)]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(steps)} runs did not finish, {failed[0].run.name} first\n"
            f"  see        {failed[0].log}\n"
            "  do         correct the cause, and give the same command again: no finished run is\n"
            "             repeated"
        )
    elsewhere = [one.run.name for one in ended if one.process.returncode == BUSY]
    if elsewhere:
        raise BusyError(
            f"{len(elsewhere)} of {len(steps)} runs are other processes', {elsewhere[0]} first\n"
            "  do         wait until --list has them all"
        )


def _train(
    experiment: Experiment, waiting: list[Run], free: list[str], steps: Mapping[str, int]
) -> list[Going]:
    """All that wait, each to its end, under one display."""
    going: list[Going] = []
    ended: list[Going] = []
    slots, tally = len(free), Tally({run.name: steps[run.name] for run in waiting})
    with _display() as display:
        overall = display.add_task("all", total=tally.total)
        try:
            while waiting or going:
                while waiting and free:
                    run = waiting.pop(0)
                    tally.goes_on(run.name, _resumed_from(experiment.work_dir_of(run)))
                    task = display.add_task(run.name, total=steps[run.name])
                    going.append(_start(experiment, run, free.pop(0), slots, task))
                time.sleep(POLL_SECONDS)
                for one in going:
                    step = _step(experiment.work_dir_of(one.run), one.since)
                    tally.comes_to(one.run.name, step)
                    display.update(one.task, completed=tally.now[one.run.name])
                for one in [one for one in going if one.process.poll() is not None]:
                    going.remove(one)
                    ended.append(one)
                    free.append(one.place)
                    tally.ends(one.run.name, finished=one.process.returncode == 0)
                    display.remove_task(one.task)
                    left = f"({len(waiting) + len(going)} left)"
                    display.console.print(_outcome(experiment, one), left)
                display.update(overall, completed=tally.done, total=tally.total)
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
    environment = dict(os.environ) | {signals.HANDED_ON: "1"}
    if place:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(place)] if visible else place
    share = max(1, torch.get_num_threads() // slots)
    environment.setdefault("OMP_NUM_THREADS", str(share))
    path = Path(f"{experiment.work_dir_of(run)}.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.open("ab")
    command = [*experiment.command(), "--run", run.name]
    since = time.time()
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    log.close()
    return Going(run, process, path, place, task, since)


def _resumed_from(work_dir: Path) -> int:
    """The step from which a run will go on, as far as names tell."""
    found = checkpoints_in(work_dir)
    return int(found[0].stem.rpartition("_")[2]) if found else 0


def _step(work_dir: Path, since: float) -> int:
    """How far a run has come, from the log of this attempt."""
    logs = [p for p in work_dir.glob("*/vis_data/scalars.json") if p.stat().st_mtime >= since]
    lines = max(logs).read_text().splitlines() if logs else []
    return max((json.loads(line)["step"] for line in lines[-2:] if line.endswith("}")), default=0)


def _outcome(experiment: Experiment, one: Going) -> str:
    if one.process.returncode == BUSY:
        return f"{one.run.name}: another process is at it"
    if one.process.returncode:
        return f"{one.run.name}: failed, see {one.log}"
    record = read(experiment.record_of(one.run))
    return (
        f"{one.run.name}: {record.score} {record.figure():.2f} in {record.wall_time_s / 60:.0f} min"
    )
