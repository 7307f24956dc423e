"""How long a picture takes: the segmentor as it is, compiled, and as the file that was exported."""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from prettytable import PrettyTable

from psa_seg.engine.describe import environment
from psa_seg.inference.export import Runs
from psa_seg.inference.portable import Portable

WARMUP, TIMED = 2, 9


def measure(
    portable: Portable, files: Mapping[str, Runs], size: tuple[int, int]
) -> list[list[Any]]:
    """Rows of a name and milliseconds (median of nine, in turn), or why there are none.

    Args:
        portable: the segmentor.
        files: what runs each file, by what a row calls it.
        size: rows and columns of the picture.
    """
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, *size), np.uint8)
    tensor = torch.from_numpy(picture)
    works: dict[str, Callable[[], Any]] = {
        "PyTorch": lambda: portable(tensor),
        **{name: partial(runs, picture) for name, runs in files.items()},
    }
    rows: list[list[Any]] = []
    with torch.no_grad():
        compiled = torch.compile(portable)
        try:
            compiled(tensor)
            works["PyTorch, compiled"] = lambda: compiled(tensor)
        except Exception as error:  # there may be no C++ compiler here, or one that fails
            rows.append(["PyTorch, compiled", f"not measured: {type(error).__name__}"])
        times: dict[str, list[float]] = {name: [] for name in works}
        for turn in range(WARMUP + TIMED):
            for name, work in works.items():
                start = time.perf_counter()
                work()
                if turn >= WARMUP:
                    times[name].append(1e3 * (time.perf_counter() - start))
    return [*([name, round(statistics.median(of), 1)] for name, of in times.items()), *rows]


def table(rows: list[list[Any]], size: tuple[int, int]) -> str:
    """The rows, and what they were measured on."""
    found = PrettyTable(["runs in", "ms a picture"], align="r")
    found.align["runs in"] = "l"
    found.add_rows(rows)
    here = environment()
    return (
        f"{found}\n1 x {size[0]} x {size[1]}, medians of {TIMED} in turn; {here.processor}, "
        f"{here.device}, torch {here.packages['torch']}"
    )
