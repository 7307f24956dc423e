"""The record of a run: what it was, on what it ran, and the counts its scores come from."""

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner

from psa_seg.evaluation import scores

PACKAGES = ("psa-seg", "torch", "numpy", "onedl-mmcv", "onedl-mmengine", "onedl-mmsegmentation")


def environment() -> dict[str, Any]:
    """Hardware and versions that a figure was measured on."""
    gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name()
        if gpu
        else f"CPU, {torch.get_num_threads()} threads",
        "processor": _processor(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda if gpu else None,
        "packages": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def read_record(path: Path, iteration: int) -> tuple[list[dict[str, Any]], float]:
    """Validations up to `iteration`, and seconds spent, of the run that `path` is the record of."""
    if iteration == 0 or not path.is_file():
        return [], 0.0
    record = json.loads(path.read_text())
    kept = [v for v in record["validations"] if v["iteration"] <= iteration]
    return kept, record["wall_time_s"]


def write_record(
    path: Path, runner: Runner, validations: Sequence[dict[str, Any]], wall_time: float
) -> None:
    """Write a run's record as JSON, as far as the run has come.

    Args:
        path: of the file.
        runner: in training, just after a validation.
        validations: iteration and confusion matrix (truth by row) of each.
        wall_time: seconds of training and validation so far, earlier sittings included.
    """
    final = scores(np.array(validations[-1]["confusion"]))
    classes = runner.val_dataloader.dataset.metainfo["classes"]
    record = {
        "config": Path(runner.cfg.filename).name,
        "data": runner.cfg.data_name,
        "seed": runner.seed,
        "iterations": runner.iter,
        "batch_size": runner.train_loop.split.images,
        "precision": runner.cfg.optim_wrapper.get("dtype", "float32"),
        "optimizer": dict(runner.cfg.optim_wrapper.optimizer),
        "train_images": len(runner.train_dataloader.dataset),
        "val_images": len(runner.val_dataloader.dataset),
        "parameters": sum(p.numel() for p in runner.model.parameters()),
        "wall_time_s": round(wall_time, 1),
        **{name: round(float(final[name]), 4) for name in ("mIoU", "mAcc", "aAcc")},
        "IoU": {n: round(float(v), 4) for n, v in zip(classes, final["IoU"], strict=True)},
        "environment": environment(),
        "validations": list(validations),
    }
    part = path.with_suffix(".part")  # a full disk, or a kill, leaves the record before
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.replace(path)
