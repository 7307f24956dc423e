"""Reading a config file, and overriding it."""

import difflib
import inspect
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from psa_seg.errors import UserError

NEEDED = (
    "custom_imports",
    "model",
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
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
READ = {
    *inspect.signature(Runner.__init__).parameters,
    *("custom_imports", "data_name", "data_help", "tta_model", "tta_pipeline"),
    *(
        "channels_last",
        "label",
        "exploratory",
        "checkpoint_activations",
        "activation_checkpointing",
        "efficient_conv_bn_eval",
        "compile",
    ),
    *("find_unused_parameters", "model_wrapper_cfg", "sync_bn"),
}
DEFAULTS = {
    "checkpoint_activations": False,
    "exploratory": False,
    "data_name": "data",
    "data_help": "see the page of the data set",
    "load_from": None,
    "resume": False,
}


def load_config(path: str) -> Config:
    """The config at `path`; nothing that it names is imported yet.

    Raises:
        UserError: where the file is missing or cannot be read as a config.
    """
    if not Path(path).is_file():
        raise UserError(f"config not found: {path}\n  the ones that come along are in configs/")
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    except Exception as error:  # a config is a program: whatever it raises is its author's to read
        raise UserError(f"config cannot be read: {path}\n  {error}") from error
    for key, value in DEFAULTS.items():
        config.setdefault(key, value)
    missing = [key for key in NEEDED if key not in config]
    if missing:
        raise UserError(
            f"config has no {', '.join(missing)}: {path}\n"
            "  do         take the configs in configs/ as a base"
        )
    if isinstance(config.param_scheduler, dict):
        config.param_scheduler = [config.param_scheduler]
    return config


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
            close = difflib.get_close_matches(first, READ, n=1)
            raise UserError(
                f"--cfg-options {key}: nothing reads {first!r}\n"
                + (f"  meant      {close[0]}?\n" if close else "")
                + "  do         override what is made of it: of a crop_size, say,\n"
                "             train_dataloader.dataset.pipeline.3.crop_size"
            )
    before = config.train_cfg.get("max_iters")
    try:
        config.merge_from_dict(options)
        values = {key: look_up(config, key) for key in NUMBERS}
    except (KeyError, TypeError, AttributeError, AssertionError) as error:
        raise UserError(f"--cfg-options does not fit {config.filename}\n  {error}") from error
    for key, least in NUMBERS.items():
        value = values[key]
        if type(value) is not int or value < least:
            raise UserError(
                f"{key}={value!r} is no whole number of at least {least}\n"
                f"  where      {config.filename}, or --cfg-options"
            )
    if not any(key.startswith("param_scheduler") for key in options):
        set_iterations(config, config.train_cfg.max_iters, before)


def look_up(config: Config, key: str) -> Any:
    """What stands at a dotted `key`; None if its last part is not there."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part)
    return value


def set_iterations(config: Config, iterations: int, before: int) -> None:
    """Train for `iterations`; schedulers that ended with the `before` old ones end with it."""
    config.train_cfg.max_iters = iterations
    for scheduler in config.param_scheduler:
        if scheduler.get("end") == before:
            scheduler.end = iterations
