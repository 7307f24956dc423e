"""From a config to a trained or tested model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS

from psa_seg.engine.distributed import once
from psa_seg.engine.explain import explaining
from psa_seg.engine.loop import split_batch
from psa_seg.engine.preflight import check_checkpoint, check_data, check_model, check_weights
from psa_seg.engine.runner import PairedRunner
from psa_seg.engine.work_dir import (
    check_space,
    check_writable,
    choose_work_dir,
    find_run,
    remove_if_empty_handed,
)
from psa_seg.errors import UserError
from psa_seg.models import LeanEncoderDecoder

MASK_LOADERS = ("LoadLabelIds", "LoadAnnotations")


def train(config: Config, must_resume: bool = False) -> None:
    """Check, build, train, validate, report.

    Args:
        config: with `work_dir` set.
        must_resume: a run that cannot be resumed is an error, and not a fresh start.

    Raises:
        UserError: for all that a user can mend.
    """
    with explaining(config):
        fresh, runner = not config.resume, None
        try:
            _register(config)
            config = once(lambda: _prepare(config, must_resume), each_node=True)
            runner = PairedRunner.from_cfg(config)
            once(lambda: check_space(config, runner.model))
            runner.train()
        except Exception:
            if fresh and get_rank() == 0 and not (runner and runner.has_trained):
                remove_if_empty_handed(config.work_dir)
            raise


def _prepare(config: Config, must_resume: bool) -> Config:
    """The config that is run, after all checks."""
    going_on = config.resume
    split_batch(
        config.train_dataloader.batch_size,
        get_world_size(),
        config.train_cfg.get("micro_batch_size"),
    )
    check_model(config)
    check_data(config, "train_dataloader", "val_dataloader")
    config.start_from = config.load_from  # what follows may put a checkpoint of the run there
    resumed = find_run(config) if config.resume else None
    if resumed:
        config.load_from = resumed
        check_checkpoint(config.model, resumed)
    elif must_resume:
        raise UserError(
            f"nothing to resume: no checkpoint in {config.work_dir}\n"
            "  do         correct --work-dir or --seed, or leave --resume out to start anew"
        )
    config.resume = resumed is not None
    check_weights(config)
    if config.load_from and not resumed:
        check_checkpoint(config.model, config.load_from, new="attention")
    choose_work_dir("", config.work_dir, resume=going_on)  # nobody else has begun there meanwhile
    check_writable(config.work_dir)
    return config


def evaluate(
    config: Config,
    checkpoint: str,
    tta: bool = False,
    show_dir: str | None = None,
    official: bool = False,
) -> None:
    """Score a checkpoint on the config's test loader.

    Args:
        config: with `work_dir` set.
        checkpoint: path of a checkpoint of this very model.
        tta: average over the config's test-time augmentations (`tta_pipeline`).
        show_dir: folder for one picture per image: image, truth, prediction.
        official: add the figures of Cityscapes' own evaluator.

    Raises:
        UserError: for all that a user can mend.
    """
    config.custom_hooks = [dict(type="PanelHook", out_dir=show_dir)] if show_dir else []
    if official:
        scorers = config.test_evaluator
        scorers = scorers if isinstance(scorers, list) else [scorers]
        config.test_evaluator = [*scorers, dict(type="CityscapesPixelMetric")]
    folders = [config.work_dir, *filter(None, [show_dir])]
    _test(config, checkpoint, tta, folders, lambda: check_data(config, "test_dataloader"))


def predict(config: Config, checkpoint: str, folder: str, tta: bool = False) -> None:
    """Predict images that have no masks: those of the test loader.

    Args:
        config: with `work_dir` set; its test loader's pipelines lose the loading of masks.
        checkpoint: path of a checkpoint of this very model.
        folder: of the predictions, PNGs of train ids named as the images.
        tta: as for `evaluate`.

    Raises:
        UserError: for all that a user can mend.
    """
    dataset = config.test_dataloader.dataset
    dataset.pipeline = without_masks(dataset.pipeline)
    config.tta_pipeline = without_masks(config.get("tta_pipeline", []))
    config.custom_hooks = []
    config.test_evaluator = dict(type="PredictionWriter", folder=folder)
    _test(config, checkpoint, tta, [config.work_dir], lambda: None)


def without_masks(steps: Sequence[Any]) -> list[Any]:
    """A pipeline, or a list of test-time augmentations, without steps that load masks."""
    kept: list[Any] = []
    for step in steps:
        if isinstance(step, list):
            step = without_masks(step)
        elif "transforms" in step:
            step = {**step, "transforms": without_masks(step["transforms"])}
        elif step["type"] in MASK_LOADERS:
            continue
        if step:  # of alternatives none may be left
            kept.append(step)
    return kept


def _test(
    config: Config, checkpoint: str, tta: bool, folders: list[str], check: Callable[[], None]
) -> None:
    """Run the test loop, after `check` and others; `folders` are written to."""
    if not Path(checkpoint).is_file():
        kind = "is a folder" if Path(checkpoint).is_dir() else "not found"
        raise UserError(f"checkpoint {kind}: {checkpoint}\n  do         name a file, iter_*.pth")

    def check_all() -> None:
        check_model(config)
        check()
        check_checkpoint(config.model, checkpoint)
        for folder in folders:
            check_writable(folder)

    with explaining(config):
        _register(config)
        config.load_from, config.resume = checkpoint, False
        config.model.backbone.init_cfg = None  # every weight comes from the checkpoint
        once(check_all, each_node=True)
        if tta:
            _check_views(config)
            config.test_dataloader.dataset.pipeline = config.tta_pipeline
            config.model = dict(config.tta_model, module=config.model)
        PairedRunner.from_cfg(config).test()


def _check_views(config: Config) -> None:
    if "tta_model" not in config or "tta_pipeline" not in config:
        raise UserError(
            f"--tta needs tta_model and tta_pipeline: {config.filename}\n"
            "  do         take the bases of configs/, which have both, or leave --tta out"
        )
    kind = config.model.type
    lean = issubclass(MODELS.get(kind), LeanEncoderDecoder)
    if lean and config.tta_model.type == "SegTTAModel":
        raise UserError(
            f"tta_model.type is 'SegTTAModel', which reads logits that {kind} leaves "
            f"out: {config.filename}\n  do         make it 'LeanTTAModel': same label maps, less "
            "memory"
        )


def check(config: Config) -> None:
    """The model can be built as written: of many runs, before the first of them is trained.

    Raises:
        UserError: where it cannot.
    """
    _register(config)
    check_model(config)


def _register(config: Config) -> None:
    """Import what the config names, and look types up where it says, as the Runner will."""
    import_modules_from_strings(**config.custom_imports)
    init_default_scope(config.default_scope)
