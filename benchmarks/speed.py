"""What the newest results say of speed: tables and plots of the pages in docs/."""

import csv
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.cases import COPY, OURS, REFERENCE, TEXTBOOK
from benchmarks.measure import KEPT, RESULTS

DOCS = Path(__file__).parents[1] / "docs"
COMMAND = "benchmarks/gpu.sh"
BOTH = ("forward_backward", "forward_backward" + KEPT)
MOVED = {"forward": 3, "forward_backward": 8}  # bytes in X, as psa_seg/ops/fused moves them

# In one colour what is one function, by its line which code it is.
DRAWN = {
    OURS: ("black", "-"),
    TEXTBOOK: ("black", "--"),
    f"{TEXTBOOK}, compiled": ("black", ":"),
    "cheap form, compiled": ("black", "-."),
    "PSA_p, ours": ("tab:blue", "-"),
    "PSA_p, textbook": ("tab:blue", "--"),
    "PSA_s, ours": ("tab:red", "-"),
    "PSA_s, textbook": ("tab:red", "--"),
    REFERENCE: ("tab:orange", "-"),
    f"{REFERENCE}, compiled": ("tab:orange", ":"),
    "CBAM": ("tab:green", "-"),
    "GC": ("tab:purple", "-"),
    "Non-local": ("tab:brown", "-"),
}

Row = dict[str, str]


def cpu() -> str:
    """Times as multiples of mmseg's eager SE, size by size, and memory."""
    rows, source = newest("attention_cpu")
    rows = [row for row in rows if row["dtype"] == "float32"]
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    largest = shapes[-1]
    lines = [
        f"| | forward + backward, {' | '.join(shapes)} | forward, {largest} | peak, {largest} |",
        "|---" + "|--:" * (len(shapes) + 2) + "|",
    ]
    for name in dict.fromkeys(row["case"] for row in rows if row["case"] != COPY):
        cells = [" / ".join(_ratio(rows, name, shape, work) for work in BOTH) for shape in shapes]
        cells += [_ratio(rows, name, largest, "forward"), _memory(rows, name, largest)]
        lines.append(f"| {_bold(name)} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Times are multiples of MMSegmentation's SE layer in the same run. The first of two "
            "begins without memory of its own, as any does with maps of 32 MiB and more; the "
            "second may find what the run before has left, as smaller maps do in a loop (the "
            "plot, too). The cheap form compiled is ours in plain PyTorch under `torch.compile`. "
            "Peak: memory of forward + backward beside output and "
            "gradient, in maps of the size of x. Medians, "
            f"{told(rows[0])}, float32 (`{source}`).",
        ]
    )


def scoring() -> str:
    """Speed and memory of scoring as multiples of upstream's."""
    rows, source = newest("evaluation_cpu")
    lines = ["| scoring | images/s | peak memory |", "|---|--:|--:|"]
    for row in rows:
        if row["side"] != "upstream":
            mode = "six scales and a flip" if row["mode"] == "tta" else "plain"
            mode += ", with further scores" if row["side"] != "ours" else ""
            ratios = f"{float(row['speed_ratio']):.2f} x | {float(row['memory_ratio']):.2f} x"
            lines.append(f"| {mode} | {ratios} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Multiples of MMSegmentation's own: a tiny model, {rows[0]['images']}, "
            f"{rows[0]['runs']} runs each in turn on a machine shared with other work; "
            f"{told(rows[0])} (`{source}`; `python -m benchmarks.evaluation "
            f"--images {rows[0]['images'].split()[0]} --rounds {rows[0]['runs']}`).",
        ]
    )


