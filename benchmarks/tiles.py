"""Sweep the kernels' tiles on a GPU: python -m benchmarks.tiles [--out DIR].

Times each kernel under every setting of `psa_seg.ops.fused.tiles.TILES` that is worth a try, all
compiled before by as many processes as there are cores, and prints the best beside the one in use.
What wins is written into that file by hand. Today's were chosen by
`benchmarks/results/tiles_gpu_2026-11-27.csv.gz`: `in_use` there are those before them. That sweep
was stopped within its last kernel on its last map, and had no map with rows that are not aligned.
"""

import contextlib
import itertools
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from operator import itemgetter
from typing import Any
from unittest import mock

import torch

from benchmarks.measure import Work, milliseconds, options, parse, quantiles, write
from psa_seg.ops import fused
from psa_seg.ops.fused import tiles

ELEMENTS = (4096, 8192, 16384, 32768)
PER_THREAD = (8, 16, 32, 64)
STAGES = (1, 2, 3)  # as far as there is shared memory
PROGRAMS = (2, 4, 8)
SHAPES = (  # beyond an L2, the last with rows that are not aligned
    (32, 64, 128, 256),
    (8, 512, 128, 256),
    (16, 2048, 64, 128),
    (32, 512, 97, 97),
)
FORMATS = (torch.contiguous_format, torch.channels_last)
READS_AND_WRITES = {
    "pool_forward": 1,
    "dot": 1,
    "gate_forward": 2,
    "gate_backward": 2,
    "pool_backward": 3,
}
Map = tuple[tuple[int, ...], torch.memory_format]


def calls(shape: tuple[int, ...], memory_format: torch.memory_format) -> dict[str, partial]:
    """Each function of `fused` on the same bfloat16 map."""
    x, dout = (
        torch.randn(shape, device="cuda").bfloat16().contiguous(memory_format=memory_format)
        for _ in range(2)
    )
    x, dout = x.flatten(2), dout.flatten(2)
    batch, channels, _ = x.shape
    p, r, u, dg, dmean = torch.randn(5, batch, channels, device="cuda") * 0.1
    beta, w_q = torch.randn(batch, device="cuda"), torch.randn(channels, device="cuda") * 0.1
    rest = fused.pool_forward(x, w_q)[1]
    assert rest is not None
    m, dt = torch.rand(2, batch, x.shape[2], device="cuda")
    query = (w_q, dg, *rest)
    return {
        "pool_forward": partial(fused.pool_forward, x, w_q),
        "dot": partial(fused.dot, x, u),
        "gate_forward": partial(fused.gate_forward, x, p, r, u, beta),
        "gate_backward": partial(fused.gate_backward, x, dout, r, m, None, (True, False, True)),
        "pool_backward": partial(fused.pool_backward, x, dout, p, r, u, m, dt, dmean, query),
    }


def plans(kernel: str, x: torch.Tensor) -> list[tiles.Launch]:
    """The launch in use, then every other that is worth a try; a GPU may refuse some."""
    batch, channels, pixels = x.flatten(2).shape
    found = {tiles.launch(kernel, x.flatten(2)): None}
    block_c = tiles.power_of_two(channels)
    for elements, per_thread, stages, programs in itertools.product(
        ELEMENTS, PER_THREAD, STAGES, PROGRAMS
    ):
        block_n = min(elements // block_c, tiles.MOST_PIXELS)
        warps = min(max(block_c * block_n // per_thread // 32, 1), tiles.MOST_WARPS)
        if block_n:
            wanted = programs * tiles.gpu(x.device)[0]
            shared = tiles.share(batch, -(-pixels // block_n), wanted)
            found[tiles.Launch(*shared, block_c, block_n, warps, stages)] = None
    return list(found)


def taking(plan: tiles.Launch) -> AbstractContextManager:
    """In which every kernel is launched as `plan` says."""
    return mock.patch.object(fused, "launch", return_value=plan)


def compile_all(kernel: str, at: Map) -> None:
    """Into Triton's cache, by one call each; those that cannot run are seen again in `sweep`."""
    with contextlib.suppress(Exception):  # Triton has no common class for what a GPU refuses
        work = calls(*at)[kernel]
        # Triton compiles anew for numbers that are 1, or multiples of 16.
        all_plans = plans(kernel, _empty(at))
        unlike = {(plan[2:], plan.tiles == 1, plan.tiles % 16 == 0): plan for plan in all_plans}
        for plan in unlike.values():
            with contextlib.suppress(Exception), taking(plan):
                work()


def sweep(rounds: int) -> Iterator[dict[str, Any]]:
    """One row per kernel, map and launch, the one in use first; without those that cannot run."""
    for at in itertools.product(SHAPES, FORMATS):
        x = _empty(at)
        for kernel, work in calls(*at).items():
            for turn, plan in enumerate(plans(kernel, x)):
                try:
                    with taking(plan):
                        yield _row(kernel, x, plan, work, rounds, in_use=not turn)
                except Exception as error:
                    print(f"{kernel} {plan}: {type(error).__name__}")


def _empty(at: Map) -> torch.Tensor:
    return torch.empty(at[0], device="cuda", dtype=torch.bfloat16, memory_format=at[1])


def _row(
    kernel: str, x: torch.Tensor, plan: tiles.Launch, work: Work, rounds: int, in_use: bool
) -> dict[str, Any]:
    measured = quantiles(milliseconds({"": lambda: work}, rounds, "cuda")[""])
    return {
        "kernel": kernel,
        "shape": "x".join(map(str, x.shape)),
        "strides": "x".join(map(str, x.stride())),
        **plan._asdict(),
        "in_use": in_use,
        **measured,
        "gb_per_s": round(READS_AND_WRITES[kernel] * x.nbytes / 1e6 / measured["p50_ms"]),
    }


def main() -> None:
    """Compile, sweep, write one CSV, print the best."""
    parser = options(__doc__)
    parser.set_defaults(rounds=10)
    args = parse(parser)
    if args.device != "cuda":
        raise SystemExit("error: tiles are measured on a GPU, and PyTorch sees none here")
    jobs = list(itertools.product(READS_AND_WRITES, itertools.product(SHAPES, FORMATS)))
    processes = min(len(jobs), os.cpu_count() or 1)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(compile_all, jobs, chunksize=1)
    rows = write(sweep(args.rounds), "tiles", "cuda", args.out)
    for _, group in itertools.groupby(rows, key=itemgetter("shape", "strides", "kernel")):
        found = sorted(group, key=itemgetter("p50_ms"))
        for row in (*found[:3], *(row for row in found[3:] if row["in_use"])):
            print(*row.values(), sep="\t")


if __name__ == "__main__":
    main()
