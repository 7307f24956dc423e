"""Time the attention beside its textbook and its rivals: python -m benchmarks.attention.

Everything that claims to be Polarized Self-Attention is first compared with the textbook, output
and gradients, at every size; without agreement there are no figures. Then all cases of a size run
in turn, round after round. On a GPU, if there is one: --device cpu measures the CPU beside it.
"""

import argparse
import gc
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import CASES, COPY, Case
from benchmarks.measure import (
    KEPT,
    RESULTS,
    Work,
    milliseconds,
    options,
    parse,
    peak_bytes,
    quantiles,
    write,
)
from psa_seg import PolarizedSelfAttention

Shape = tuple[int, int, int, int]

CPU_SHAPES = [(2, channels, 64, 128) for channels in (64, 128, 256, 512)]
GPU_SHAPES = [
    *((8, 512, height, 2 * height) for height in (32, 64, 128, 256, 512)),
    *((8, channels, 128, 256) for channels in (64, 256, 2048)),
]
OUT_OF_MEMORY = "out of memory"
# Relative, of maps and of the parameters' gradients, from the textbook in float32.
TOLERANCE = {torch.float32: (1e-5, 1e-2), torch.bfloat16: (2e-2, 5e-2)}


class Bench:
    """One case on one input; under autocast, as `--amp` trains, if the input is bfloat16."""

    def __init__(self, case: Case, module: nn.Module, x: Tensor, upstream: Tensor) -> None:
        self.case, self.module, self.upstream = case, module, upstream
        self.x = x.detach().requires_grad_()

    def forward(self) -> Tensor:
        """The output, without a graph."""
        with torch.no_grad():
            return self._run()

    def forward_backward(self) -> tuple[Tensor, ...]:
        """Output and gradients, of the input first; none is kept."""
        return self._gradients(self._run())

    def passes(self) -> dict[str, Callable[[], Work]]:
        """What is timed, by name: how to prepare it. `backward` has run its forward before."""
        forward: dict[str, Callable[[], Work]] = {"forward": lambda: self.forward}
        if self.case is CASES[COPY]:
            return forward  # it hands the gradient through
        return forward | {
            "backward": lambda: partial(self._gradients, self._run()),
            "forward_backward": lambda: self.forward_backward,
        }

    def on_first_image(self, dtype: torch.dtype) -> "Bench":
        """The same module on one image."""
        return Bench(self.case, self.module, self.x[:1].to(dtype), self.upstream[:1].to(dtype))

    def _gradients(self, out: Tensor) -> tuple[Tensor, ...]:
        leaves = (self.x, *self.module.parameters())
        return out, *torch.autograd.grad(out, leaves, self.upstream)

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
    torch._dynamo.reset()
    for name in names:
        case = CASES[name]
        torch.manual_seed(0)
        bench = Bench(case, case.ready(shape[1]).to(device), x, upstream)
        try:
            bench.forward()
            bench.forward_backward()
            found[name] = bench
        except torch.OutOfMemoryError:
            failed[name] = OUT_OF_MEMORY
        except torch._inductor.exc.InductorError as error:
            failed[name] = f"not compiled: {str(error).splitlines()[0]}"
        del bench
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
    return found, failed


