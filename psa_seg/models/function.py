"""Whether two configs are of one function: equal weights then give equal logits.

Keys of a state dict do not tell: a layout, a dilation or `align_corners` has no weights of its own.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from mmseg.registry import MODELS

from psa_seg.models.placement import placed, settled, without_attention
from psa_seg.registry import name_of

# What may differ: how a model is trained, how its logits are read, how its weights started.
FREE = {
    *("init", "init_cfg", "pretrained", "zero_init_residual", "requires_grad"),
    *("train_cfg", "test_cfg", "with_cp", "norm_eval", "frozen_stages", "momentum"),
    *("sampler", "ignore_index", "inplace"),
    *("threshold", "size", "size_divisor", "pad_val", "seg_pad_val", "batch_augments"),
    *("non_blocking", "_scope_", "_delete_"),
}
FREE_WORDS = ("loss", "drop")
SAME_TYPES = {
    "LeanEncoderDecoder": "EncoderDecoder",
    "LeanCascadeEncoderDecoder": "CascadeEncoderDecoder",
    "SyncBN": "BN",
    "BN2d": "BN",
    "MMSyncBN": "BN",
}
Config = Mapping[str, Any]


def differences(there: Config, here: Config, new_attention: bool = False) -> list[str]:
    """Options in which two models' configs are of different functions, a line each.

    Args:
        there: config of the model that weights are of.
        here: of the model that takes them.
        new_attention: whether attentions that `there` does not have are no difference.
    """
    there, here = settled(there), settled(here)
    if new_attention:
        here = without_attention(here, keep={placement for placement, _, _ in placed(there)})
    # Older files tell of a model alone, and a config may have its preprocessor beside the model.
    beside = {"data_preprocessor"} - (there.keys() & here.keys())
    there, here = ({k: part for k, part in m.items() if k not in beside} for m in (there, here))
    return list(_different(there, here, "model"))


def _different(there: Any, here: Any, where: str) -> Iterator[str]:
    if isinstance(there, list | tuple) and isinstance(here, list | tuple):
        there, here = list(there), list(here)
        if any(isinstance(part, Mapping) for part in [*there, *here]) and len(there) == len(here):
            there, here = dict(enumerate(there)), dict(enumerate(here))
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in dict.fromkeys([*there, *here]):
            if key not in FREE and not any(word in str(key) for word in FREE_WORDS):
                values = (_value(config, key) for config in (there, here))
                yield from _different(next(values), next(values), f"{where}.{key}")
    elif there != here:
        yield f"{where} is {there!r} there, and {here!r} here"


def _value(config: Config, key: Any) -> Any:
    """What a config has at `key`, or what its type takes without it."""
    if key == "type":
        name = name_of(config.get("type"))
        return SAME_TYPES.get(name, name)
    value = config[key] if key in config else _default(config.get("type"), str(key))
    if key == "out_channels" and value is None:
        return config.get("num_classes")
    return None if value in ([], (), {}) else value


def _default(kind: Any, key: str) -> Any:
    return _defaults(kind if isinstance(kind, str) else name_of(kind)).get(key)


@cache
def _defaults(kind: str) -> dict[str, Any]:
    """Options of a registered type that have a default, those of its parents included."""
    found: dict[str, Any] = {}
    for parent in getattr(kind and MODELS.get(kind), "__mro__", ()):
        parameters = inspect.signature(parent).parameters.values()
        found = {p.name: p.default for p in parameters if p.default is not p.empty} | found
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found
