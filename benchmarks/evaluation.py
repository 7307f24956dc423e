"""What scoring costs beside upstream's: python -m benchmarks.evaluation.

A tiny model on synthetic images of 1024x2048, plain and with test-time augmentation: MMSegmentation
as its own `tools/test.py` runs it (EncoderDecoder, SegTTAModel, IoUMetric), and this package's,
once with boundary IoU, F1 and calibration, too. The same weights, images and loading; each run in a
process of its own, in turn. Images per second leave the first image out. Memory is what the process
held at most, above what it held before the first.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, save_checkpoint
from mmseg.registry import MODELS

import psa_seg.datasets
import psa_seg.evaluation
import psa_seg.models  # noqa: F401
from benchmarks.measure import compared, in_a_process, options, parse, resident, write
from psa_seg.datasets.synthetic import prepare
from psa_seg.engine.config import load_config
from psa_seg.engine.demo import shrink
from psa_seg.engine.runner import PairedRunner
from psa_seg.records.scores import COLUMNS

CONFIG = Path(__file__).parents[1] / "configs/psa_deeplabv3plus_cityscapes.py"
SIZE = (1024, 2048)
FURTHER = "ours, further scores"  # boundary IoU, F1 within two pixels and calibration, too
SIDES = ("upstream", "ours", FURTHER)
MIB = 2**20


class Watch(Hook):
    """Notes time and memory of a test."""

    def before_test(self, runner: Runner) -> None:
        """Memory before the first image."""
        self.before = resident("VmRSS")
        self.ends: list[float] = []

    def after_test_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Time after each image is scored."""
        self.ends.append(time.perf_counter())

    def found(self) -> dict[str, float]:
        """Images per second, and MiB."""
        return {
            "images_per_s": (len(self.ends) - 1) / (self.ends[-1] - self.ends[0]),
            "peak_mib": (resident("VmHWM") - self.before) / MIB,
        }


def tiny(folder: Path) -> Config:
    """The config of the demo's model on images of full size in `folder`."""
    config, full = load_config(str(CONFIG)), load_config(str(CONFIG))
    shrink(config, folder / "data")
    config.tta_pipeline = full.tta_pipeline
    config.test_dataloader.dataset.pipeline = full.test_dataloader.dataset.pipeline
    config.test_dataloader.num_workers = 0  # what loading holds is the same, and in one process
    config.train_dataloader = config.val_dataloader = None
    config.train_cfg = config.val_cfg = config.val_evaluator = config.optim_wrapper = None
    config.param_scheduler, config.custom_hooks = None, []
    config.load_from = str(folder / "tiny.pth")
    config.work_dir = config.visualizer.name = str(folder / "work")  # one of a name lives on
    return config


def score(side: str, mode: str, folder: Path) -> dict[str, Any]:
    """Test once, here: speed, memory, and areas per class that both sides must agree in."""
    config, runner_type = tiny(folder), PairedRunner
    if side == "upstream":
        runner_type = Runner
        config.model.type, config.tta_model.type = "EncoderDecoder", "SegTTAModel"
        config.test_evaluator = dict(type="IoUMetric")
    if side == FURTHER:
        config.test_evaluator.also = list(COLUMNS)
    if mode == "tta":
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.model = dict(config.tta_model, module=config.model)
    watch = Watch()
    areas: dict[str, torch.Tensor] = {}
    runner = runner_type.from_cfg(config)
    runner.register_hook(watch)
    (metric,) = runner.test_loop.evaluator.metrics
    if side == "upstream":
        compute = metric.compute_metrics

        def keep(results: list[Any]) -> Any:
            columns = zip(*results, strict=True)  # float32, and exact in one image
            right, _, predicted, truth = (sum(a.double() for a in one) for one in columns)
            areas.update(right=right, predicted=predicted, truth=truth)
            return compute(results)

        metric.compute_metrics = keep
    runner.test()
    if side != "upstream":
        counts = torch.from_numpy(metric.confusion)
        areas.update(right=counts.diag(), predicted=counts.sum(0), truth=counts.sum(1))
    whole = {name: [int(value) for value in area] for name, area in areas.items()}
    return watch.found() | {"areas": whole}


def measure(rounds: int, count: int, threads: int) -> Iterator[dict[str, Any]]:
    """One row per side and mode: medians over processes, and ratios to upstream's."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder, "data"), dict(train=0, val=count, test=0), SIZE)
        torch.manual_seed(0)
        model = MODELS.build(tiny(Path(folder)).model)
        save_checkpoint({"state_dict": model.state_dict()}, str(Path(folder, "tiny.pth")))
        for mode in ("plain", "tta"):
            runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for _ in range(rounds):
                for side in SIDES:
                    args = [side, mode, folder]
                    runs[side].append(in_a_process(__spec__.name, args, threads))
            areas = [run["areas"] for of in runs.values() for run in of]
            if any(one != areas[0] for one in areas):
                raise SystemExit(f"error: predictions differ ({mode}): there are no figures")
            for side, figures in compared(runs).items():
                yield {
                    "side": side,
                    "mode": mode,
                    "images": f"{count} of {SIZE[0]}x{SIZE[1]}",
                    "runs": rounds,
                    **figures,
                }


def main() -> None:
    """Measure, write one CSV."""
    parser = options(__doc__)
    parser.add_argument(
        "--images", type=int, default=4, help="Images to score, at least 2 (default: %(default)s)."
    )
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # side, mode, folder
    parser.set_defaults(rounds=3, device="cpu")
    args = parse(parser)
    init_default_scope("mmseg")
    if args.one:
        side, mode, folder = args.one
        print("\n" + json.dumps(score(side, mode, Path(folder))))
        return
    rows = measure(args.rounds, args.images, torch.get_num_threads())
    write(rows, "evaluation", args.device, args.out)


if __name__ == "__main__":
    main()
