"""Reading a config file, and overriding it."""

import ast
import inspect
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import Runner

from psa_seg import shipped
from psa_seg.engine import variables
from psa_seg.errors import UserError
from psa_seg.models.placement import PARTS
from psa_seg.records.fingerprint import look_up

NEEDED = (
    "custom_imports",
    "model",
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "val_cfg",
    "test_cfg",
    "val_evaluator",
    "test_evaluator",
    "train_cfg",
    "optim_wrapper",
    "param_scheduler",
    "randomness",
    "default_scope",
    "default_hooks",
    "visualizer",
)
NUMBERS = {
    "train_cfg.max_iters": 1,
    "train_cfg.val_interval": 1,
    "train_dataloader.batch_size": 1,
    "train_dataloader.num_workers": 0,
    "randomness.seed": 0,
}
OPTIONAL_NUMBERS = {"val_dataloader.batch_size": 1, "test_dataloader.batch_size": 1}
TEXT_OR_NONE = (str, type(None))
TYPES: dict[str, Any] = {
    "load_from": TEXT_OR_NONE,
    "work_dir": TEXT_OR_NONE,
    "resume": bool,
    "train_cfg": dict,
    "optim_wrapper": dict,
    "optim_wrapper.optimizer": dict,
}
OF_A_CROP = (
    "what is made of it: of a crop_size\n"
    "             train_dataloader.dataset.pipeline.3.crop_size and model.data_preprocessor.size"
)
BASES = f"  do         take those in {shipped.CONFIGS} as a base"
RATE = "optim_wrapper.optimizer.lr"
# Our own options of a config, with their types and defaults.
OWN: dict[str, tuple[type, Any]] = {
    "label": (str, ""),  # what tables call the model; empty for its attentions
    "exploratory": (bool, False),  # of a search, not of a comparison that was settled beforehand
    "score": (str, "mIoU"),  # by which models are compared, such as `crack IoU`
    "plan": (dict, {}),  # of an experiment: its seeds, and what is tested together
    "data_name": (str, "data"),
    "data_help": (str, "see the page of the data set"),  # where to get it
    "channels_last": (bool, False),
    "checkpoint_activations": (bool, False),
    "names_ignored": (bool, False),  # whether a data.yaml says which values do not count
    "allow_absent": (bool, False),  # whether classes may never occur in the masks
}
WORDS: dict[Any, str] = {
    str: "a text",
    TEXT_OR_NONE: "a text, nor None",
    bool: "True or False",
    dict: "a dict(...)",
}
READ = {
    *(set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}),
    *OWN,
    *("custom_imports", "tta_model", "tta_pipeline", "start", "data_file", "data_hash"),
    *("activation_checkpointing", "efficient_conv_bn_eval", "compile"),
    *("find_unused_parameters", "model_wrapper_cfg", "sync_bn"),
}


OURS = "psa_seg::"
if Config._get_cfg_path.__module__ != __name__:  # or this module is reloaded
    _base_of_mmengine = Config._get_cfg_path


def _base(given: str, path: str) -> tuple[str, str | None]:
    """Path of a base that the config at `path` names, and its scope; `psa_seg::NAME.py` is ours.

    mmengine itself would look for ours in installed packages alone, find none without a folder in
    its name, and have every part of the model sought in a scope `psa_seg`.
    """
    if not given.startswith(OURS):
        return _base_of_mmengine(given, path)
    return str(shipped.base(given.removeprefix(OURS))), None


Config._get_cfg_path = staticmethod(_base)
MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"  # `mmseg::` is that distribution's now


