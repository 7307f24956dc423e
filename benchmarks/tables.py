"""Write README's tables from the results in the repository: python benchmarks/tables.py."""

import csv
import json
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
RESULTS = Path(__file__).parent / "results"


def speed() -> str:
    """The newest `attention_cpu_*.csv`: our times beside the textbook's."""
    newest = max(RESULTS.glob("attention_cpu_*.csv"))
    with newest.open() as file:
        rows = list(csv.DictReader(file))
    times = {(row["shape"], row["pass"], row["case"]): row for row in rows}
    lines = [
        "| map, float32 | forward: textbook | ours | | forward + backward: textbook | ours | |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for shape in dict.fromkeys(row["shape"] for row in rows):
        cells = [shape]
        for work in ("forward", "forward_backward"):
            textbook, ours = (times[shape, work, case] for case in ("textbook", "ours"))
            ratio = f"{ours['times_faster']}x"
            cells += [f"{textbook['p50_ms']} ms", f"{ours['p50_ms']} ms", ratio]
        lines.append(f"| {' | '.join(cells)} |")
    about = rows[0]
    lines += [
        "",
        f"Medians of one run on {about['date']}: {about['processor']}, {about['device']}, "
        f"torch {about['torch_version']} (`benchmarks/results/{newest.name}`).",
    ]
    return "\n".join(lines)


def camvid() -> str:
    """The records of the CamVid pair."""
    paths = sorted(RESULTS.glob("camvid/*.json"))
    lines = [
        "| config | seed | iterations | mIoU | mAcc | aAcc | parameters |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for path in paths:
        run = json.loads(path.read_text())
        figures = " | ".join(f"{run[name]:.2f}" for name in ("mIoU", "mAcc", "aAcc"))
        lines.append(
            f"| `{run['config']}` | {run['seed']} | {run['iterations']} | {figures} "
            f"| {run['parameters'] / 1e6:.2f} M |"
        )
    machine = run["environment"]
    lines += [
        "",
        f"{run['data']}, {run['train_images']} training and {run['val_images']} validation images, "
        f"batch {run['batch_size']}; {machine['processor']}, {machine['device']}, torch "
        f"{machine['packages']['torch']} (`benchmarks/results/camvid/`).",
    ]
    return "\n".join(lines)


def render(readme: str) -> str:
    """`readme` with what stands between `<!-- table: NAME -->` and `<!-- end -->` made anew."""
    for name, table in (("speed", speed), ("camvid", camvid)):
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
        readme, count = pattern.subn(lambda m: f"{m[1]}{table()}\n{m[2]}", readme)  # noqa: B023
        if count != 1:
            raise SystemExit(f"error: README.md has {count} places for the table {name!r}, not 1")
    return readme


if __name__ == "__main__":
    README.write_text(render(README.read_text()))
