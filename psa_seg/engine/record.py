"""The record of a run: what it was, on what it ran, and the counts its scores come from."""

import json
import platform
import re
import resource
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch import nn
from torch.utils.benchmark import Timer

from psa_seg.engine import identity
from psa_seg.engine.flops import count_flops
from psa_seg.errors import UserError
from psa_seg.evaluation import scores

NEEDED = (  # what others read of a record
    *("label", "config", "config_hash", "setting", "exploratory"),
    *("decoder", "backbone", "attentions", "data", "data_hash", "seed"),
    *("max_iterations", "crop", "batch_size", "optimizer", "precision", "classes"),
    *("train_images", "val_images", "parameters", "wall_time_s", "training_memory", "sittings"),
    "validations",
)
WARMUP, TIMED = 2, 9  # forward passes
PACKAGES = ("psa-seg", "torch", "numpy", "onedl-mmcv", "onedl-mmengine", "onedl-mmsegmentation")


def environment() -> dict[str, Any]:
    """Hardware and versions that a figure was measured on."""
    gpu, threads = torch.cuda.is_available(), torch.get_num_threads()
    return {
        "device": torch.cuda.get_device_name()
        if gpu
        else f"CPU, {threads} thread{'s' * (threads > 1)}",
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


def load_record(path: Path) -> dict[str, Any]:
    """The record at `path`.

    Raises:
        UserError: where it is none.
    """
    try:
        record = json.loads(path.read_text())
        missing = [key for key in NEEDED if key not in record]
    except (OSError, ValueError, TypeError) as error:
        raise _no_record(path, str(error)) from error
    if missing:
        raise _no_record(path, f"it has no {missing[0]}")
    return record


def _no_record(path: Path, why: str) -> UserError:
    return UserError(f"no record of a run: {path}\n  {why}\n  do         take it away")


def read_record(path: Path, iteration: int) -> dict[str, Any]:
    """What the run that `path` is the record of had come to by `iteration`; empty before that."""
    if iteration == 0 or not path.is_file():
        return {}
    record = load_record(path)
    record["validations"] = [v for v in record["validations"] if v["iteration"] <= iteration]
    return record


def is_complete(record: Mapping[str, Any]) -> bool:
    """Whether a run has come to its end: what inference costs is measured last."""
    return "inference" in record and bool(record["validations"])


def describe(runner: Runner) -> dict[str, Any]:
    """What a run is, as far as it is known before its first step.

    Args:
        runner: with its training loop built.
    """
    config, train, val = runner.cfg, runner.train_dataloader.dataset, runner.val_dataloader.dataset
    return {
        "label": identity.label(config),
        "config": Path(config.filename).name,
        "config_hash": identity.fingerprint(config),
        "setting": identity.setting(config),
        "exploratory": config.exploratory,
        "decoder": identity.decoder(config.model),
        "backbone": identity.backbone(config.model),
        "attentions": identity.attentions(config.model),
        "data": config.data_name,
        "data_hash": identity.fingerprint_data(train.dataset, val),
        "seed": runner.seed,
        "max_iterations": runner.max_iters,
        "crop": list(config.model.data_preprocessor.get("size") or ()),
        "batch_size": runner.train_loop.split.images,
        "precision": config.optim_wrapper.get("dtype", "float32"),
        "optimizer": dict(config.optim_wrapper.optimizer),
        "train_images": len(train),
        "val_images": len(val),
        "classes": list(val.metainfo["classes"]),
        "parameters": sum(p.numel() for p in runner.model.parameters()),
    }


def sitting(runner: Runner) -> dict[str, Any]:
    """From which step, and by what, a run or this part of an interrupted one is done."""
    return {
        "from_step": runner.iter,
        "images_at_once": runner.train_loop.split.at_once,
        "commit": identity.commit(),
        "processes": runner.world_size,
        "environment": environment(),
    }


def measure_inference(model: nn.Module, plain: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """What one image costs from pixels to logits at the head's resolution, in float32.

    Times are medians, taken in turns, so that what else the machine does slows both alike.

    Args:
        model: an EncoderDecoder.
        plain: its twin without attention, on the same device; its weights do not matter.
        size: rows and columns of the image.

    Returns:
        `size`, `GFLOPs` (two for each multiply-add; None where they cannot be counted),
        `milliseconds`, and those of the twin as `plain_milliseconds`.
    """
    flops = count_flops(model, (1, 3, *size), mode="tensor")
    image = next(model.parameters()).new_zeros(1, 3, *size)
    training = model.training
    timers = [
        Timer(
            "model(image, mode='tensor')",
            globals={"model": each.eval(), "image": image},
            num_threads=torch.get_num_threads(),
        )
        for each in (model, plain)
    ]
    with torch.no_grad():
        rounds = [[timer.timeit(1).mean for timer in timers] for _ in range(WARMUP + TIMED)]
    model.train(training)
    own, twin = (1e3 * median(times) for times in zip(*rounds[WARMUP:], strict=True))
    return {
        "size": list(size),
        "GFLOPs": round(flops["Global"] / 1e9, 3) if flops else None,
        "milliseconds": round(own, 3),
        "plain_milliseconds": round(twin, 3),
    }


def training_memory() -> dict[str, Any]:
    """The most memory so far, in MiB: a GPU's, of one process, or else the process's own."""
    if torch.cuda.is_available():
        return {"MiB": torch.cuda.max_memory_allocated() >> 20, "of": "GPU, allocated"}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"MiB": peak >> 20, "of": "process, resident"}


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a run's record as JSON, as far as the run has come; its scores are the last ones."""
    told = dict(record)
    if record["validations"]:
        final = scores(np.array(record["validations"][-1]["confusion"]))
        told |= {
            "iterations": record["validations"][-1]["iteration"],
            **{name: round(float(final[name]), 4) for name in ("mIoU", "mAcc", "aAcc")},
            "IoU": {
                name: None if np.isnan(value) else round(float(value), 4)
                for name, value in zip(record["classes"], final["IoU"], strict=True)
            },
        }
    part = path.with_suffix(".part")  # a full disk, or a kill, leaves the record before
    part.write_text(_rows_in_line(json.dumps(told, indent=1)) + "\n")
    part.replace(path)


def _rows_in_line(text: str) -> str:
    """Lists of numbers, such as a row of a confusion matrix, in one line each."""
    return re.sub(r"\[[\s\d,.]*\]", lambda match: " ".join(match[0].split()), text)
