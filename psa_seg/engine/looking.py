"""Looks at the parts of a run by themselves: its data, its model."""

from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_classes, check_items, check_model, look, remarks
from psa_seg.engine.explain import explaining, register
from psa_seg.errors import stop_at
from psa_seg.models.placement import settled

TRAINED_ON = ("train_dataloader", "val_dataloader")


def look_at_data(config: Config, *loaders: str) -> None:
    """Stop at what is wrong with what the named data loaders read, and tell what may be.

    Raises:
        UserError: for what is wrong.
    """
    found, wrong = look(config, *loaders)
    stop_at(wrong)
    stop_at(check_items(config, found))
    for remark in remarks(config, found):
        print(f"WARNING: {config.data_name}: {remark}")


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
    """Look whether the model can be built: of many runs, before the first of them is trained.

    Raises:
        UserError: where it cannot.
    """
    register(config)
    with explaining(config):
        stop_at(check_model(config))


def model_of(path: str) -> nn.Module:
    """The model of the config at `path`, on the CPU, with weights that are anything.

    Raises:
        UserError: where it cannot be built.
    """
    config = load_config(path)
    buildable(config)
    with explaining(config):
        return MODELS.build(settled(config.model))
