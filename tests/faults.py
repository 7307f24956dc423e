"""Faults in a training, each gone on from: python -m tests.faults.

A run of a narrow network on synthetic streets: three steps, a checkpoint after each of which one is
kept, two validations, pictures. What it does to its disk is numbered: each write of a file, each
fsync, each name that a file is given or loses. Then the same run is killed (SIGKILL) before, within
and after each of these in turn, and at random moments, and its disk is full at each write. Each
goes on by itself, and must end as the run that nothing befell: weights, optimizer, losses, scores,
bit for bit. A row of the result is a kind of fault.

The process that runs is forked from this one, which has imported all.
"""

import argparse
import errno
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from mmengine.config import Config

from benchmarks.measure import RESULTS, write
from psa_seg.datasets.synthetic import prepare as draw
from psa_seg.engine import distributed, launch, prepare, tool
from psa_seg.engine.config import load_config, override
from psa_seg.engine.demo import shrink
from psa_seg.records import read
from tests import quick
from tests.forked import forked

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs/psa_deeplabv3plus_r18_cityscapes.py"
STEPS = 3
OPTIONS = {
    "train_cfg.max_iters": STEPS,
    "train_cfg.val_interval": 2,
    "default_hooks.checkpoint.interval": 1,
    "default_hooks.checkpoint.max_keep_ckpts": 1,
    "default_hooks.logger.interval": 1,
    "train_dataloader.batch_size": 4,
    **quick.CROPS,
    **{f"{loader}_dataloader.num_workers": 0 for loader in ("train", "val", "test")},
}
PHASES = ("before", "within", "after")
WRITES = ("write", "picture")


class Fault(NamedTuple):
    """What befalls a process."""

    number: int  # of the operation
    phase: str
    full: bool = False  # the disk, or the process is killed


class Operations:
    """Numbers what a process does to files below a folder, and has a fault befall it at one.

    Args:
        folder: of the run.
        fault: None to note all operations in `seen`.
    """

    def __init__(self, folder: Path, fault: Fault | None) -> None:
        self.folder, self.fault = str(folder), fault
        self.seen: list[tuple[str, str]] = []

    def install(self) -> None:
        """From now on, in this process."""
        write, save = Path.write_bytes, Figure.savefig
        for name in ("replace", "rename", "unlink", "remove", "fsync"):
            setattr(os, name, self._watched(name, getattr(os, name)))
        Path.write_bytes = self._watched("write", write)  # type: ignore[method-assign]
        picture = self._watched("picture", lambda path, figure, **more: save(figure, path, **more))
        Figure.savefig = lambda figure, path, **more: picture(path, figure, **more)  # type: ignore[method-assign]

    def _watched(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(target: Any, *args: Any, **kwargs: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{target}") if kind == "fsync" else str(target)
            there = kind not in ("unlink", "remove") or os.path.lexists(path)
            if not there or not os.path.abspath(path).startswith(self.folder):
                return function(target, *args, **kwargs)
            self.seen.append((kind, _plain(path)))
            fault = self.fault
            phase = fault.phase if fault and fault.number == len(self.seen) - 1 else ""
            if phase == "before":
                self._befall(path)
            found = function(target, *args, **kwargs)
            if phase == "within":
                if kind in WRITES:
                    os.truncate(path, os.path.getsize(path) // 2)
                self._befall(path)
            if phase == "after":
                self._befall(path)
            return found

        return watched

    def _befall(self, path: str) -> None:
        assert self.fault is not None
        if not self.fault.full:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def _plain(path: str) -> str:
    """A file's name without the number of a process."""
    return ".".join(part for part in Path(path).name.split(".") if not part.isdecimal())


class Trial:
    """A run that is tried again and again.

    Args:
        folder: for its data, and for a work directory each.
        processes: that train together.
    """

    def __init__(self, folder: Path, processes: int = 1) -> None:
        self.folder, self.processes = folder, processes
        counts = {"train": 10, "val": 2, "test": 2}
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            self.data = draw(folder / "streets", counts=counts, size=(64, 128))
        self.port = random.randint(20000, 40000)

    def config(self, work_dir: Path) -> Config:
        """The run's, in a directory of its own."""
        config = load_config(str(CONFIG))
        shrink(config, self.data)
        override(config, OPTIONS)
        for size in (
            "train_dataloader.dataset.pipeline.3.crop_size",
            "model.data_preprocessor.size",
        ):
            override(config, {size: (64, 64)})
        config.work_dir = config.visualizer.name = str(work_dir)
        config.experiment_name = work_dir.name
        config.launcher = "none" if self.processes == 1 else "pytorch"
        config.resume = True
        return config

    def attempt(
        self, name: str, fault: Fault | None = None, kill_after: float | None = None
    ) -> tuple[int, str, list[tuple[str, str]]]:
        """Train, or go on, in `name`: exit status, what was said, and all operations.

        Args:
            name: of the work directory.
            fault: that befalls the first process.
            kill_after: seconds after which it is killed.
        """
        work, said = self.folder / name, self.folder / f"{name}.txt"
        self.port += 1
        runs = [partial(self._run, rank, work, fault) for rank in range(self.processes)]
        children = [forked(run, said, said) for run in runs]
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(children[0], signal.SIGKILL)
        _, status = os.waitpid(children[0], 0)
        for other in children[1:]:
            if os.WIFSIGNALED(status):
                os.kill(other, signal.SIGKILL)  # as torchrun does, if not so soon
            os.waitpid(other, 0)
        seen = work.with_suffix(".json")
        read = json.loads(seen.read_text()) if seen.exists() else []
        operations = [(kind, name) for kind, name in read]
        return os.waitstatus_to_exitcode(status), said.read_text(), operations

    def _run(self, rank: int, work: Path, fault: Fault | None) -> None:
        quick.all_drawn()
        operations = Operations(work, fault)
        if rank == 0:
            operations.install()
        if self.processes > 1:
            os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), MASTER_PORT=str(self.port))
            os.environ |= dict(WORLD_SIZE=str(self.processes), MASTER_ADDR="127.0.0.1")
            os.environ["LOCAL_WORLD_SIZE"] = str(self.processes)
        tool.run(lambda: self._train(work))
        if rank == 0 and fault is None:
            work.with_suffix(".json").write_text(json.dumps(operations.seen))

    def _train(self, work: Path) -> None:
        config = self.config(work)
        distributed.start(config.launcher)
        launch.train(prepare.training(config))

    def end(self, name: str) -> dict[str, Any]:
        """What a run that came to its end has left, but for times."""
        work = self.folder / name
        checkpoint = torch.load(work / f"iter_{STEPS}.pth", weights_only=False)
        losses, _ = checkpoint["message_hub"]["log_scalars"]["train/loss"].data
        record = read(work / "record.json")
        return {
            "weights": checkpoint["state_dict"],
            "optimizer": checkpoint["optimizer"],
            "losses": losses.tolist(),
            "validations": record.validations,
            "complete": record.is_complete,
            "files": sorted(p.name for p in work.iterdir() if p.suffix in (".png", ".csv", ".pth")),
        }


def differences(here: Any, there: Any, name: str = "") -> Iterator[str]:
    """Where two ends differ, in one bit at least."""
    if isinstance(here, dict) and isinstance(there, dict) and here.keys() == there.keys():
        for key in here:
            yield from differences(here[key], there[key], f"{name}.{key}")
    elif isinstance(here, torch.Tensor):
        if not torch.equal(here, there):
            yield name
    elif here != there:
        yield name


def goes_on(trial: Trial, reference: dict[str, Any], name: str, **fault: Any) -> str:
    """Let a fault befall a run, and go on: what is wrong with how that ends, if something is."""
    status, said, _ = trial.attempt(name, **fault)
    befallen = fault.get("fault")
    if befallen and befallen.full:
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        told = len(lines) == 1 and str(trial.folder) in lines[0]
        if status != 2 or not told or "Traceback" in said:
            return f"status {status} of a full disk: {said[-500:]}"
    elif status != -signal.SIGKILL and (befallen or status):  # one at random may come too late
        return f"status {status}: {said[-500:]}"
    status, said, _ = trial.attempt(name)
    if status:
        return f"going on, status {status}: {said[-500:]}"
    return ", ".join(differences(trial.end(name), reference))


@contextmanager
def trial_of(processes: int = 1) -> Iterator[tuple[Trial, list[tuple[str, str]], dict[str, Any]]]:
    """A run, what it does to its disk, and how it ends when nothing befalls it."""
    quick.mmengine.runner.runner.collect_env()  # once, for all that are forked
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder).resolve(), processes)
        status, said, operations = trial.attempt("reference")
        assert status == 0, said
        yield trial, operations, trial.end("reference")


