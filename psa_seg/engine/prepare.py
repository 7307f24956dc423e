"""From a command line and a config file to one frozen `Run`; nothing writes to its config later."""

import argparse
import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from psa_seg.checkpoints.reading import load_checkpoint
from psa_seg.datasets.transforms import without_masks
from psa_seg.engine import options, weights, work_dir
from psa_seg.engine.config import load_config, override
from psa_seg.engine.demo import make_demo, quicken
from psa_seg.engine.distributed import once, restarts
from psa_seg.engine.doctor import (
    check_checkpoint,
    check_demo,
    check_names,
    check_views,
    new_heads,
    trained_model,
)
from psa_seg.engine.doctor.data import first_steps
from psa_seg.engine.doctor.validation import also_scored
from psa_seg.engine.explain import explaining, register
from psa_seg.engine.looking import TRAINED_ON, check_config, look_at_data
from psa_seg.engine.own_data import find_data, use_data
from psa_seg.engine.resuming import newest
from psa_seg.engine.run import Run
from psa_seg.engine.work_dir import TEMPLATE, Claim
from psa_seg.errors import UserError, stop_at
from psa_seg.files import absolute, missing, must_be_free, near
from psa_seg.models.placement import settled
from psa_seg.records.schema import OF_A_DEMO


def read(args: argparse.Namespace, more: dict[str, Any] | None = None) -> Config:
    """The config that the common arguments describe: its demo if asked for, then the overrides.

    Args:
        args: parsed.
        more: overrides besides those of `--cfg-options`.
    """
    config = load_config(args.config)
    data = find_data(args.data, args.classes) if args.data else None
    if args.classes and not data:
        raise UserError("--classes is for --data FOLDER\n  do         give both, or neither")
    if args.demo:
        make_demo(config, data)
    elif data:
        use_data(config, data)
    override(config, {**(args.cfg_options or {}), **(more or {})})
    if args.demo:
        quicken(config, args.cfg_options or {})
    config.allow_absent |= args.allow_absent or (args.demo and data is None)
    config.launcher = args.launcher
    if args.work_dir:
        config.work_dir = args.work_dir
    return config


def training_of(args: argparse.Namespace) -> Run:
    """The training that the command line of `tools/train.py` describes."""
    config = once(lambda: _training_config(args), each_node=True)
    return training(config, _name(args, config), must_resume=args.resume)


def _training_config(args: argparse.Namespace) -> Config:
    config = read(args, {} if args.seed is None else {"randomness.seed": args.seed})
    config.resume = args.resume or args.auto_resume or config.resume
    config.checkpoint_activations |= args.checkpoint_activations
    if args.amp:
        options.use_amp(config)
    options.log_to(config, args.log_to, _name(args, config))
    if args.profile is not None:
        options.profile(config, args.profile)
    return config


def _name(args: argparse.Namespace, config: Config) -> str:
    """What the run is called."""
    data = re.sub(r"[^\w-]+", "_", config.data_name.removesuffix(OF_A_DEMO)) if args.data else ""
    parts = [Path(args.config).stem, data, "demo" * args.demo]
    parts += [f"seed{args.seed}" if args.seed is not None else "", "profile" * bool(args.profile)]
    return "_".join(filter(None, parts))


def training(config: Config, name: str = "run", must_resume: bool = False) -> Run:
    """Check a training, and find or make its work directory.

    Args:
        config: overridden; `work_dir` in it goes before `name`.
        name: of the run.
        must_resume: a run that cannot be resumed is an error, and not a fresh start.

    Raises:
        UserError: for all that a user can mend; nothing is left behind then.
    """
    given = config.get("work_dir")
    register(config)
    with explaining(config):
        template = _checkpoints(config, Path())[1]
        found = once(lambda: _begun(name, given, template, config.resume))
        run = once(lambda: _checked(config, found, must_resume), each_node=True)
    if found is None:
        claim = once(lambda: work_dir.claim(name, given))
    else:
        claim = once(lambda: _claim_again(found))
    run.config.work_dir = str(claim.path)
    try:
        once(lambda: work_dir.try_writing(claim.path), each_node=True)
    except UserError:
        work_dir.abandon(claim)
        raise
    return replace(run, claim=claim)


def _begun(name: str, given: str | None, template: str, resume: bool) -> Path | None:
    """Where the run to go on with lies; None of a new one."""
    begun = work_dir.of_this_job(name, given) if restarts() else None
    return begun or (work_dir.find(name, given, template) if resume else None)


def _claim_again(folder: Path) -> Claim:
    """The directory of a run that goes on, or that was to go on and has not begun."""
    empty = not folder.is_dir() or not any(folder.iterdir())
    return work_dir.claim("", str(folder)) if empty else Claim(folder)


def _checkpoints(config: Config, folder: Path) -> tuple[Path, str]:
    """Where the checkpoints of a run in `folder` lie, and the template of their names."""
    hook = config.default_hooks.get("checkpoint") or {}
    out = hook.get("out_dir")
    return Path(out, folder.name) if out else folder, hook.get("filename_tmpl") or TEMPLATE


