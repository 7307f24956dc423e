"""One run of an experiment: trained, or taken up again, and its record filed."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import cv2
from mmengine.config import Config

from psa_seg import files, shipped
from psa_seg.datasets.data_file import DataFile
from psa_seg.datasets.synthetic import prepare as draw
from psa_seg.engine import launch, prepare, weights
from psa_seg.engine.autocast import precision
from psa_seg.engine.config import load_config, override
from psa_seg.engine.demo import DATA_ROOT, shrink, shrink_own
from psa_seg.engine.describe import plain
from psa_seg.engine.lock import alone
from psa_seg.engine.options import use_amp
from psa_seg.engine.own_data import find_data, use_data
from psa_seg.errors import UserError
from psa_seg.models.placement import attentions, settled
from psa_seg.records import Record, read
from psa_seg.records.files import NAME
from psa_seg.records.fingerprint import fingerprint
from psa_seg.sweep.experiment import Experiment, Run

PICTURE_WIDTH = 1100  # pixels
BUSY = 75  # exit status of a run that another process is at (EX_TEMPFAIL of sysexits.h)


def configure(experiment: Experiment, run: Run) -> Config:
    """The config of a run.

    Raises:
        UserError: where an override does not fit it, or the experiment's config has an attention
            already.
    """
    with named(experiment, run):
        return _configured(experiment, run)


@contextmanager
def named(experiment: Experiment, run: Run) -> Iterator[None]:
    """A message that does not name the experiment's file gets it, and the run's name."""
    try:
        yield
    except UserError as error:
        if str(experiment.path) in str(error):
            raise
        raise type(error)(f"{error}\n  of         run {run.name} of {experiment.path}") from error


def _configured(experiment: Experiment, run: Run) -> Config:
    config = copy.deepcopy(_base(experiment.config))
    if attentions(config.model):
        raise UserError(
            f"{experiment.config} has an attention of its own\n"
            f"  where      config in {experiment.path}\n"
            "  do         take a plain one, baseline_*"
        )
    data = _data(experiment.data) if experiment.data else None
    if experiment.demo and data:
        shrink_own(config, data)
    elif experiment.demo:
        shrink(config, draw(DATA_ROOT))
    elif data:
        use_data(config, data)
    override(config, {**run.options, "randomness.seed": run.seed})
    if bool(attentions(config.model)) != run.attends:
        raise UserError(
            f"run {run.name} of {experiment.path} would train "
            f"{'a network without attention' if run.attends else 'an attention'}\n"
            "  do         place attentions in decode_head.attention, in a PolarizedNeck, or in "
            "backbone.attention"
        )
    if experiment.amp:
        use_amp(config, experiment.amp)
    if not any(hook.get("type") == "ReportHook" for hook in config.get("custom_hooks") or ()):
        raise UserError(
            f"a run without ReportHook in custom_hooks leaves no record: {experiment.path}\n"
            "  do         leave custom_hooks as they are in\n"
            f"             {shipped.CONFIGS}/_base_/default_runtime.py"
        )
    config.label, config.resume = run.label, True
    config.exploratory, config.score = experiment.exploratory, experiment.score
    config.plan = dict(seeds=experiment.seeds, comparisons=experiment.comparisons)
    config.work_dir = str(experiment.work_dir_of(run))
    config.model = settled(config.model)
    return config


@cache
def _base(path: Path) -> Config:
    return load_config(str(path))


@cache
def _data(path: Path) -> DataFile:
    return find_data(str(path))


def is_finished(experiment: Experiment, run: Run, config: Config) -> bool:
    """Whether the run has its record.

    Raises:
        UserError: where what lies under its name, or in its work directory, is of another run.
    """
    path, begun = experiment.record_of(run), experiment.work_dir_of(run) / NAME
    if path.is_file():
        _require_same(experiment, run, config, path, ended=True)
        return True
    if begun.is_file():
        _require_same(experiment, run, config, begun, ended=False)
    return False


def _require_same(
    experiment: Experiment, run: Run, config: Config, path: Path, ended: bool
) -> None:
    """Raise UserError where the record at `path` is not of this run."""
    record = read(path)
    there, here = _of_record(record), _of_config(run, config, record)
    different = next((key for key in there if there[key] != here[key]), "")
    if ended and not record.is_complete:
        different = different or "its end"
    if not different:
        return
    away = "" if ended else f", or take {path.parent} away"
    raise UserError(
        f"{path} is the record of another run than {experiment.path} describes now\n"
        f"  there      {different} {there.get(different, 'has not come')}\n"
        f"  here       {here.get(different, 'it must have')}\n"
        "  do         give the changed experiment a file and a records folder of its own" + away
    )


def _of_record(record: Record) -> dict[str, Any]:
    """By what a record is known to be a run's: of version 1, what it tells in words."""
    names = ("label", "seed", "exploratory", "max_iterations", "batch_size", "precision")
    known = {name: getattr(record, name) for name in names}
    known |= {"lr": record.optimizer.get("lr"), "attentions": record.attentions}
    if record.version == 1:
        return known
    known |= {"score": record.score}
    if record.attentions and record.plan:  # the plain network's run may be of several plans
        known |= {"plan": asdict(record.plan)}
    return known | {"fingerprint of the config": record.config_hash}


def _of_config(run: Run, config: Config, record: Record) -> dict[str, Any]:
    """The same of a run that is described; weights are taken to hold what the record says."""
    known = {
        "label": run.label,
        "seed": run.seed,
        "exploratory": config.exploratory,
        "max_iterations": config.train_cfg.max_iters,
        "batch_size": config.train_dataloader.batch_size,
        "precision": precision(config),
    }
    rate = config.optim_wrapper.optimizer.get("lr")
    known |= {"lr": rate, "attentions": plain(attentions(config.model))}
    if record.version == 1:
        return known
    plan = {key: tuple(value) for key, value in config.plan.items()}
    known |= {"score": config.score, "plan": plan}
    described = copy.deepcopy(config)
    described.start = record.start | weights.digests_here(config)
    return known | {"fingerprint of the config": fingerprint(described)}


def train(experiment: Experiment, run: Run) -> None:
    """Bring the run to its end, from wherever it is, and file its record.

    Raises:
        BusyError: where another process is at it.
        UserError: for all that a user can mend.
    """
    config = configure(experiment, run)
    with alone(Path(f"{config.work_dir}.lock"), f"run {run.name}"):
        if is_finished(experiment, run, config):
            return
        with named(experiment, run):
            prepared = prepare.training(config)
        launch.train(prepared)
        record = experiment.record_of(run)
        record.parent.mkdir(parents=True, exist_ok=True)
        pictures = Path(config.work_dir, "samples.png")
        if pictures.is_file():
            files.write(record.with_suffix(".webp"), _small(pictures))
        files.write(record, Path(config.work_dir, NAME).read_bytes())


def _small(path: Path) -> bytes:
    """A picture as it goes into a page: a tenth of its bytes."""
    picture = cv2.imread(str(path))
    assert picture is not None, "ReportHook wrote it"
    height = round(PICTURE_WIDTH * picture.shape[0] / picture.shape[1])
    picture = cv2.resize(picture, (PICTURE_WIDTH, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 75])[1].tobytes()
