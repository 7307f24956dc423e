"""Tables and the plot of docs/reliability.md."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.soak import EVERY
from benchmarks.speed import DOCS, newest

WARM = 300  # s


def faults() -> str:
    """Kinds of faults, how many were tried, how many runs went on and ended bit-equal."""
    rows, source = newest("faults_cpu")
    lines = ["| fault | tried | ended bit-equal |", "|---|--:|--:|"]
    lines += [f"| {row['fault']} | {row['tried']} | {row['bit_equal']} |" for row in rows]
    tried, right = (sum(int(row[key]) for row in rows) for key in ("tried", "bit_equal"))
    lines += [f"| all | {tried} | {right} |", ""]
    return "\n".join([*lines, f"`python -m tests.faults`, {_about(rows[0])} (`{source}`)."])


def lost() -> str:
    """How soon two processes have ended after what befell one of them, and the first cause."""
    rows, source = newest("lost_cpu")
    lines = ["| one of two processes | all had ended after | exit status |", "|---|--:|--:|"]
    lines += [f"| {row['process']} | {row['seconds']} s | {row['status']} |" for row in rows]
    said = ["```text", *(row["said"] for row in rows), "```"]
    about = f"`python -m tests.lost`, {_about(rows[0])} (`{source}`). What was said last:"
    return "\n".join([*lines, "", about, "", *said])


def guard() -> str:
    """What looking at loss and gradients costs a step."""
    lines = ["| a step of 8 images | all of it | of that, the look | share |", "|---|--:|--:|--:|"]
    sources = []
    for name in ("guard_1_cpu", "guard_2_cpu"):
        rows, source = newest(name)
        sources.append(f"`{source}`")
        for row in rows:
            threads = row["device"].replace("1 threads", "1 thread")
            lines.append(
                f"| {row['crop']}, {row['processes']} of {threads} | {row['step_ms']} ms "
                f"| {row['guard_ms']} ms | {row['share_percent']} % |"
            )
    text = (
        "DeepLabV3+ MobileNetV2-D16; the look keeps buffers and asks the other process, too. "
        f"Medians of {rows[0]['steps']} steps; {_about(rows[0])} ({', '.join(sources)}; "
        "`python -m benchmarks.guard`). On a GPU: not measured."
    )
    return "\n".join([*lines, "", text])


def soak() -> str:
    """What a long training holds, at its beginning and at its end."""
    rows, source = newest("soak_cpu")
    warm = [row for row in rows if int(row["seconds"]) >= WARM]
    lines = ["| | after five minutes | at most since | at the end |", "|---|--:|--:|--:|"]
    for name, column, unit in (
        ("the process, resident", "resident_mib", " MiB"),
        (f"its {warm[0]['workers']} data workers, resident", "workers_mib", " MiB"),
        ("the process, open files", "open_files", ""),
        ("data workers, open files", "workers_open_files", ""),
    ):
        values = [int(row[column]) for row in warm]
        figures = (f"{value}{unit}" for value in (values[0], max(values), values[-1]))
        lines.append(f"| {name} | {' | '.join(figures)} |")
    steps, minutes = int(warm[-1]["step"]), round(int(warm[-1]["seconds"]) / 60)
    text = (
        f"The demo for {minutes} minutes, {steps} steps, {steps // EVERY} validations and "
        f"checkpoints; {_about(warm[0])} (`{source}`; `python -m benchmarks.soak`)."
    )
    return "\n".join([*lines, "", text])


def plot() -> Iterable[Path]:
    """`docs/soak.png`: memory and open files over the time of a long training."""
    rows, _ = newest("soak_cpu")
    figure, (memory, files) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    minutes = [int(row["seconds"]) / 60 for row in rows]
    of = (("", "the process"), ("workers_", f"its {rows[0]['workers']} data workers"))
    for prefix, name in of:
        held = [int(row[f"{prefix or 'resident_'}mib"]) for row in rows]
        memory.plot(minutes, held, label=name)
        files.plot(minutes, [int(row[f"{prefix}open_files"]) for row in rows], label=name)
    for axes, what in ((memory, "resident memory [MiB]"), (files, "open files")):
        axes.set(xlabel="minutes", ylabel=what, xlim=0, ylim=0)
        axes.legend(fontsize=8, frameon=False)
    path = DOCS / "soak.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    yield path


def _about(row: dict[str, str]) -> str:
    return f"{row['date']}, {row['processor']}, torch {row['torch']}"
