"""What is looked at before a run, in the order in which one look needs another."""

from typing import Any

from mmengine.config import Config
from mmseg.registry import MODELS, TRANSFORMS
from torch import nn

from psa_seg.engine.config import load_config, override
from psa_seg.engine.doctor import (
    check_checkpoints,
    check_classes,
    check_cut,
    check_items,
    check_model,
    check_scored,
    check_scores,
    check_sizes,
    check_windows,
    has_batch_norm,
    look,
    remarks,
)
from psa_seg.engine.doctor.data import first_steps
from psa_seg.engine.doctor.environment import (
    check_environment,
    check_precision,
    remarks_on_environment,
)
from psa_seg.engine.doctor.sizes import at_once
from psa_seg.engine.explain import explaining, register
from psa_seg.errors import stop_at
from psa_seg.models.placement import settled
from psa_seg.records.fingerprint import of_data

TRAINED_ON = ("train_dataloader", "val_dataloader")


def look_at_data(config: Config, *loaders: str) -> str:
    """Stop at what is wrong with what the named data loaders read, and tell what may be.

    Returns:
        The digest of all images and masks.

    Raises:
        UserError: for what is wrong.
    """
    found, wrong = look(config, *loaders)
    stop_at(wrong)
    stop_at(check_items(config, found))
    for remark in [*remarks(config, found), *check_environment(), *remarks_on_environment()]:
        print(f"WARNING: {remark}")
    return of_data(*(one.built for sets in found.values() for one in sets))


def check_config(config: Config, *loaders: str) -> list[str]:
    """What is wrong with a config, whatever is in the files of its data.

    Args:
        config: with the types of its parts settled.
        loaders: that are used; with `train_dataloader`, what a training needs is looked at, too.
    """
    wrong = check_model(config) or check_classes(config, *loaders)
    if wrong:  # what follows builds the model
        return wrong
    wrong = check_windows(config)
    if "train_dataloader" in loaders:
        wrong += check_precision(config)
        wrong += [*check_sizes(config), *check_cut(config)]
        wrong += [*check_checkpoints(config), *(check_scored(config) or check_scores(config))]
        at_once(config, has_batch_norm(config))
    return wrong


def readable(config: Config) -> None:
    """Look at the data: of many runs, before the first of them is trained.

    Raises:
        UserError: where something is wrong with them.
    """
    register(config)
    with explaining(config):
        stop_at(check_classes(config, *TRAINED_ON))
        look_at_data(config, *TRAINED_ON)


def buildable(config: Config) -> None:
    """Look whether model and pipelines can be built: of many runs, before the first is trained.

    Raises:
        UserError: where one cannot.
    """
    register(config)
    with explaining(config):
        stop_at([*check_model(config), *check_scored(config)])
        for step in (s for name in TRAINED_ON for s in first_steps(config[name].dataset)):
            TRANSFORMS.build(step)


def model_of(path: str, options: dict[str, Any] | None = None) -> nn.Module:
    """The model of the config at `path`, on the CPU, with weights that are anything.

    Args:
        path: of the config.
        options: what is overridden in it.

    Raises:
        UserError: where it cannot be built.
    """
    config = load_config(path)
    override(config, options)
    buildable(config)
    with explaining(config):
        return MODELS.build(settled(config.model))