def load_config(path: str) -> Config:
    """The config at `path`, or of that name; nothing that it names is imported yet.

    Raises:
        UserError: where there is none (see `shipped.config`), or it cannot be read as a config, or
            has at its top what nothing reads there.
    """
    path = str(shipped.config(path))
    try:
        config = variables.read(path)
    except UserError as error:
        raise UserError(f"{error}\n  where      {path}") from error
    except Exception as error:  # a config is a program: whatever it raises is its author's to read
        raise UserError(f"config cannot be read: {path}\n  {error}") from error
    may_be_empty = ("val_cfg", "test_cfg")  # mmengine's own idiom
    missing = [
        key
        for key in NEEDED
        if not config.get(key) and not (key in may_be_empty and config.get(key) is not None)
    ]
    if missing:
        why = (
            "  why        a run is scored on a validation set; of your own data, `val: 0.2` in a\n"
            "             data.yaml takes a share of the training images\n"
        )
        raise UserError(
            f"config has no {', '.join(missing)}: {path}\n"
            + why * any(key.startswith("val_") for key in missing)
            + BASES
        )
    kinds: dict[str, Any] = {"default_scope": str}
    kinds |= dict.fromkeys(("param_scheduler", "val_evaluator", "test_evaluator"), (list, dict))
    wrong = [key for key in NEEDED if not isinstance(config[key], kinds.get(key, dict))]
    if wrong:
        raise UserError(
            f"{wrong[0]} is {config[wrong[0]]!r:.60}, and must be a dict(...): {path}\n" + BASES
        )
    _refuse_misplaced(config)
    for key, default in {"load_from": None, "resume": False}.items():
        config.setdefault(key, default)
    for key, (_, default) in OWN.items():
        config.setdefault(key, default)
    if isinstance(config.param_scheduler, dict):
        config.param_scheduler = [config.param_scheduler]
    return config


def _refuse_misplaced(config: Config) -> None:
    """Raise UserError for a part of a model beside `model`, and for a key misspelt.

    Other names at a config's top are variables of its author's, as is mmengine's habit: what the
    file itself makes use of is one, and passes under any name. One of a base's that has another
    value here passes, with a line: the base has made use of its own.
    """
    alone = list(_left_alone(config.filename))
    names = [name for path, name in alone if path == config.filename]
    for key in _changed(config, names) if names else ():
        print(f"NOTE: {key} of a base is changed in {config.filename}, after all use of it")
    for path, key in alone:
        if key in PARTS and config.model.get(key) and not _has_base(path):
            continue
        if key in PARTS:
            raise UserError(
                f"{key} stands beside model, where nothing reads it: {path}\n"
                f"  do         put it into the model: model = dict({key}=dict(...))"
            )
        meant = None if key in READ else _misspelt(key)
        if meant:
            raise UserError(
                f"nothing reads {key!r}: {path}\n"
                f"  meant      {meant}?\n"
                "  do         correct it; a variable of your own, give another name"
            )


def _left_alone(path: str) -> Iterator[tuple[str, str]]:
    """A config's files, and names at the top of each that it does not use any further."""
    try:
        tree = ast.parse(Path(path).read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):  # of a library's, or no Python
        return
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    used = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    lines = [line for line in tree.body if isinstance(line, ast.Assign)]
    found = [t.id for line in lines for t in line.targets if isinstance(t, ast.Name)]
    yield from ((path, name) for name in found if name not in used)
    if "_base_" in found:
        for base in _bases(path):
            yield from _left_alone(base)


def _bases(path: str) -> list[str]:
    """Files of a config's bases, but for those that a variable of the environment names."""
    named = (base for base in Config._get_base_files(path) if "{{" not in base)
    return [Config._get_cfg_path(base, path)[0] for base in named]


def _has_base(path: str) -> bool:
    """Whether a config is one of a chain; mmengine writes files in which all stands side by side.

    There, variables stand beside what was made, and changed, of them.
    """
    return bool(Config._get_base_files(path))


def _changed(config: Config, names: Collection[str]) -> Iterator[str]:
    """Those of `names` that are variables of a base's with another value."""
    for base in map(variables.read, _bases(config.filename)):
        yield from (n for n in names if n not in READ and n in base and base[n] != config[n])


