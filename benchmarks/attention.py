"""Time the attention beside its textbook: python benchmarks/attention.py [--out DIR].

Both are checked against each other first; without agreement there are no figures. All cases of
one size run in turn, round after round, so that a ratio compares like with like on a busy machine.
"""

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from psa_seg import PolarizedSelfAttention
from psa_seg.engine.record import environment
from psa_seg.ops import naive

RESULTS = Path(__file__).parent / "results"
BATCH, HEIGHT, WIDTH = 2, 64, 128
CHANNELS = (64, 128, 256, 512)
ROUNDS, WARMUP = 15, 3


def cases(channels: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """What is compared, by name; all with the same parameters."""
    module = PolarizedSelfAttention(channels)
    parameters = dict(module.named_parameters())
    return {
        "textbook": lambda x: naive.polarized_self_attention(x, parameters),
        "ours": module,
    }


def forward(function: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> Tensor:
    """The output, without a graph."""
    with torch.no_grad():
        return function(x)


def forward_backward(function: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> Tensor:
    """The gradient of the input; those of the parameters come along."""
    x = x.detach().requires_grad_()
    function(x).backward(upstream)
    assert x.grad is not None
    return x.grad


def measure(channels: int) -> Iterator[dict[str, object]]:
    """One row per case and pass. Raises SystemExit where the cases disagree."""
    x, upstream = torch.randn(2, BATCH, channels, HEIGHT, WIDTH)
    functions = cases(channels)
    for work in (forward, forward_backward):
        reference = work(functions["textbook"], x, upstream)
        for name, function in functions.items():
            error = (work(function, x, upstream) - reference).norm() / reference.norm()
            if not error < 1e-5:
                sys.exit(f"error: {name} differs from the textbook by {error:.1e}: no figures")
        times: dict[str, list[float]] = {name: [] for name in functions}
        for turn in range(WARMUP + ROUNDS):
            for name, function in functions.items():
                start = time.perf_counter()
                work(function, x, upstream)
                if turn >= WARMUP:
                    times[name].append(1e3 * (time.perf_counter() - start))
        textbook = statistics.median(times["textbook"])
        for name, values in times.items():
            deciles = statistics.quantiles(values, n=10)
            yield {
                "pass": work.__name__,
                "case": name,
                "shape": f"{BATCH}x{channels}x{HEIGHT}x{WIDTH}",
                "dtype": "float32",
                "p20_ms": round(deciles[1], 2),
                "p50_ms": round(statistics.median(values), 2),
                "p80_ms": round(deciles[7], 2),
                "times_faster": round(textbook / statistics.median(values), 2),
            }


def main() -> None:
    """Measure every size, write one CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV")
    args = parser.parse_args()
    torch.manual_seed(0)
    machine = environment()
    versions = {f"{name}_version": machine["packages"][name] for name in ("psa-seg", "torch")}
    about = {"date": date.today().isoformat(), "device": machine["device"]}
    about |= {"processor": machine["processor"], **versions}
    rows = []
    for channels in CHANNELS:
        for row in measure(channels):
            print(*row.values(), sep="\t", flush=True)
            rows.append(row | about)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"attention_cpu_{about['date']}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path}; README's table follows with: python benchmarks/tables.py")


if __name__ == "__main__":
    main()
