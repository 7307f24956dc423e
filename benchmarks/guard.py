"""What looking at loss and gradients costs a training step on a CPU: python -m benchmarks.guard.

Of each step of DeepLabV3+ MobileNetV2-D16, eight images: the time in `psa_seg.engine.guard`, which
keeps the buffers, looks at loss and gradients, and asks the other processes; and all of it. The
smaller the crop, the larger the share. Two processes, over gloo, on this machine:

    python -m psa_seg.engine.torchrun 2 -m benchmarks.guard
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope

import psa_seg.registered  # noqa: F401
from benchmarks.measure import options, parse, write
from benchmarks.training import IMAGES, SIZE, WARMUP, described
from psa_seg.datasets.synthetic import prepare
from psa_seg.engine import distributed
from psa_seg.engine.loop import counted
from psa_seg.engine.runner import PairedRunner


class Watch(Hook):
    """Times a guard, and the steps that it watches."""

    def before_train_epoch(self, runner: PairedRunner) -> None:
        """Put clocks around the guard, and one within it, around the optimizer."""
        self.ends: list[float] = []
        self.spent: list[float] = []
        guard, wrapper = runner.train_loop.guard, runner.optim_wrapper
        guard.begin = self._adding(guard.begin)
        guard.end = self._adding(guard.end)
        wrapper.step = self._adding(wrapper.step)
        for name in ("step", "zero_grad"):
            setattr(wrapper.optimizer, name, self._adding(getattr(wrapper.optimizer, name), -1))

    def _adding(self, function: Callable[..., Any], sign: int = 1) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.now += sign * (time.perf_counter() - start)

        return timed

    def before_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Before a step."""
        self.now = 0.0

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """After a step."""
        self.ends.append(time.perf_counter())
        self.spent.append(self.now)


def measure(crops: Sequence[int], steps: int) -> Iterator[dict[str, Any]]:
    """One row per crop: medians over steps, of the first process."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder, "data"), dict(train=IMAGES, val=0, test=0), SIZE)
        for crop in crops:
            config = described("ours", Path(folder), crop, steps)
            config.load_from = None
            config.launcher = "pytorch" if get_world_size() > 1 else "none"
            runner, watch = PairedRunner.from_cfg(config), Watch()
            runner.register_hook(watch)
            runner.train()
            times = [b - a for a, b in itertools.pairwise(watch.ends[WARMUP:])]
            step, spent = statistics.median(times), statistics.median(watch.spent[WARMUP:])
            yield {
                "processes": counted(get_world_size()),
                "crop": f"{crop}x{crop}",
                "steps": steps,
                "step_ms": round(1e3 * step, 1),
                "guard_ms": round(1e3 * spent, 3),
                "share_percent": round(100 * spent / step, 2),
            }


def main() -> None:
    """Measure, write one CSV."""
    parser = options(__doc__)
    parser.add_argument(
        "--crops",
        type=int,
        nargs="+",
        default=[256, 128],
        help="Sides of the crops in pixels (default: 256 128).",
    )
    parser.add_argument(
        "--steps", type=int, default=20, help="Steps of each run (default: %(default)s)."
    )
    parser.set_defaults(device="cpu")
    args = parse(parser)
    init_default_scope("mmseg")
    distributed.start("pytorch" if "LOCAL_RANK" in os.environ else "none")
    rows = measure(args.crops, args.steps)
    if get_rank():
        list(rows)
    else:
        write(rows, f"guard_{get_world_size()}", args.device, args.out)


if __name__ == "__main__":
    main()