def training() -> str:
    """Time of a training step on a CPU, and upstream's as a multiple of it."""
    rows, source = newest("training_cpu")
    crops = list(dict.fromkeys(row["crop"] for row in rows))
    lines = [f"| a step of 8 images | {' | '.join(crops)} |", f"|---|{'--:|' * len(crops)}"]
    for side in dict.fromkeys(row["side"] for row in rows):
        found = {row["crop"]: row for row in rows if row["side"] == side}
        times = (
            f"{row['step_ms']} ms, {float(row['speed_ratio']):.2f} x, {row['peak_mib']} MiB"
            if row
            else ""
            for row in map(found.get, crops)
        )
        name = "MMSegmentation" if side == "upstream" else side.replace("--amp", "`--amp`")
        lines.append(f"| {name} | {' | '.join(times)} |")
    first, sizes = rows[0], " ".join(crop.partition("x")[0] for crop in crops)
    return "\n".join(
        [
            *lines,
            "",
            "Time, how many fit into one of MMSegmentation's, memory: DeepLabV3+ MobileNetV2-D16, "
            "loading, forward, backward and optimizer; the same weights and crops. AVX-512 without "
            "bfloat16, and AVX2: the same processor, told to do without. "
            f"Medians of {first['runs']} runs in turn; {told(first)} (`{source}`; "
            f"`python -m benchmarks.training --crops {sizes} --rounds {first['runs']} "
            f"--steps {first['steps']}`).",
        ]
    )


