"""What README says in figures: what the attention costs, what it brings, and one plot of it."""

from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks import speed
from benchmarks.cases import OURS, REFERENCE, TEXTBOOK
from benchmarks.words import SUMMARY, WHY
from psa_seg.leaderboard.board import Board


def _rows() -> list[speed.Row]:
    """What forward and backward take on a GPU in bfloat16, and hold."""
    rows, _ = speed.newest("attention_gpu")
    return [r for r in rows if (r["dtype"], r["pass"]) == ("bfloat16", "forward_backward")]


def why(text: str = WHY) -> str:
    """Speed, memory and trust, each in a sentence or two."""
    rows = _rows()
    times = {(row["case"], row["shape"]): float(row["p50_ms"]) for row in rows}
    shapes = [shape for case, shape in times if case == OURS]
    slower = [times[TEXTBOOK, shape] / times[OURS, shape] for shape in shapes]
    of_se = [times[OURS, shape] / times[REFERENCE, shape] for shape in shapes]
    held = {(row["case"], row["shape"]): float(row["peak_x"]) - 2 for row in rows}
    memory = max(held[OURS, shape] / held[TEXTBOOK, shape] for shape in shapes)
    networks, _ = speed.newest("models_gpu")
    steps = {r["network"]: float(r["p50_ms"]) for r in networks if r["work"] == "training step"}
    return text.format(
        device=rows[0]["device"].split()[1],
        least=min(slower),
        most=max(slower),
        low=min(of_se),
        high=max(of_se),
        memory=100 * memory,
        head=100 * (steps["head"] / steps["plain"] - 1),
        blocks=100 * (steps["every block"] / steps["plain"] - 1),
    )


def summary(boards: list[Board], words: tuple[str, str, str] = SUMMARY) -> str:
    """What PSA brings: of each data set, the longest training that was tested."""
    heading, note, set_up = words
    lines = [heading, "|---|---|--:|--:|--:|"]
    tested = [board for board in boards if board.settled and board.baseline and board.comparisons]
    longest = {b.about.data: b for b in sorted(tested, key=lambda b: b.about.max_iterations)}
    for board in longest.values():
        about, plain = board.about, board.baseline
        assert plain is not None
        for label, found in board.comparisons.items():
            if not label.startswith("PSA") or found.difference is None:
                continue
            means = (model.mean_and_sd() for model in (plain, board.models[label]))
            cells = (
                f"{about.data}, {about.score}",
                label,
                *(f"{mean:.2f} ± {sd:.2f}" for mean, sd in means),
                f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}]",
            )
            lines.append(f"| {' | '.join(cells)} |")
    told = [
        set_up.format(
            data=b.about.data,
            network=f"{b.about.decoder} {b.about.backbone}",
            steps=b.about.max_iterations,
            seeds=max(len(found.seeds) for found in b.comparisons.values()),
        )
        for b in longest.values()
    ]
    return "\n".join([*lines, "", note + "".join(told)])


def plot() -> Path:
    """`docs/speed.png`: the textbook, ours and SE, by the size of the map."""
    rows = [row for row in _rows() if row["shape"].startswith("8x512x")]
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    names = {TEXTBOOK: "PSA, textbook", REFERENCE: "SE", OURS: "PSA, psa_seg"}
    for case, name in names.items():
        found = [row for row in rows if row["case"] == case]
        sizes = [row["shape"].split("x", 2)[2] for row in found]
        colour, line = speed.DRAWN[case]
        width = 2.5 if case == OURS else 1.4
        times = [float(row["p50_ms"]) for row in found]
        axes.semilogy(sizes, times, line, color=colour, linewidth=width, marker="o", label=name)
    axes.set_xlabel("height x width of 8 maps of 512 channels")
    axes.set_ylabel("forward + backward, ms")
    axes.set_title(f"{rows[0]['dtype']}, {rows[0]['device']}, torch {rows[0]['torch']}", fontsize=9)
    axes.legend(frameon=False)
    path = speed.DOCS / "speed.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