def all_faults(operations: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Fault]]:
    """A kill before, within and after each operation, a full disk at each write."""
    for number, (kind, _) in enumerate(operations):
        for phase in PHASES:
            if phase != "within" or kind in WRITES:
                yield f"killed {phase} a {kind}", Fault(number, phase)
        if kind in (*WRITES, "fsync"):
            yield f"disk full in a {kind}", Fault(number, "within", full=True)


def main() -> None:
    """Try all, and write how many ended right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=20, help="kills at random moments")
    parser.add_argument("--of-two", type=int, default=5, help="kills of one of two processes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tried, right = Counter[str](), Counter[str]()
    began = time.monotonic()

    def note(kind: str, wrong: str) -> None:
        tried[kind] += 1
        right[kind] += not wrong
        print(f"{kind}: {wrong or 'goes on, and ends bit-equal'}", flush=True)

    with trial_of() as (trial, operations, reference):
        print(f"{len(operations)} operations", flush=True)
        for number, (kind, fault) in enumerate(all_faults(operations)):
            note(kind, goes_on(trial, reference, f"{number}", fault=fault))
        took = time.monotonic()
        trial.attempt("timed")
        took = time.monotonic() - took
        for number in range(args.random):
            after = random.uniform(0, took)
            note(
                "killed at a random moment",
                goes_on(trial, reference, f"r{number}", kill_after=after),
            )
    with trial_of(2) as (trial, operations, reference):
        chosen = list(all_faults(operations))
        for number, (_, fault) in enumerate(random.sample(chosen, args.of_two)):
            wrong = goes_on(trial, reference, f"{number}", fault=fault._replace(full=False))
            note("one of two processes killed", wrong)
    rows = ({"fault": kind, "tried": tried[kind], "bit_equal": right[kind]} for kind in tried)
    write(rows, "faults", "cpu", args.out)
    print(f"after {time.monotonic() - began:.0f} s")
    sys.exit(right != tried)


if __name__ == "__main__":
    main()
