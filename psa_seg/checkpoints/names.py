"""What others call a tensor, and what it is called here."""

import re
from collections.abc import Iterable

KINDS = ("port", "official", "torchvision", "deeplabv3plus")
LAYOUTS = ("parallel", "sequential")
PARTS = {  # by which an attention is known; the port and the form `paper` have the same keys
    "port": r"(?:ch_w[qvz]|sp_w[qv])",
    "official": r"conv_[qv]_(?:left|right)",
}
EXAMPLES = {"port": "ch_wv.weight, sp_wq.bias", "official": "conv_q_left.weight"}
ATTENTION = ".attention."
CLASSIFIERS = ("fc.", "features.18.", "classifier.")  # torchvision's; a backbone ends before them
MOBILENET_V2 = (1, 2, 3, 4, 3, 3, 1)  # blocks in mmseg's layer1 to layer7


def to_ours(kind: str, key: str) -> str | None:
    """What a foreign `key` is called here; None for a classifier's.

    Sources:
        port: `ParallelPolarizedSelfAttention` and `SequentialPolarizedSelfAttention` of
            External-Attention-pytorch (`model/attention/PolarizedSelfAttention.py`): as here.
        official: `PSA_p` and `PSA_s` of DeLightCMU/PSA (`semantic-segmentation/network/PSA.py`),
            `deattn` in the blocks of its `hrnetv2.py`.
        torchvision: `models/resnet.py`, as here, and `models/mobilenetv2.py`.
        deeplabv3plus: MMSegmentation's own, as here.
    """
    if kind == "torchvision":
        return None if key.startswith(CLASSIFIERS) else _in_module(key, TO_MMSEG)
    return _child(key, "deattn", "attention") if kind == "official" else key


def to_theirs(kind: str, key: str) -> str:
    """The way back of `to_ours`."""
    if kind == "torchvision":
        return _in_module(key, {ours: theirs for theirs, ours in TO_MMSEG.items()})
    return _child(key, r"(?:conv\d+\.)?attention", "deattn") if kind == "official" else key


def current(keys: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """What each of `keys` is called in a model that has the keys `own`.

    The attention in a block, now its layer's, was the block's: earlier versions wrote
    `BLOCK.attention.*`, as MMSegmentation's plugins do.
    """
    own, keys = set(own), set(keys)
    former: dict[str, set[str]] = {}
    for key in own:
        path, mark, rest = key.rpartition(ATTENTION)
        while mark and "." in path:
            path = path.rpartition(".")[0]
            former.setdefault(path + mark + rest, set()).add(key)

    def renamed(key: str) -> str:
        meant = former.get(key, set()) - keys
        return meant.pop() if key not in own and len(meant) == 1 else key

    return {key: renamed(key) for key in keys}


def _child(key: str, old: str, new: str) -> str:
    """The attention in a block, in whatever block, by its other name."""
    return re.sub(rf"(?<![^.]){old}(?=\.(?:{PARTS['official']}|conv_up)\.)", new, key)


def _in_module(key: str, names: dict[str, str]) -> str:
    module, _, parameter = key.rpartition(".")
    return f"{names.get(module, module)}.{parameter}"


def _mobilenet_v2() -> dict[str, str]:
    """Modules of torchvision's MobileNetV2 that hold tensors, and what mmseg calls them.

    In a block, torchvision has pairs of convolution and norm, the last of which lies open.
    """
    names = {"features.0.0": "conv1.conv", "features.0.1": "conv1.bn"}
    places = [f"layer{n}.{i}" for n, count in enumerate(MOBILENET_V2, 1) for i in range(count)]
    for number, place in enumerate(places, 1):
        theirs, ours = f"features.{number}.conv", f"{place}.conv"
        last = 1 if number == 1 else 2  # the first block does not widen its map before
        pairs = {i: (f"{i}.0", f"{i}.1") for i in range(last)} | {last: (f"{last}", f"{last + 1}")}
        for i, (conv, norm) in pairs.items():
            names |= {f"{theirs}.{conv}": f"{ours}.{i}.conv", f"{theirs}.{norm}": f"{ours}.{i}.bn"}
    return names


TO_MMSEG = _mobilenet_v2()