def _checked(config: Config, folder: Path | None, must_resume: bool) -> Run:
    """The run, but for its work directory; `folder` is that which it would go on in."""
    config = copy.deepcopy(config)
    config.model = settled(config.model)
    found = work_dir.checkpoints_in(*_checkpoints(config, folder)) if folder else []
    config.allow_absent |= bool(found)  # what was begun is brought to its end
    stop_at(check_config(config, *TRAINED_ON))
    config.data_hash = look_at_data(config, *TRAINED_ON)
    # By this name MMSegmentation's `inference_model` reads it.
    config.test_pipeline = copy.deepcopy(first_steps(config.test_dataloader.dataset))
    resumed, damaged = newest(config, found)
    if resumed:
        return replace(resumed, passed_over=tuple(damaged))
    if folder:
        stop_at(work_dir.check_foreign(folder, damaged))
    if must_resume:
        where = folder or Path("work_dirs")
        raise UserError(
            f"nothing to resume: no {'whole ' * bool(damaged)}checkpoint in {absolute(where)}\n"
            f"{near(where)}"
            "  do         correct --work-dir or --seed; to start here, give --auto-resume instead"
        )
    fetched = weights.fetch(config)
    config.start = weights.digests(fetched)
    start = fetched.get("load_from")
    anew = _require_start(config, start) if start else []
    return Run(
        config, Claim(Path()), checkpoint=start, anew=tuple(anew), passed_over=tuple(damaged)
    )


def scoring(
    config: Config,
    checkpoint: str,
    tta: bool = False,
    show_dir: str | None = None,
    official: bool = False,
    also: Sequence[str] = (),
) -> Run:
    """Check a test of a checkpoint on the config's test loader.

    Args:
        config: overridden; without a `work_dir`, the test is written beside the checkpoint.
        checkpoint: path of a checkpoint of this very model.
        tta: average over the config's test-time augmentations (`tta_pipeline`).
        show_dir: folder for one picture per image: image, truth, prediction, errors.
        official: add the figures of Cityscapes' own evaluator.
        also: what else is scored, as of `psa_seg.evaluation.further`.

    Raises:
        UserError: for all that a user can mend.
    """
    if show_dir:
        must_be_free(Path(show_dir), "--show-dir")
    config = copy.deepcopy(config)
    panels = [dict(type="PanelHook", out_dir=show_dir)] if show_dir else []
    config.custom_hooks = [dict(type="ScoresHook"), *panels]
    options.score_also(config, also)
    if official:
        scorers = config.test_evaluator
        scorers = scorers if isinstance(scorers, list) else [scorers]
        config.test_evaluator = [*scorers, dict(type="CityscapesPixelMetric")]
    return _tested(config, checkpoint, tta, [show_dir] if show_dir else [], ["test_dataloader"])


def predicting(config: Config, checkpoint: str, folder: str, tta: bool = False) -> Run:
    """Check a prediction of images that have no masks: those of the test loader.

    Args:
        config: as for `scoring`; its test loader's pipelines lose the loading of masks.
        checkpoint: path of a checkpoint of this very model.
        folder: of the predictions, PNGs of train ids named as the images.
        tta: as for `scoring`.

    Raises:
        UserError: for all that a user can mend.
    """
    config = copy.deepcopy(config)
    dataset = config.test_dataloader.dataset
    dataset.pipeline = without_masks(dataset.pipeline)
    config.tta_pipeline = without_masks(config.get("tta_pipeline", []))
    config.custom_hooks = []
    config.test_evaluator = dict(type="PredictionWriter", folder=folder)
    return _tested(config, checkpoint, tta, [], [])


def _tested(
    config: Config, checkpoint: str, tta: bool, folders: Sequence[str], loaders: Sequence[str]
) -> Run:
    """The run of a test loop; `folders` are written to, `loaders` checked."""
    if not Path(checkpoint).is_file():
        do = "name a file, iter_*.pth"
        if Path(checkpoint).is_dir():
            raise UserError(f"checkpoint is a folder: {absolute(checkpoint)}\n  do         {do}")
        raise missing("checkpoint", checkpoint, do)
    config.setdefault("work_dir", str(Path(checkpoint).parent / "test"))
    config.model = settled(config.model)

    def checked() -> list[Claim]:
        stop_at(check_config(config, *loaders))
        stop_at(check_demo(config, checkpoint))  # whose data are somewhere else
        look_at_data(config, *loaders)
        _require_fit(config, checkpoint, loaders)
        if tta:
            stop_at(check_views(config))
        claims: list[Claim] = []
        try:
            for folder in (config.work_dir, *folders):
                claims.append(work_dir.make(Path(folder)))
        except UserError:
            for made in claims:
                work_dir.abandon(made)
            raise
        return claims

    register(config)
    with explaining(config):
        claim, *others = once(checked, each_node=True)
    if tta and "calibration" in also_scored(config, "test_evaluator"):
        options.require_confidence(config)
    if tta:
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.model = dict(config.tta_model, module=config.model)
    return Run(config, claim, tuple(others), checkpoint)


def _require_start(config: Config, path: str) -> list[str]:
    """The tensors that a training from the weights at `path` draws anew, for other classes."""
    checkpoint = load_checkpoint(path)
    twin, anew = new_heads(config.model, checkpoint)
    stop_at(check_checkpoint(twin, checkpoint, path, new_attention=True))
    _tell_unknown(checkpoint, path)
    if not anew and (other := check_names(config, checkpoint, path, *TRAINED_ON)):
        print(other[0].rpartition("\n")[0])
        print("  so         its classifiers are kept, since they are as many")
    return anew


def _require_fit(config: Config, path: str, loaders: Sequence[str]) -> None:
    checkpoint = load_checkpoint(path)
    stop_at(check_checkpoint(config.model, checkpoint, path))
    stop_at(check_names(config, checkpoint, path, *loaders))
    _tell_unknown(checkpoint, path)


def _tell_unknown(checkpoint: dict[str, Any], path: str) -> None:
    if trained_model(checkpoint) is None:
        print(
            f"{path} does not tell the config it was trained with: its tensors fit, and are taken"
        )
