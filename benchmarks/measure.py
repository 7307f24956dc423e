"""Time and memory of a function, on a CPU or a GPU, and where figures are kept."""

import argparse
import csv
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from psa_seg.engine.describe import commit, environment

RESULTS = Path(__file__).parent / "results"
KEPT = ", memory kept"  # follows the name of a pass that was not timed `fresh`
Work = Callable[[], object]
WARMUP = 3
CYCLES = 3_000_000  # of a GPU that sleeps for a millisecond, or for a little more
LEAST_SLEEP = 3  # ms
ENOUGH_ROUNDS, ENOUGH_MS = 5, 10_000  # of a slow one


def milliseconds(
    prepare: Mapping[str, Callable[[], Work]], rounds: int, device: str, fresh: bool = False
) -> dict[str, list[float]]:
    """Times of each, in turn, round after round: what slows one slows the others, too.

    Each is prepared anew, which is not timed, and the first three rounds count for nothing.

    Args:
        prepare: by name, what gives the work to be timed.
        rounds: of all; the slowest have fewer.
        device: `cpu` or `cuda`.
        fresh: hand memory that is free back to the system before each run on a CPU (Linux), so
            that each pays for the pages it asks for, and finds none that another has left.

    Returns:
        At least two times of each; none of what ran out of memory.
    """
    times: dict[str, list[float]] = {name: [] for name in prepare}
    launching: dict[str, float] = {}  # the least that Python takes, of the first three rounds
    for turn in range(WARMUP + max(rounds, 2)):
        for name in list(times):
            if len(times[name]) >= ENOUGH_ROUNDS and sum(times[name]) > ENOUGH_MS:
                continue
            try:
                work = prepare[name]()
                if device == "cuda":
                    hidden = launching[name] if turn >= WARMUP else 0.0
                    elapsed, launched = _on_gpu(work, hidden)
                    if turn < WARMUP:
                        launching[name] = min(launched, launching.get(name, launched))
                else:
                    if fresh:
                        _hand_memory_back()
                    elapsed = _on_cpu(work)
            except torch.OutOfMemoryError:
                del times[name]
                continue
            if turn >= WARMUP:
                times[name].append(elapsed)
    return times


def _on_cpu(work: Work) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def _hand_memory_back() -> None:
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _on_gpu(work: Work, hidden: float) -> tuple[float, float]:
    """Milliseconds of the GPU, which first sleeps while Python launches, and of the launching."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    if hidden:  # and more, for no launch is like another: what is timed is the GPU's work
        torch.cuda._sleep(int((LEAST_SLEEP + 1.5 * hidden) * CYCLES))
    start.record()
    launched = _on_cpu(work)
    end.record()
    end.synchronize()
    return start.elapsed_time(end), launched


def peak_bytes(work: Work, device: str) -> int:
    """The most memory that PyTorch holds at once during `work`, above what it held before."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = work()
        peak = torch.cuda.max_memory_allocated() - before
        del kept
        return peak
    with torch.profiler.profile(profile_memory=True) as profile:
        kept = work()
    del kept
    assert profile.profiler is not None
    held = peak = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def in_a_process(
    module: str, args: Sequence[str], threads: int, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What `python -m module --one ARGS` prints as the JSON of its last line.

    Raises:
        SystemExit: with its last words, where it fails.
    """
    command = [sys.executable, "-m", module, "--one", *args]
    around = {**os.environ, "OMP_NUM_THREADS": str(threads), **(environment or {})}
    done = subprocess.run(command, env=around, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {', '.join(args)}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    """Of each side the medians over its runs, and their ratios to those of the first side."""
    found: dict[str, dict[str, float]] = {}
    first: dict[str, float] = {}
    for side, of in runs.items():
        names = ("images_per_s", "peak_mib")
        own = {name: statistics.median(run[name] for run in of) for name in names}
        first = first or own
        found[side] = {
            "images_per_s": round(own["images_per_s"], 4),
            "speed_ratio": round(own["images_per_s"] / first["images_per_s"], 3),
            "peak_mib": round(own["peak_mib"]),
            "memory_ratio": round(own["peak_mib"] / first["peak_mib"], 3),
        }
    return found


def resident(field: str, process: int | str = "self") -> int:
    """Bytes that a process holds now (`VmRSS`), or held at most so far (`VmHWM`)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """p20, p50 and p80, in ms."""
    deciles = statistics.quantiles(times, n=10)
    named = {"p20_ms": deciles[1], "p50_ms": statistics.median(times), "p80_ms": deciles[7]}
    return {name: round(value, 4) for name, value in named.items()}


def about(device: str) -> dict[str, Any]:
    """Date, hardware and versions."""
    machine = environment()
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.check_output(query, text=True).split()[0] if device == "cuda" else "none"
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "none"
    return {
        "date": date.today().isoformat(),
        "device": machine.device if device == "cuda" else f"{torch.get_num_threads()} threads",
        "processor": machine.processor,
        "driver": driver,
        "psa_seg": machine.packages["psa-seg"],
        "commit": commit(),
        "torch": machine.packages["torch"],
        "triton": triton,
    }


def write(
    rows: Iterable[dict[str, Any]], name: str, device: str, out: Path
) -> list[dict[str, Any]]:
    """Print `rows` as they come, keep them in `NAME_DEVICE_DATE.csv` in `out`, and return them.

    With hardware and versions in each row. Until the last has come, the file ends in `.part`.
    """
    facts = about(device)
    path = out / f"{name}_{'gpu' if device == 'cuda' else 'cpu'}_{facts['date']}.csv"
    if path.exists():
        raise SystemExit(
            f"error: {path} exists already, and is not overwritten: move it, or name another --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"error: --out {out} cannot be made: {error.strerror}") from error
    part, written = path.with_suffix(".part"), []
    with part.open("w", newline="") as file:
        writer: csv.DictWriter | None = None
        for row in rows:
            print(*row.values(), sep="\t", flush=True)
            if writer is None:
                writer = csv.DictWriter(file, [*row, *facts])
                writer.writeheader()
            writer.writerow(row | facts)
            file.flush()
            written.append(row)
    part.replace(path)
    print(f"wrote {path}; README's tables and plots follow with: python -m benchmarks.tables")
    return written


def options(description: str | None) -> argparse.ArgumentParser:
    """What every benchmark takes: `--out`, `--device`, `--rounds`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="Folder for the CSV (default: benchmarks/results).",
    )
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default=found,
        help="Where to compute (default: cuda if there is a GPU; here %(default)s).",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=15,
        help="Rounds of each case, at least 2 (default: %(default)s).",
    )
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, with a GPU where one is asked for.

    Raises:
        SystemExit: with one message, for those that cannot be followed.
    """
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU here")
    return args
