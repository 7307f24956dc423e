"""From a config to a trained or tested model."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import find_latest_checkpoint
from mmengine.utils import import_modules_from_strings

from psa_seg.engine.preflight import (
    check_amp,
    check_checkpoint,
    check_data,
    check_seed,
    check_weights,
)
from psa_seg.engine.runner import PairedRunner
from psa_seg.errors import UserError


def train(config: Config, amp: bool = False, must_resume: bool = False) -> None:
    """Check, build, train, validate, report.

    Args:
        config: with `work_dir` set.
        must_resume: a run that cannot be resumed is an error, and not a fresh start.
        amp: mixed precision: bfloat16 where the GPU has it, else float16 with loss scaling.

    Raises:
        UserError: for all that a user can mend.
    """
    if amp:
        check_amp()
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = "bfloat16" if native else "float16"
        config.optim_wrapper.update(type="AmpOptimWrapper", dtype=dtype, loss_scale="dynamic")
    check_data(config, "train_dataloader", "val_dataloader")
    check_weights(config)
    _register(config)
    resumed = find_latest_checkpoint(config.work_dir) if config.resume else None
    if resumed:
        check_seed(config, resumed)
        config.load_from = None  # mmengine would resume from there, and forget this run
    elif must_resume:
        raise UserError(
            f"nothing to resume: no checkpoint in {config.work_dir}\n"
            "  do         correct --work-dir or --seed, or leave --resume out to start anew"
        )
    elif config.load_from:
        check_checkpoint(config.model, config.load_from, new="attention")
        config.resume = False
    PairedRunner.from_cfg(config).train()


def evaluate(
    config: Config, checkpoint: str, tta: bool = False, show_dir: str | None = None
) -> None:
    """Score a checkpoint on the config's test loader.

    Args:
        config: with `work_dir` set.
        checkpoint: path of a checkpoint of this very model.
        tta: average over the config's test-time augmentations (`tta_pipeline`).
        show_dir: folder for one picture per image: image, truth, prediction.

    Raises:
        UserError: for all that a user can mend.
    """
    if not Path(checkpoint).is_file():
        raise UserError(f"checkpoint not found: {checkpoint}")
    check_data(config, "test_dataloader")
    _register(config)
    config.load_from, config.resume = checkpoint, False
    config.model.backbone.init_cfg = None  # every weight comes from the checkpoint
    config.custom_hooks = [dict(type="PanelHook", out_dir=show_dir)] if show_dir else []
    check_checkpoint(config.model, checkpoint)
    if tta:
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.model = dict(config.tta_model, module=config.model)
    PairedRunner.from_cfg(config).test()


def _register(config: Config) -> None:
    """Import what the config names, and look types up where it says, as the Runner will."""
    import_modules_from_strings(**config.custom_imports)
    init_default_scope(config.default_scope)


def choose_work_dir(name: str, given: str | None, resume: bool) -> str:
    """A work directory in which nothing gets overwritten.

    Args:
        name: of the run; its directories are `work_dirs/NAME`, `work_dirs/NAME_2`, ...
        given: the user's choice, which goes first.
        resume: go on in it, or in the latest of those; else in the first that is new or empty.

    Raises:
        UserError: where the given directory holds something that is not to be resumed.
    """
    if given:
        if not resume and _is_taken(Path(given)):
            raise UserError(
                f"{given} is not empty\n"
                "  do         continue its run with --resume, or choose another --work-dir"
            )
        return given
    latest = work_dir = Path("work_dirs", name)
    number = 2
    while _is_taken(work_dir):
        latest, work_dir = work_dir, Path("work_dirs", f"{name}_{number}")
        number += 1
    return str(latest if resume else work_dir)


def _is_taken(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())
