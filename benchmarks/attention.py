"""Time the attention beside its textbook and its rivals: python -m benchmarks.attention.

Everything that claims to be Polarized Self-Attention is first compared with the textbook, output
and gradients, at every size; without agreement there are no figures. Then all cases of a size run
in turn, round after round. On a GPU, if there is one: --device cpu measures the CPU beside it.
"""

import argparse
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import CASES, TEXTBOOK, Case
from benchmarks.measure import RESULTS, Work, milliseconds, peak_bytes, quantiles, write

Shape = tuple[int, int, int, int]

CPU_SHAPES = [(2, channels, 64, 128) for channels in (64, 128, 256, 512)]
GPU_SHAPES = [
    *((8, channels, 128, 256) for channels in (64, 128, 256, 1024, 2048)),
    *((8, 512, height, 2 * height) for height in (32, 64, 128, 256, 512)),
]
KEPT = ", memory kept"  # a CPU's runs otherwise begin without memory: see `milliseconds`
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # relative, of the textbook in float32


class Bench:
    """One case on one input; under autocast, as `--amp` trains, if the input is bfloat16."""

    def __init__(self, case: Case, module: nn.Module, x: Tensor, upstream: Tensor) -> None:
        self.case, self.module, self.upstream = case, module, upstream
        self.x = x.detach().requires_grad_()

    def forward(self) -> Tensor:
        """The output, without a graph."""
        with torch.no_grad():
            return self._run()

    def forward_backward(self) -> tuple[Tensor, Tensor]:
        """Output and gradient of the input; those of the parameters come along."""
        out = self._run()
        out.backward(self.upstream)
        assert self.x.grad is not None
        return out, self.x.grad

    def passes(self) -> dict[str, Callable[[], Work]]:
        """What is timed, by name: how to prepare it. `backward` has run its forward before."""
        return {
            "forward": lambda: self.forward,
            "backward": self._backward,
            "forward_backward": self._both,
        }

    def _both(self) -> Work:
        self.x.grad = None  # here, or memory would count what the run before has left
        self.module.zero_grad(set_to_none=True)
        return self.forward_backward

    def _backward(self) -> Work:
        self._both()
        out = self._run()
        return lambda: out.backward(self.upstream)

    def _run(self) -> Tensor:
        low = self.x.dtype == torch.bfloat16
        with self.case.chosen(), torch.autocast(self.x.device.type, torch.bfloat16, enabled=low):
            return self.module(self.x)


def benches(
    shape: Shape, dtype: torch.dtype, device: str, names: list[str]
) -> tuple[dict[str, Bench], dict[str, str]]:
    """What runs at this size, all from equal weights, and why the rest does not."""
    x, upstream = (torch.randn(shape, device=device).to(dtype) for _ in range(2))
    found, failed = {}, {}
    for name in names:
        case = CASES[name]
        torch.manual_seed(0)
        torch._dynamo.reset()
        bench = Bench(case, case.ready(shape[1]).to(device), x, upstream)
        try:
            bench.forward()
            bench.forward_backward()
            found[name] = bench
        except torch.OutOfMemoryError:
            failed[name] = "out of memory"
        except torch._inductor.exc.InductorError as error:
            failed[name] = f"not compiled: {str(error).splitlines()[0]}"
        del bench
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
    return found, failed


def check(found: dict[str, Bench]) -> None:
    """Exit unless whatever claims to be the attention agrees with the textbook in float32.

    On the first image: no image knows of the others.
    """
    for name, bench in found.items():
        if not bench.case.is_psa:
            continue
        exact = CASES[TEXTBOOK]
        torch.manual_seed(0)
        x, upstream = bench.x[:1].float(), bench.upstream[:1].float()
        module = exact.ready(x.shape[1]).to(x.device)
        with torch.backends.cudnn.flags(allow_tf32=False):
            expected = Bench(exact, module, x, upstream).forward_backward()
            bench.passes()["forward_backward"]()
            actual = bench.forward_backward()
        for what, value, reference in zip(("output", "gradient"), actual, expected, strict=True):
            error = ((value[:1].float() - reference).norm() / reference.norm()).item()
            if not error < TOLERANCE[bench.x.dtype]:
                sys.exit(f"error: {name}: {what} {error:.1e} from the textbook: no figures")


def measure(
    shape: Shape, dtype: torch.dtype, device: str, names: list[str], rounds: int
) -> Iterator[dict[str, Any]]:
    """One row per case and pass. Raises SystemExit where a case disagrees with the textbook."""
    found, failed = benches(shape, dtype, device, names)
    check(found)
    about = {"shape": "x".join(map(str, shape)), "dtype": str(dtype).removeprefix("torch.")}
    nothing = {"p20_ms": "", "p50_ms": "", "p80_ms": "", "peak_x": ""}
    for name, reason in failed.items():
        yield about | {"case": name, "pass": "", "result": reason} | nothing
    works = [(work, True) for work in ("forward", "backward", "forward_backward")]
    if device == "cpu":
        works.append(("forward_backward", False))
    for work, fresh in works:
        prepare = {name: bench.passes()[work] for name, bench in found.items()}
        times = milliseconds(prepare, rounds, device, fresh)
        for name, values in times.items():
            peak = peak_bytes(prepare[name](), device) / found[name].x.nbytes
            row = {"case": name, "pass": work + ("" if fresh else KEPT), "result": "ok"}
            yield about | row | quantiles(values) | {"peak_x": round(peak, 3)}


def main() -> None:
    """Measure every size, write one CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"))
    parser.add_argument("--shapes", nargs="+", metavar="BxCxHxW", help="instead of all")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    shapes = CPU_SHAPES if args.device == "cpu" else GPU_SHAPES
    if args.shapes:
        shapes = [tuple(map(int, shape.split("x"))) for shape in args.shapes]  # type: ignore[misc]
    dtypes = args.dtype or (["float32"] if args.device == "cpu" else ["bfloat16", "float32"])
    rows = []
    for dtype in dtypes:
        for shape in shapes:
            for row in measure(shape, getattr(torch, dtype), args.device, args.cases, args.rounds):
                print(*row.values(), sep="\t", flush=True)
                rows.append(row)
    path = write(rows, "attention", args.device, args.out)
    print(f"wrote {path}; README's tables follow with: python -m benchmarks.tables")


if __name__ == "__main__":
    main()
