"""What a process writes into the record of its run."""

import copy
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn
from torch.utils.benchmark import Timer

from psa_seg.engine.autocast import precision
from psa_seg.engine.doctor.sizes import crops, padded
from psa_seg.engine.flops import count_flops
from psa_seg.models import naming
from psa_seg.models.placement import attentions, without_attention
from psa_seg.records import Attempt, Environment, Inference, Memory, Plan, Record
from psa_seg.records.fingerprint import fingerprint, of_data
from psa_seg.records.typed import from_plain

WARMUP, TIMED = 2, 9  # forward passes
PACKAGES = ("psa-seg", "torch", "numpy", "onedl-mmcv", "onedl-mmengine", "onedl-mmsegmentation")


def environment() -> Environment:
    """Hardware and versions that a figure is measured on."""
    gpu, threads = torch.cuda.is_available(), torch.get_num_threads()
    device = f"CPU, {threads} thread{'s' * (threads > 1)}"
    return Environment(
        device=torch.cuda.get_device_name() if gpu else device,
        processor=_processor(),
        python=platform.python_version(),
        cuda=torch.version.cuda if gpu else None,
        packages={name: version(name) for name in PACKAGES},
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def setting(config: Config) -> str:
    """The fingerprint of the plain twin: runs that share it differ in the attention alone."""
    plain = copy.deepcopy(config)
    plain.model = without_attention(plain.model)
    by_name = plain.optim_wrapper.get("paramwise_cfg") or {}
    by_name.get("custom_keys", {}).pop("attention", None)  # it would have nothing to act on
    if not any(by_name.values()):
        plain.optim_wrapper.pop("paramwise_cfg", None)
    return fingerprint(plain)


def begin(runner: Runner) -> Record:
    """The record of a run before its first step.

    Args:
        runner: with its training loop built.
    """
    config, train, val = runner.cfg, runner.train_dataloader.dataset, runner.val_dataloader.dataset
    return Record(
        label=config.label or naming.label(config.model),
        config=Path(config.filename).name,
        config_hash=fingerprint(config),
        setting=setting(config),
        exploratory=config.exploratory,
        decoder=naming.decoder(config.model),
        backbone=naming.backbone(config.model),
        attentions=plain(attentions(config.model)),
        data=config.data_name,
        data_hash=of_data(train.dataset, val),
        seed=runner.seed,
        max_iterations=runner.max_iters,
        crop=crop(config),
        batch_size=runner.train_loop.split.images,
        precision=precision(config),
        optimizer=plain(config.optim_wrapper.optimizer),
        train_images=len(train),
        val_images=len(val),
        classes=tuple(val.metainfo["classes"]),
        parameters=sum(p.numel() for p in runner.model.parameters()),
        wall_time_s=0.0,
        training_memory=Memory(MiB=0, of=training_memory().of),
        attempts=(attempt(runner),),
        data_file=plain(config.get("data_file") or {}),
        start=dict(config.get("start") or {}),
        score=config.score,
        plan=from_plain(Plan, plain(config.plan), "plan") if config.plan else None,
    )


def crop(config: Config) -> tuple[int, ...]:
    """Rows and columns of what the network sees in training; empty where they vary.

    `check_sizes` has found that crops and preprocessor agree.
    """
    cut = next((size for _, size in crops(config)), ())
    return cut or padded(config)


def attempt(runner: Runner) -> Attempt:
    """From which step, and on what, a run or this part of an interrupted one is done."""
    return Attempt(
        from_step=runner.iter,
        images_at_once=runner.train_loop.split.at_once,
        commit=commit(),
        processes=runner.world_size,
        environment=environment(),
    )


def commit() -> str | None:
    """The commit of the code, `-dirty` after it where files differ; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed, maybe within somebody's own checkout
        return None
    options = ("--always", "--dirty", "--abbrev=12", "--exclude=*")
    command = ["git", "-C", str(root), "describe", *options]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def measure_inference(model: nn.Module, plain: nn.Module, size: tuple[int, int]) -> Inference:
    """What one image costs from pixels to logits at the head's resolution, in float32.

    Times are medians, taken in turns, so that what else the machine does slows both alike.

    Args:
        model: an EncoderDecoder.
        plain: its twin without attention, on the same device; its weights do not matter.
        size: rows and columns of the image.
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
    return Inference(
        size=tuple(size),
        GFLOPs=round(flops["Global"] / 1e9, 3) if flops else None,
        milliseconds=round(own, 3),
        plain_milliseconds=round(twin, 3),
    )


def training_memory() -> Memory:
    """The most memory so far: a GPU's, of one process, or else the process's own."""
    if torch.cuda.is_available():
        return Memory(MiB=torch.cuda.max_memory_allocated() >> 20, of="GPU, allocated")
    try:
        import resource
    except ImportError:  # Windows has none
        return Memory(MiB=0, of="process, not measured here")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Memory(MiB=peak >> 20, of="process, resident")


def plain(value: Any) -> Any:
    """A config's part in the types that JSON has."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
