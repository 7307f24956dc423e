"""A plain model's checkpoint with attentions in it that do nothing yet."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from psa_seg.attention.base import Attention
from psa_seg.checkpoints.target import State, attentions
from psa_seg.errors import UserError

DO = "  do         give a config like psa_identity_deeplabv3plus_cityscapes"


def insert(state: State, model: nn.Module) -> dict[str, Tensor]:
    """`state` and the start of the model's attentions, drawn with seed 0.

    Raises:
        UserError: where there is no attention, or one that would change the outputs, or `state`
            has one already.
    """
    result = dict(state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for prefix, attention in _attentions(model).items():
            attention.init_weights()
            if not is_identity(attention):
                raise UserError(
                    f"{type(attention).__name__} at {prefix}* does not start as the identity, and "
                    f"would change the outputs\n{DO},\n"
                    "             with init='identity', layout='parallel' and branches='both',\n"
                    "             or, of any form, with residual=True"
                )
            start = {prefix + name: tensor for name, tensor in attention.state_dict().items()}
            held = [name for name in start if name in state]
            if held:
                raise UserError(
                    f"the checkpoint is not of a plain model: it holds {held[0]}\n"
                    "  do         give it to load_from as it is"
                )
            result |= start
    return result


def remove(state: State, model: nn.Module) -> dict[str, Tensor]:
    """`state` without its attentions, which still return what they get.

    Args:
        state: of just this model.
        model: its attentions get their weights.

    Raises:
        UserError: where an attention is the identity no longer.
    """
    found = _attentions(model)
    for prefix, attention in found.items():
        attention.load_state_dict({name: state[prefix + name] for name in attention.state_dict()})
        if not is_identity(attention):
            raise UserError(
                f"{prefix}* is trained, and to drop it would change the outputs\n"
                "  do         keep the model with its attention: no plain model computes the same"
            )
    return {name: t for name, t in state.items() if not name.startswith(tuple(found))}


def is_identity(attention: Attention) -> bool:
    """Whether it returns its input, to the last bit of float64: weights of 1e-12 show, too."""
    maps = torch.randn(
        (2, attention.in_channels, 7, 5),
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        return torch.equal(copy.deepcopy(attention).double().eval()(maps), maps)


def _attentions(model: nn.Module) -> dict[str, Any]:
    found = attentions(model)
    if not found:
        raise UserError(f"the model of --config has no attention\n{DO}")
    return found