def _misspelt(name: str) -> str | None:
    """The key that is read and differs from `name` by a slip of the finger, or two in long ones."""
    allowed = 1 + (len(name) > 8)
    keys = sorted(READ | {*PARTS})
    return next((k for k in keys if _slips(name, k) <= allowed and name != f"{k}s"), None)


def _slips(a: str, b: str) -> int:
    """Letters too many, too few, wrong, or in each other's place (Damerau and Levenshtein)."""
    if abs(len(a) - len(b)) > 2 or min(len(a), len(b)) < 5:
        return 3
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 < j and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def override(config: Config, options: dict[str, Any] | None) -> None:
    """Apply `--cfg-options` in place.

    Schedulers that end with the training go on doing so when only `train_cfg.max_iters` changes.

    Raises:
        UserError: where an option does not fit the config, or would change nothing.
    """
    options = options or {}
    for key in options:
        first = key.partition(".")[0]
        if first not in READ:
            meant = _misspelt(first)
            raise UserError(
                f"--cfg-options {key}: nothing reads {first!r}\n"
                + (f"  meant      {meant}?" if meant else f"  do         override {OF_A_CROP}, say")
            )
    before = look_up(config, "train_cfg.max_iters")
    try:
        config.merge_from_dict({k: _like(look_up(config, k), v) for k, v in options.items()})
    except (KeyError, TypeError, AttributeError, AssertionError, ValueError, IndexError) as error:
        raise UserError(f"--cfg-options does not fit {config.filename}\n  {error}") from error
    where = f"  where      {config.filename}, or --cfg-options"
    for key, kind in (TYPES | {key: kind for key, (kind, _) in OWN.items()}).items():
        if not isinstance(look_up(config, key), kind):
            raise UserError(f"{key}={look_up(config, key)!r} is not {WORDS[kind]}\n{where}")
    _refuse_epochs(config)
    for key, least in (NUMBERS | OPTIONAL_NUMBERS).items():
        value = look_up(config, key)
        if value is None and key in OPTIONAL_NUMBERS:
            continue
        if type(value) is not int or value < least:
            raise UserError(f"{key}={value!r} is no whole number of at least {least}\n{where}")
    rate = look_up(config, RATE)
    if type(rate) not in (int, float, type(None)):
        raise UserError(f"{RATE}={rate!r} is no number\n{where}")
    if not any(key.startswith("param_scheduler") for key in options):
        set_iterations(config, config.train_cfg.max_iters, before)


def _like(there: Any, given: Any) -> Any:
    """A list in a tuple's place, as one: YAML has none, and some of mmcv's sizes must be one."""
    return tuple(given) if isinstance(there, tuple) and isinstance(given, list) else given


def _refuse_epochs(config: Config) -> None:
    """Raise UserError for a schedule in epochs: runs count steps, so that they fit any hardware."""
    loop = config.train_cfg or {}
    if loop.get("by_epoch") or "max_epochs" in loop or loop.get("type") == "EpochBasedTrainLoop":
        raise UserError(
            f"train_cfg counts epochs, and runs here count steps: {config.filename}\n"
            "  do         train_cfg = dict(type='ReplayableTrainLoop', max_iters=..., "
            "val_interval=...):\n             epochs x training images / "
            "train_dataloader.batch_size; param_scheduler with\n             by_epoch=False"
        )


def set_iterations(config: Config, iterations: int, before: int) -> None:
    """Train for `iterations`; schedulers that ended with the `before` old ones end with it.

    Where one would begin after that, behind a warm-up, all bounds keep their share instead.
    """
    config.train_cfg.max_iters = iterations
    late = any(iterations <= scheduler.get("begin", 0) for scheduler in config.param_scheduler)
    for scheduler in config.param_scheduler:
        ends = scheduler.get("end") == before
        for bound in ("begin", "end") if late else ():
            if iterations <= scheduler.get(bound, 0):
                scheduler[bound] = max(1, scheduler[bound] * iterations // before)
        if ends:
            scheduler.end = iterations