def gpu() -> str:
    """Milliseconds, bandwidth and memory at C = 512, 128x256; or that there are none yet."""
    rows, source = newest("attention_gpu")
    if not rows:
        return f"On a GPU: **not measured yet**; `{COMMAND}` is that measurement."
    shape = "8x512x128x256"
    low = [row for row in rows if row["dtype"] == "bfloat16"]
    rows = [row for row in low if row["shape"] == shape]
    lines = [
        "| | forward | backward | forward + backward | times SE | memory |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(row["case"] for row in rows):
        found = {row["pass"]: row for row in rows if row["case"] == name}
        if "forward" not in found:
            lines.append(f"| {name} | {next(iter(found.values()))['result']} | | | | |")
            continue
        times = [
            f"{float(found[work]['p50_ms']):.3f} ms" if work in found else ""
            for work in ("forward", "backward", "forward_backward")
        ]
        cells = [*times, _ratio(rows, name, shape, "forward_backward"), _memory(rows, name, shape)]
        lines.append(f"| {_bold(name)} | {' | '.join(cells)} |")
    copy = _time(rows, COPY, shape, "forward")
    shares = (
        f"{100 * MOVED[work] / 2 * copy / _time(rows, OURS, shape, work):.0f} % ({label})"
        for work, label in (("forward", "forward"), ("forward_backward", "forward + backward"))
    )
    return "\n".join(
        [
            *lines,
            "",
            f"{shape}, bfloat16 autocast, medians, {told(rows[0])} (`{source}`). Times are of the "
            "GPU alone: Python's launches are hidden. The forward column is without a graph. "
            "Memory is of forward + backward, beside output and gradient, X being the bytes of the "
            "map. Ours moves 3X forward and 5X backward: "
            f"{' and '.join(shares)} of the bandwidth of the copy. Forward + backward by size, "
            "as multiples of ours:",
            "",
            _sizes(low),
        ]
    )


def _sizes(rows: list[Row]) -> str:
    """What others take beside ours, size by size."""
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    lines = [f"| times of ours | {' | '.join(shapes)} |", "|---" + "|--:" * len(shapes) + "|"]
    for name in (TEXTBOOK, f"{TEXTBOOK}, compiled", REFERENCE, f"{REFERENCE}, compiled"):
        ratios = (_ratio(rows, name, shape, "forward_backward", OURS) for shape in shapes)
        lines.append(f"| {name} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def models(kind: str = "gpu") -> str:
    """What the attention costs DeepLabV3+ on a `gpu` or `cpu`; nothing before it is measured."""
    rows, source = newest(f"models_{kind}")
    if not rows:
        command = COMMAND if kind == "gpu" else "python -m benchmarks.models"
        return f"Whole networks: **not measured yet** on a {kind.upper()}; `{command}` does it."
    lines = [
        "| DeepLabV3+ R-50 | training step | images/s | memory | inference | images/s |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    batch = int(rows[0]["shape"].partition("x")[0])
    for name in dict.fromkeys(row["network"] for row in rows):
        cells = []
        for work in ("training step", "inference"):
            row, plain = (
                next(r for r in rows if r["work"] == work and r["network"] == n)
                for n in (name, "plain")
            )
            if row["result"] != "ok":
                cells += [row["result"], "", *([""] if work == "training step" else [])]
                continue
            time, base = float(row["p50_ms"]), float(plain["p50_ms"])
            cells += [f"{time:.1f} ms ({_more(time, base)})", f"{1e3 * batch / time:.1f}"]
            if work == "training step":
                memory, least = float(row["peak_mib"]), float(plain["peak_mib"])
                cells.append(f"{memory / 1024:.1f} GiB ({_more(memory, least)})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    low = rows[0].get("dtype", "bfloat16") == "bfloat16"
    dtype = "bfloat16 autocast" if low else "float32"
    note = f"{rows[0]['shape']}, {dtype}, medians, {told(rows[0])} (`{source}`)."
    note += " Times are of the GPU alone, here, too." if kind == "gpu" else ""
    return "\n".join([*lines, "", note])


def plot() -> Iterable[Path]:
    """`docs/speed_cpu.png`, and `docs/speed_gpu.png` where there are results."""
    for kind in ("cpu", "gpu"):
        rows, _ = newest(f"attention_{kind}")
        if not rows:
            continue
        rows = [row for row in rows if row["pass"] == BOTH[kind == "cpu"]]
        if kind == "gpu":
            rows = [r for r in rows if r["dtype"] == "bfloat16" and r["shape"].startswith("8x512x")]
        ticks: set[int] = set()
        figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
        for name in dict.fromkeys(row["case"] for row in rows):
            found = [row for row in rows if row["case"] == name]
            sizes = [[int(n) for n in row["shape"].split("x")] for row in found]
            x = [height * width if kind == "gpu" else c for _, c, height, width in sizes]
            y = [
                float(row["p50_ms"])
                / (1 if kind == "gpu" else _time(rows, REFERENCE, row["shape"], row["pass"]))
                for row in found
            ]
            ticks.update(x)
            colour, line = DRAWN.get(name, ("gray", "-"))
            width = 2.5 if name == OURS else 1.2
            axes.loglog(x, y, line, color=colour, linewidth=width, marker="o", ms=4, label=name)
        axes.set_xticks(sorted(ticks), [str(value) for value in sorted(ticks)])
        axes.minorticks_off()
        axes.set_xlabel("pixels of 8 maps, C = 512" if kind == "gpu" else "channels, 64x128 pixels")
        axes.set_ylabel("ms" if kind == "gpu" else "times SE")
        figure.suptitle(f"forward + backward, {rows[0]['dtype']}, {told(rows[0])}", fontsize=9)
        axes.legend(fontsize=8, frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
        path = DOCS / f"speed_{kind}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        yield path


def newest(name: str) -> tuple[list[Row], str]:
    """Rows of the newest result of this name, and its path in the repository; none, and empty."""
    path = max(RESULTS.glob(f"{name}_*.csv"), default=None)
    if path is None:
        return [], ""
    with path.open() as file:
        return list(csv.DictReader(file)), f"benchmarks/results/{path.name}"


def _find(rows: list[Row], name: str, shape: str, work: str) -> Row | None:
    found = (r for r in rows if (r["case"], r["shape"], r["pass"]) == (name, shape, work))
    return next(found, None)


def _time(rows: list[Row], name: str, shape: str, work: str) -> float:
    row = _find(rows, name, shape, work)
    assert row is not None
    return float(row["p50_ms"])


def _ratio(rows: list[Row], name: str, shape: str, work: str, to: str = REFERENCE) -> str:
    row = _find(rows, name, shape, work)
    if row is None:
        failed = _find(rows, name, shape, "")
        return failed["result"].partition(":")[0] if failed else ""
    return f"{float(row['p50_ms']) / _time(rows, to, shape, work):.2f}"


def _memory(rows: list[Row], name: str, shape: str) -> str:
    row = _find(rows, name, shape, "forward_backward")
    return "" if row is None else f"{float(row['peak_x']) - 2:.2f} X"


def _more(value: float, base: float) -> str:
    return f"{100 * (value / base - 1):+.1f} %"


def _bold(name: str) -> str:
    return f"**{name}**" if name.endswith(OURS) else name


def told(row: Row) -> str:
    """When, on what, and with which PyTorch."""
    gpu = row["driver"] != "none"
    where = f"driver {row['driver']}" if gpu else row["processor"]
    return f"{row['date']}, {row['device']}, {where}, torch {row['torch']}"
