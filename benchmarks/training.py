"""What a training step costs on a CPU, beside upstream's: python -m benchmarks.training.

DeepLabV3+ MobileNetV2-D16 on synthetic streets of 480x360, eight images a step: MMSegmentation as
its own `tools/train.py` runs it (Runner, EncoderDecoder, its loop, float32), and this package's, in
float32 and with `--amp`; at the smallest crop on a processor without units for bfloat16, too: this
one, told to do without. The same weights, images and crops, no dropout; each run is a process,
in turn. A step is all of it: loading eight images, forward, backward, optimizer.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, save_checkpoint
from mmseg.registry import DATASETS, MODELS

import psa_seg.registered  # noqa: F401
from benchmarks.measure import in_a_process, options, parse, resident, write
from psa_seg.datasets.replay import NumberedDataset
from psa_seg.datasets.synthetic import prepare
from psa_seg.engine.config import load_config, override
from psa_seg.engine.doctor.classes import heads
from psa_seg.engine.runner import PairedRunner

CONFIG = Path(__file__).parents[1] / "configs/baseline_deeplabv3plus_mobilenetv2_cityscapes.py"
SIZE = (360, 480)  # rows, columns
IMAGES = 16
# By side: what the environment adds. oneDNN, which convolves, takes no newer instructions than it
# is told to: AVX-512 as of 2018, or AVX2, has no bfloat16.
OLD, OLDER = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}
SIDES: dict[str, dict[str, str]] = {
    "upstream": {},
    "ours": {},
    "ours, --amp": {},
    "ours, AVX-512 without bfloat16": OLD,
    "ours, --amp, AVX-512 without bfloat16": OLD,
    "ours, AVX2": OLDER,
    "ours, --amp, AVX2": OLDER,
}
WARMUP = 2
LEAST_CROP = 32
# How far losses may be from upstream's, relative to it: the first, and the last, of gradients:
# rounding alone, in float32, too, took that half as far in ten steps.
AGREE = {"bfloat16": (0.02, 0.03), "float32": (1e-3, 0.03)}


class Clock(Hook):
    """Notes when each step ends, and its loss."""

    def before_train(self, runner: Runner) -> None:
        """Before the first step."""
        self.before = resident("VmRSS")
        self.ends: list[float] = []
        self.losses: list[float] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """After a step."""
        self.ends.append(time.perf_counter())
        self.losses.append(float(outputs["loss"]))

    def found(self) -> dict[str, Any]:
        """Median time of a step, first and last loss, and the most memory above that before."""
        steps = [b - a for a, b in zip(self.ends[WARMUP:], self.ends[WARMUP + 1 :], strict=False)]
        return {
            "step_ms": 1e3 * statistics.median(steps),
            "losses": (self.losses[0], self.losses[-1]),
            "peak_mib": (resident("VmHWM") - self.before) / 2**20,
        }


def described(side: str, folder: Path, crop: int, steps: int) -> Config:
    """The config of a side: upstream's types, or the config's own."""
    config = load_config(str(CONFIG))
    override(
        config,
        {
            "train_dataloader.num_workers": 0,
            "train_dataloader.dataset.data_root": str(folder / "data"),
            "train_dataloader.dataset.pipeline.2.scale": SIZE[::-1],
            "train_dataloader.dataset.pipeline.3.crop_size": (crop, crop),
            "model.data_preprocessor.size": (crop, crop),
            "model.backbone.init_cfg": None,
            "train_cfg.max_iters": steps,
            "default_hooks.checkpoint": None,
            "custom_hooks": [],
            "load_from": str(folder / "start.pth"),
        },
    )
    for _, head in heads(config.model):
        head.dropout_ratio = 0.0
    config.work_dir = config.visualizer.name = str(folder / "work")
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.test_dataloader = config.test_cfg = config.test_evaluator = None
    if "--amp" in side:
        config.optim_wrapper.update(type="CPUAmpOptimWrapper", dtype="bfloat16")
    if side == "upstream":
        config.model.type = "EncoderDecoder"
        config.channels_last = False
        config.train_cfg = dict(type="IterBasedTrainLoop", max_iters=steps, val_interval=steps + 1)
    return config


def train(side: str, folder: Path, crop: int, steps: int) -> dict[str, Any]:
    """Train a few steps, here: their time, and two losses."""
    config = described(side, folder, crop, steps)
    runner_type = PairedRunner
    if side == "upstream":
        runner_type = Runner
        built = DATASETS.build(config.train_dataloader.dataset)
        config.train_dataloader.dataset = None  # what is built has no place in a config
        dataset = NumberedDataset(built, config.randomness.seed)
    runner = runner_type.from_cfg(config)
    if side == "upstream":
        runner._train_dataloader = {**runner._train_dataloader, "dataset": dataset}
    clock = Clock()
    runner.register_hook(clock)
    runner.train()
    return clock.found()


def measure(
    crops: Sequence[int], rounds: int, steps: int, threads: int
) -> Iterator[dict[str, Any]]:
    """One row per crop and side: medians over processes, and upstream's time as a multiple."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder, "data"), dict(train=IMAGES, val=0, test=0), SIZE)
        torch.manual_seed(0)
        model = MODELS.build(described("ours", Path(folder), crops[0], steps).model)
        save_checkpoint({"state_dict": model.state_dict()}, str(Path(folder, "start.pth")))
        for crop in crops:
            sides = {s: e for s, e in SIDES.items() if not e or crop == min(crops)}
            runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
            for _ in range(rounds):
                for side, environment in sides.items():
                    args = [side, folder, str(crop), str(steps)]
                    runs[side].append(in_a_process(__spec__.name, args, threads, environment))
            right = runs["upstream"][0]["losses"]
            whole = statistics.median(run["step_ms"] for run in runs["upstream"])
            for side, found in runs.items():
                dtype = "bfloat16" if "--amp" in side else "float32"
                for losses in (run["losses"] for run in found):
                    apart = [abs(a / b - 1) for a, b in zip(losses, right, strict=True)]
                    if not all(a <= most for a, most in zip(apart, AGREE[dtype], strict=True)):
                        raise SystemExit(f"error: losses differ ({side}): there are no figures")
                step = statistics.median(run["step_ms"] for run in found)
                yield {
                    "side": side,
                    "dtype": dtype,
                    "crop": f"{crop}x{crop}",
                    "runs": rounds,
                    "steps": steps,
                    "step_ms": round(step, 1),
                    "speed_ratio": round(whole / step, 3),
                    "peak_mib": round(statistics.median(run["peak_mib"] for run in found)),
                }


def main() -> None:
    """Measure, write one CSV."""
    parser = options(__doc__)
    parser.add_argument(
        "--crops",
        type=int,
        nargs="+",
        default=[256, 160, 128],
        help="Sides of the crops in pixels (default: 256 160 128).",
    )
    parser.add_argument(
        "--steps", type=int, default=12, help="Steps of each run (default: %(default)s)."
    )
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)  # side, folder, crop, steps
    parser.set_defaults(rounds=5, device="cpu")
    args = parse(parser)
    if min(args.crops) < LEAST_CROP or args.steps < WARMUP + 2:
        parser.error(f"crops of at least {LEAST_CROP} pixels, and {WARMUP + 2} steps")
    init_default_scope("mmseg")
    if args.one:
        side, folder, crop, steps = args.one
        print("\n" + json.dumps(train(side, Path(folder), int(crop), int(steps))))
        return
    rows = measure(args.crops, args.rounds, args.steps, torch.get_num_threads())
    write(rows, "training", args.device, args.out)


if __name__ == "__main__":
    main()
