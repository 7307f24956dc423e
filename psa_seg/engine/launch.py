"""From a config to a trained or tested model."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from psa_seg.engine.preflight import check_amp, check_checkpoint, check_data, check_weights
from psa_seg.engine.runner import PairedRunner
from psa_seg.errors import UserError


def train(config: Config, amp: bool = False) -> None:
    """Check, build, train, validate, report.

    Args:
        config: with `work_dir` set.
        amp: mixed precision: bfloat16 where the GPU has it, else float16 with loss scaling.

    Raises:
        UserError: for all that a user can mend.
    """
    if amp:
        check_amp()
        dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        config.optim_wrapper.update(type="AmpOptimWrapper", dtype=dtype, loss_scale="dynamic")
    check_data(config, "train_dataloader", "val_dataloader")
    check_weights(config)
    import_modules_from_strings(**config.custom_imports)
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
    import_modules_from_strings(**config.custom_imports)
    config.load_from = checkpoint
    config.model.backbone.init_cfg = None  # every weight comes from the checkpoint
    config.custom_hooks = [dict(type="PanelHook", out_dir=show_dir)] if show_dir else []
    check_checkpoint(config.model, checkpoint)
    if tta:
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.model = dict(config.tta_model, module=config.model)
    PairedRunner.from_cfg(config).test()


def choose_work_dir(name: str, given: str | None, resume: bool) -> str:
    """A work directory in which nothing gets overwritten.

    Args:
        name: of the run; its directories are `work_dirs/NAME`, `work_dirs/NAME_2`, ...
        given: the user's choice, which goes first.
        resume: continue in the latest of them; else the first that holds no checkpoint.

    Raises:
        UserError: where the given directory holds a run that is not to be resumed.
    """
    if given:
        if not resume and _holds_run(Path(given)):
            raise UserError(
                f"{given} holds a run already\n"
                "  do         continue it with --resume, or choose another --work-dir"
            )
        return given
    latest = work_dir = Path("work_dirs", name)
    number = 2
    while _holds_run(work_dir):
        latest, work_dir = work_dir, Path("work_dirs", f"{name}_{number}")
        number += 1
    return str(latest if resume else work_dir)


def _holds_run(directory: Path) -> bool:
    return any(directory.glob("*.pth"))
