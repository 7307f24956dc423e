"""Weights of a plain model into one that has the attention, and what is said of it.

Ultralytics hands weights on by their names, which begin with the index of a layer: `pretrained=` of
a plain checkpoint would end at the first attention, or give a layer what another one learnt.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.integrations.ultralytics.description import NAME

# An attention's place: how many plain layers are before it, and how many attentions behind these.
Place = tuple[int, int]
# Models that have read the rest, and the places where their attentions are as they were drawn.
_drawn: WeakKeyDictionary[nn.Module, set[Place]] = WeakKeyDictionary()


def fitting(model: Any, source: Any) -> Any:
    """`source`, or a copy whose layers have the indices of the model's.

    An attention of both stays, unless it has learnt nothing yet; where the model alone has one, the
    copy has none.
    """
    if not isinstance(getattr(source, "model", None), nn.Sequential):
        return source
    own, theirs = places(model), places(source)
    if own.keys() == theirs.keys() and source not in _drawn:
        return source
    if len(source.model) - len(theirs) != len(model.model) - len(own):  # of another architecture
        return source
    copied = deepcopy(source)
    layers = [part for i, part in enumerate(copied.model) if i not in theirs.values()]
    learnt = theirs.keys() - _drawn.get(source, set())
    for place, index in own.items():  # from the front: each finds those before it in their places
        part = copied.model[theirs[place]] if place in learnt else nn.Identity()
        layers.insert(index, part)
    copied.model = nn.Sequential(*layers)
    copied.pt_path = None  # or `export` would write over the plain model's
    return copied


def unlike(model: Any, source: Any) -> str:
    """What is to be said of weights that are of another network, or scale; nothing of others."""
    own, given = (getattr(one, "yaml", None) or {} for one in (model, source))
    kinds = [
        [row[2] for row in (*one.get("backbone", ()), *one.get("head", ())) if row[2] != NAME]
        for one in (own, given)
    ]
    scales = own.get("scale"), given.get("scale")
    if kinds[0][:-1] == kinds[1][:-1] and scales[0] == scales[1]:  # heads may differ: of a task
        return _otherwise(model, source)
    name = Path(given.get("yaml_file") or "?").stem
    return (
        f"the weights are of another network or scale, {name}: what bears the same name and has "
        "the same shape is read, and nothing else"
    )


def _otherwise(model: Any, source: Any) -> str:
    """What is to be said of attentions in the same place that compute something else."""
    own, theirs = places(model), places(source)
    for place in own.keys() & theirs.keys():
        pair = [
            [part.options for part in one.model[at].modules() if _is_one(part)]
            for one, at in ((model, own[place]), (source, theirs[place]))
        ]
        if pair[0] != pair[1]:
            return f"the {NAME} of the weights has other options: {pair[1]}, not {pair[0]}"
    return ""


def places(model: Any) -> dict[Place, int]:
    """Indices of a model's layers that are attentions, by their places."""
    found: dict[Place, int] = {}
    plain = behind = 0
    for index, part in enumerate(model.model):
        if any(map(_is_one, part.modules())):
            found[plain, behind] = index
            behind += 1
        else:
            plain, behind = plain + 1, 0
    return found


def begin(model: Any, source: Any) -> str:
    """Note which attentions of a model have read nothing from `source`, and say how they start."""
    own, theirs = places(model), places(source)
    before = _drawn.get(source, set())
    _drawn[model] = own.keys() - (theirs.keys() - before)
    for place in own.keys() & before:  # they have been drawn before
        mine, drawn = model.model[own[place]], source.model[theirs[place]]
        if _shapes(mine) == _shapes(drawn):
            mine.load_state_dict(drawn.state_dict())
    new = [model.model[own[place]] for place in _drawn[model]]
    found = [part for layer in new for part in layer.modules() if _is_one(part)]
    count = sum(len(part.state_dict()) for part in found)
    identity = all(part.init == "identity" or hasattr(part, "gamma") for part in found)
    start = "start as the identity" if identity else "start from random numbers"
    start = "are those of the model that was given" if own.keys() & before else start
    return f"The {count} items of {NAME} {start}" if count else ""


def _is_one(part: nn.Module) -> bool:
    return isinstance(part, PolarizedSelfAttention)


def _shapes(part: nn.Module) -> dict[str, Any]:
    return {name: tensor.shape for name, tensor in part.state_dict().items()}
