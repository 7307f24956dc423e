"""What an option of the command line changes in a config."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from mmengine.config import Config

from psa_seg.engine.autocast import has_bfloat16
from psa_seg.engine.doctor.validation import scorers
from psa_seg.engine.hooks import ProfileHook
from psa_seg.engine.tool import BACKENDS
from psa_seg.errors import UserError
from psa_seg.evaluation import further
from psa_seg.registry import name_of

WRAPPERS = ("OptimWrapper", "AmpOptimWrapper", "CPUAmpOptimWrapper")  # that --amp may displace
# Time of a step in bfloat16, as a multiple of float32's: benchmarks/training.py measures it.
WITHOUT_UNITS = {"AVX-512": 1.4, "AVX2": 11}


def log_to(config: Config, names: Sequence[str], run: str) -> None:
    """Send losses and scores to these `BACKENDS`, too, under the name of the run.

    Raises:
        UserError: where the package of one is not installed.
    """
    for name in names:
        if find_spec(name) is None:
            raise UserError(
                f"--log-to {name} needs the package {name}, which is not installed\n"
                f"  do         pip install {name}"
            )
        backend: dict[str, Any] = dict(type=BACKENDS[name])
        if name == "wandb":
            backend["init_kwargs"] = dict(project="psa_seg", name=run)
        config.visualizer.vis_backends.append(backend)


def has_common_wrapper(config: Config) -> bool:
    """Whether `use_amp` has a wrapper for the one that the config names."""
    return name_of(config.optim_wrapper.get("type", WRAPPERS[0])) in WRAPPERS


def use_amp(config: Config, dtype: str | None = None) -> None:
    """Train in mixed precision: bfloat16, or float16 with loss scaling.

    On a CPU with channels side by side in memory: so the demos of DeepLabV3+ (ResNet, MobileNetV2)
    and of HRNet + OCR were faster.

    Args:
        config: changed in place.
        dtype: `bfloat16` or `float16`; by default the first where the hardware has it.

    Raises:
        UserError: where the hardware does not have that dtype, or the config has a wrapper that
            this would displace.
    """
    if not has_common_wrapper(config):
        kind = name_of(config.optim_wrapper.type)
        raise UserError(
            f"mixed precision (--amp) is a wrapper of its own, and optim_wrapper.type is {kind}\n"
            "  do         leave one of the two out"
        )
    if not torch.cuda.is_available():
        _require_cpu(dtype)
        config.optim_wrapper.pop("loss_scale", None)
        config.optim_wrapper.update(type="CPUAmpOptimWrapper", dtype="bfloat16")
        config.channels_last = True
        return
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = dtype or ("bfloat16" if native else "float16")
    if dtype == "bfloat16" and not native:
        raise UserError(
            "this GPU has no bfloat16 of its own\n  do         use float16, or another GPU"
        )
    scaler = dict(enabled=dtype == "float16")  # it has too few small numbers
    config.optim_wrapper.update(type="AmpOptimWrapper", dtype=dtype, loss_scale=scaler)


def _require_cpu(dtype: str | None) -> None:
    if dtype == "float16":
        raise UserError(
            "mixed precision in float16 needs a GPU, and PyTorch sees none here\n"
            "  do         use bfloat16"
        )
    if not has_bfloat16():
        costs = (f"{times} times with {units}" for units, times in WITHOUT_UNITS.items())
        raise UserError(
            "mixed precision (--amp) needs a GPU, or a processor with units for bfloat16\n"
            f"  why        a step without them took longer than in float32: {', '.join(costs)}\n"
            "  do         leave it out"
        )


def score_also(config: Config, names: Sequence[str]) -> None:
    """Have a test score these, too, as of `psa_seg.evaluation.further`.

    Raises:
        UserError: where there is no ConfusionMetric to do so, or it is to score what cannot be.
    """
    ours = scorers(config.test_evaluator)
    for scorer in ours:
        if wrong := further.wrong(scorer.get("also", [])):
            raise UserError(f"{config.filename}: {wrong}\n  do         correct test_evaluator.also")
    if names and not ours:
        raise UserError(
            "--also is scored by ConfusionMetric, which test_evaluator has not\n"
            "  do         add dict(type='ConfusionMetric') to it"
        )
    for scorer in ours if names else ():
        scorer.also = [*dict.fromkeys([*scorer.get("also", ()), *names])]


def require_confidence(config: Config) -> None:
    """Raise UserError where views would be averaged, and confidence be that of the last view."""
    kinds = (config.tta_model.get("type"), config.model.get("type"))
    if not all(str(kind).startswith("Lean") for kind in kinds):
        raise UserError(
            f"calibration of several views needs the confidence of their mean, which {kinds[0]} of "
            f"{kinds[1]} does not give\n"
            "  do         take LeanTTAModel and a Lean... segmentor, or leave calibration out"
        )


def profile(config: Config, steps: int) -> None:
    """Train for a few steps, of which `steps` are recorded, and do nothing else.

    Raises:
        UserError: for less than one step.
    """
    if steps < 1:
        raise UserError(f"--profile {steps}: it must be at least 1")
    config.train_cfg.max_iters = ProfileHook.BEFORE + steps
    config.custom_hooks = [dict(type="ProfileHook", steps=steps)]
    config.default_hooks.checkpoint = None
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
