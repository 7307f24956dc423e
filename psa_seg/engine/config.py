"""Reading a config file, and overriding it."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

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
)
DEFAULTS = {"data_name": "data", "data_help": "see the page of the data set"}


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
    return config


def override(config: Config, options: dict[str, Any] | None) -> None:
    """Apply `--cfg-options` in place.

    Schedulers that end with the training go on doing so when only `train_cfg.max_iters` changes.

    Raises:
        UserError: where an option does not fit the config.
    """
    options = options or {}
    before = config.train_cfg.max_iters
    try:
        config.merge_from_dict(options)
    except (KeyError, TypeError, AssertionError) as error:
        raise UserError(f"--cfg-options does not fit {config.filename}\n  {error}") from error
    if not any(key.startswith("param_scheduler") for key in options):
        set_iterations(config, config.train_cfg.max_iters, before)


def set_iterations(config: Config, iterations: int, before: int) -> None:
    """Train for `iterations`; schedulers that ended with the `before` old ones end with it."""
    config.train_cfg.max_iters = iterations
    for scheduler in config.param_scheduler:
        if scheduler.get("end") == before:
            scheduler.end = iterations
