"""One run of an experiment: trained, or taken up again, and its record filed."""

import copy
import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
from mmengine.config import Config

from psa_seg.datasets.synthetic import prepare
from psa_seg.engine import launch
from psa_seg.engine.config import load_config, override
from psa_seg.engine.demo import DATA_ROOT, shrink
from psa_seg.engine.identity import attentions, fingerprint
from psa_seg.engine.options import use_amp
from psa_seg.engine.record import is_complete, load_record
from psa_seg.engine.work_dir import disk_error
from psa_seg.errors import UserError
from psa_seg.sweep.experiment import Experiment, Run

PICTURE_WIDTH = 1100  # pixels
BUSY = 75  # exit status of a run that another process is at (EX_TEMPFAIL of sysexits.h)


class BusyError(UserError):
    """Another process is at this run."""


def configure(experiment: Experiment, run: Run) -> Config:
    """The config of a run.

    Raises:
        UserError: where an override does not fit it, or the experiment's config has an attention
            already.
    """
    config = copy.deepcopy(_base(experiment.config))
    if attentions(config.model):
        raise UserError(
            f"{experiment.config} has an attention of its own\n"
            f"  where      config in {experiment.path}\n"
            "  do         take a plain one, configs/baseline_*.py"
        )
    if experiment.demo:
        shrink(config, prepare(DATA_ROOT))
    try:
        override(config, {**run.options, "randomness.seed": run.seed})
    except UserError as error:
        raise UserError(f"{error}\n  where      run {run.name} of {experiment.path}") from error
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
            "  do         leave custom_hooks as configs/_base_/default_runtime.py has them"
        )
    config.label, config.resume = run.label, True
    config.exploratory = experiment.exploratory
    config.work_dir = str(experiment.work_dir_of(run))
    return config


@cache
def _base(path: Path) -> Config:
    return load_config(str(path))


def is_finished(experiment: Experiment, run: Run, config: Config) -> bool:
    """Whether the run has its record.

    Raises:
        UserError: where what lies under its name is the record of another run.
    """
    path = experiment.record_of(run)
    if not path.is_file():
        return False
    record = load_record(path)
    there = _told(*(record[key] for key in ("label", "config_hash", "seed", "exploratory")))
    here = _told(run.label, fingerprint(config), run.seed, experiment.exploratory)
    if not is_complete(record) or there != here:
        raise UserError(
            f"{path} is the record of another run than {experiment.path} describes now\n"
            f"  there      {there}\n"
            f"  here       {here}\n"
            "  do         give the changed experiment a file and a records folder of its own"
        )
    return True


def _told(label: str, config_hash: str, seed: int, exploratory: bool) -> str:
    kind = "exploratory" if exploratory else "settled"
    return f"{label!r}, config {config_hash}, seed {seed}, {kind}"


def train(experiment: Experiment, run: Run) -> None:
    """Bring the run to its end, from wherever it is, and file its record.

    Raises:
        BusyError: where another process is at it.
        UserError: for all that a user can mend.
    """
    config = configure(experiment, run)
    with _alone(Path(f"{config.work_dir}.lock"), run):
        if is_finished(experiment, run, config):
            return
        launch.train(config)
        record = experiment.record_of(run)
        record.parent.mkdir(parents=True, exist_ok=True)
        pictures = Path(config.work_dir, "samples.png")
        if pictures.is_file():
            _file(_small(pictures), record.with_suffix(".webp"))
        _file(Path(config.work_dir, "record.json").read_bytes(), record)


def _file(content: bytes, path: Path) -> None:
    part = path.with_name(f".{path.name}.part")  # whatever happens, no half file by its name
    part.write_bytes(content)
    part.replace(path)


def _small(path: Path) -> bytes:
    """A picture as it goes into a page: a tenth of its bytes."""
    picture = cv2.imread(str(path))
    assert picture is not None, "ReportHook wrote it"
    height = round(PICTURE_WIDTH * picture.shape[0] / picture.shape[1])
    picture = cv2.resize(picture, (PICTURE_WIDTH, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 75])[1].tobytes()


@contextmanager
def _alone(path: Path, run: Run) -> Iterator[None]:
    """Hold the lock of a run; it goes with the process, however that ends.

    Processes that load its data are forked, and outlive it for seconds: POSIX locks, other than
    those of flock, are not handed on to them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise disk_error(error) from error
            raise BusyError(
                f"another process is at run {run.name}\n  do         let it end, or stop it"
            ) from None
        yield