def check(found: dict[str, Bench]) -> None:
    """Exit unless whatever claims to be the attention agrees with the textbook in float32.

    On the first image: output and every gradient, in float32 and as it is timed; of what is
    compiled, which would be compiled anew for them, output and gradient of the input, as timed.
    """
    for name, bench in found.items():
        if not bench.case.is_psa or bench.case == bench.case.textbook:
            continue
        exact, module = bench.on_first_image(torch.float32), bench.module
        assert isinstance(module, PolarizedSelfAttention), f"{name} is none"
        exact.case = bench.case.textbook
        exact.module = PolarizedSelfAttention(module.in_channels, module.form, module.layout)
        exact.module.to(exact.x.device).load_state_dict(bench.module.state_dict())
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            expected = exact.forward_backward()
        parameters = [parameter for parameter, _ in bench.module.named_parameters()]
        for dtype in dict.fromkeys((torch.float32, bench.x.dtype)):
            if bench.case.compiled:
                if dtype != bench.x.dtype:
                    continue
                actual = tuple(value[:1] for value in bench.forward_backward()[:2])
            else:
                actual = bench.on_first_image(dtype).forward_backward()
            maps, sums = TOLERANCE[dtype]
            for what, value, reference in zip(
                ("output", "gradient of x", *parameters), actual, expected, strict=False
            ):
                error = ((value.float() - reference).norm() / reference.norm()).item()
                allowed = sums if what in parameters else maps
                if what != "ch_wq.bias" and not error < allowed:  # its gradient is 0
                    sys.exit(f"error: {name}, {dtype}: {what} {error:.1e} off: no figures")


def measure(
    shape: Shape, dtype: torch.dtype, device: str, names: list[str], rounds: int
) -> Iterator[dict[str, Any]]:
    """One row per case and pass. Raises SystemExit where a case disagrees with the textbook."""
    found, failed = benches(shape, dtype, device, names)
    check(found)
    works = [(work, True) for work in ("forward", "backward", "forward_backward")]
    if device == "cpu":
        works.append(("forward_backward", False))
    about = {"shape": "x".join(map(str, shape)), "dtype": str(dtype).removeprefix("torch.")}
    for work, fresh in works:
        prepare = {
            name: bench.passes()[work] for name, bench in found.items() if work in bench.passes()
        }
        times = milliseconds(prepare, rounds, device, fresh)
        for name in prepare:
            row = about | {"case": name, "pass": work + ("" if fresh else KEPT)}
            if name in times:
                peak = round(peak_bytes(prepare[name](), device) / found[name].x.nbytes, 3)
                yield row | {"result": "ok"} | quantiles(times[name]) | {"peak_x": peak}
            else:
                failed[name] = OUT_OF_MEMORY
    for name, reason in failed.items():
        nothing = dict.fromkeys(("p20_ms", "p50_ms", "p80_ms", "peak_x"), "")
        yield about | {"case": name, "pass": "", "result": reason} | nothing


def shape_of(text: str) -> Shape:
    """`BxCxHxW`; channels are even, for the attention halves them."""
    try:
        batch, channels, height, width = map(int, text.split("x"))
    except ValueError:
        batch = channels = height = width = 0
    if min(batch, channels, height, width) < 1 or channels % 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not BxCxHxW, with C even: 2x512x64x128")
    return batch, channels, height, width


def main() -> None:
    """Measure every size, write one CSV."""
    parser = options(__doc__)
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=("float32", "bfloat16"),
        help="Types of numbers (default: those of the published table).",
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        type=shape_of,
        metavar="BxCxHxW",
        help="Sizes of the map, such as 8x256x64x128 (default: those of the published table).",
    )
    parser.add_argument(
        "--cases",
        nargs="+",
        choices=CASES,
        default=list(CASES),
        metavar="CASE",
        help=f"What to time (default: all of {', '.join(CASES)}).",
    )
    args = parse(parser)
    if (args.shapes or args.dtype or len(args.cases) < len(CASES)) and args.out == RESULTS:
        parser.error("a part of it is no source of README's table: name another folder with --out")
    shapes = args.shapes or (CPU_SHAPES if args.device == "cpu" else GPU_SHAPES)
    dtypes = args.dtype or ["float32" if args.device == "cpu" else "bfloat16"]  # as each trains
    rows = (
        row
        for dtype in dtypes
        for shape in shapes
        for row in measure(shape, getattr(torch, dtype), args.device, args.cases, args.rounds)
    )
    write(rows, "attention", args.device, args.out)


if __name__ == "__main__":
    main()
