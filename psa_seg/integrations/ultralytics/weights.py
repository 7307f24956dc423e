"""Weights of a plain model into one that has the attention, and what is said of it.

Ultralytics hands weights on by their names, which begin with the index of a layer: `pretrained=` of
a plain checkpoint would end at the first attention, or give a layer what another one learnt.
"""

from copy import deepcopy
from typing import Any
from weakref import WeakSet

from torch import nn

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.integrations.ultralytics.description import NAME

# Models whose attentions are as they were drawn, though the rest was read.
_begun: WeakSet[nn.Module] = WeakSet()


def fitting(model: Any, source: Any) -> Any:
    """`source`, or a copy whose layers have the indices of the model's; its attentions left out."""
    if not isinstance(getattr(source, "model", None), nn.Sequential):
        return source
    own, theirs = places(model), places(source)
    if own == theirs and source not in _begun:
        return source
    if len(source.model) - len(theirs) != len(model.model) - len(own):  # of another architecture
        return source
    copied = deepcopy(source)
    for place in reversed(theirs):
        del copied.model[place]
    for place in own:
        copied.model.insert(place, nn.Identity())
    copied.pt_path = None  # or `export` would write over the plain model's
    return copied


def places(model: Any) -> list[int]:
    """Indices of a model's layers that are attentions."""
    return [
        index
        for index, part in enumerate(model.model)
        if any(isinstance(inner, PolarizedSelfAttention) for inner in part.modules())
    ]


def begin(model: Any, source: Any) -> str:
    """How attentions start in a model that has read the rest from `source`, to be told."""
    if source in _begun and places(source) == places(model):  # they have been drawn before
        for place in places(model):
            own, drawn = model.model[place].state_dict(), source.model[place].state_dict()
            if [t.shape for t in own.values()] == [t.shape for t in drawn.values()]:
                model.model[place].load_state_dict(drawn)
    _begun.add(model)
    found = [part for part in model.modules() if isinstance(part, PolarizedSelfAttention)]
    count = sum(len(part.state_dict()) for part in found)
    identity = all(part.init == "identity" or hasattr(part, "gamma") for part in found)
    start = "start as the identity" if identity else "start from random numbers"
    return f"The {count} items of {NAME} {start}"
