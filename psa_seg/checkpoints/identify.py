"""What is it that I have? The attentions in a state dict, by their keys, or of a class, by a run.

Several things are called PSA, and a class of that name may be none of them. Sources of the keys:
the port, `PSA_p` and `PSA_s` as in `names`; PSANet's of MMSegmentation (`decode_heads/psa_head.py`)
and of hszhao/semseg (`model/psanet.py`); EPSANet's of murufeng/EPSANet (`models/epsanet.py`) and of
External-Attention-pytorch (`model/attention/PSA.py`); YOLOv10's of Ultralytics (`nn/modules`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from psa_seg import shipped
from psa_seg.attention import PolarizedSelfAttention

State = Mapping[str, Tensor]
MOST = 12  # tensors of a CBAM, norms included
SHOWN = 3  # places of each kind that are named
WIDTH = 64  # channels of a module that is tried
AS_IT_IS = "nothing: PolarizedSelfAttention(C, residual=True) loads it"
NONE = "found    none of the attentions that are called PSA, and no CBAM, by their keys"
SAME = 1e-6  # what two sums in float64 differ by at most, relatively


class Kind(NamedTuple):
    """One of the things in circulation.

    Args:
        name: what it is.
        keys: patterns of its keys, behind what all of them begin with.
        do: what to do with it.
    """

    name: str
    keys: tuple[str, ...]
    do: str


CHANNEL = ("ch_wq.weight", "ch_wv.weight", "ch_wz.weight", "ln.weight")
SPATIAL = ("sp_wq.weight", "sp_wv.weight")
OFFICIAL = ("conv_q_right.weight", "conv_v_right.weight", "conv_q_left.weight")
TOOL = "{tool}"  # which stands for how the user calls it
PORT = "Polarized Self-Attention as in the paper and its popular port"
BOTH = "--layout parallel, or sequential: their keys are the same; the name of its class says which"
NOT_OURS = "no weight of it fits here"
KINDS = (
    Kind(PORT, (*CHANNEL, *SPATIAL), f"{TOOL} port FILE OUT {BOTH}"),
    Kind(f"{PORT}, the channel branch alone", CHANNEL, 'branches="channel"'),
    Kind(f"{PORT}, the spatial branch alone", SPATIAL, 'branches="spatial"'),
    Kind(
        "PSA_p, of the authors' code: Polarized Self-Attention, form official, parallel",
        (*OFFICIAL, "conv_up.weight"),
        f"{TOOL} official FILE OUT",
    ),
    Kind(
        "PSA_s, of the authors' code: Polarized Self-Attention, form official, sequential",
        (*OFFICIAL, r"conv_up\.0.weight", r"conv_up\.3.weight"),
        f"{TOOL} official FILE OUT",
    ),
    Kind(
        "PSANet's point-wise spatial attention, another thing called PSA",
        (r"attention_p\.\S*weight", r"reduce_p\.\S*weight"),
        f"{NOT_OURS}: MMSegmentation's PSAHead",
    ),
    Kind(
        "EPSANet's pyramid squeeze attention, another thing called PSA",
        ("conv_1.weight", "conv_4.weight", r"se\.fc1.weight"),
        f"{NOT_OURS}: github.com/murufeng/EPSANet",
    ),
    Kind(
        "EPSANet's pyramid squeeze attention, another thing called PSA, as a port has it",
        (r"convs\.0.weight", r"se_blocks\.0\.\d+.weight"),
        f"{NOT_OURS}: github.com/murufeng/EPSANet",
    ),
    Kind(
        "YOLOv10's partial self-attention, another thing called PSA",
        (r"attn\.qkv\.conv.weight", r"attn\.pe\.conv.weight", r"ffn\.0\.conv.weight"),
        f"{NOT_OURS}: it stays in YOLO, beside ours (docs/yolo.md)",
    ),
)

OURS = KINDS[:5]


class Found(NamedTuple):
    """A kind, and where it is: what its keys begin with."""

    kind: Kind
    prefixes: tuple[str, ...]


def identify(state: State) -> list[Found]:
    """The attentions in a state dict; none of them twice."""
    found: dict[Kind, list[str]] = {}
    taken: set[str] = set()
    for kind in KINDS:
        starts = [_before(state, key) for key in kind.keys]
        places = sorted(set.intersection(*starts) - taken)
        taken.update(places)
        for place in places:
            told = kind
            if kind in OURS and not _is_whole(state, place):
                told = kind._replace(name=f"{kind.name}, by name, and not by shape", do=NOT_OURS)
            elif kind in OURS and f"{place}gamma" in state:
                told = _residual(kind)
            found.setdefault(told, []).append(place)
    found |= _perceptrons(state)
    return [Found(kind, tuple(places)) for kind, places in found.items()]


def _before(state: State, pattern: str) -> set[str]:
    """What stands before keys of a pattern."""
    key = re.compile(rf"((?:.*\.)?){pattern}")
    return {match[1] for name in state if (match := key.fullmatch(name))}


def _is_whole(state: State, prefix: str) -> bool:
    """Whether the values of one of ours have half of its channels."""
    names = ("ch_wv", "sp_wv", "conv_v_right", "conv_v_left")
    shapes = [state[key].shape for n in names if (key := f"{prefix}{n}.weight") in state]
    return all(len(shape) == 4 and 2 * shape[0] == shape[1] for shape in shapes)


def _residual(kind: Kind) -> Kind:
    return kind._replace(name=f"{kind.name}, residual=True, of this project", do=AS_IT_IS)


def _perceptrons(state: State) -> dict[Kind, list[str]]:
    """CBAM by whatever name: a convolution of 7x7 to one channel, and a perceptron beside it."""
    found: dict[Kind, list[str]] = {}
    for key, weight in state.items():
        if weight.ndim == 4 and weight.shape[1] <= 2 and weight.shape[::2] == (1, 7):
            for prefix in _parents(key):
                ratio = _perceptron(state, prefix)
                if ratio:
                    kind = Kind(
                        f"a perceptron of reduction {ratio} and a 7x7 convolution: CBAM, whatever "
                        "its class is called",
                        (),
                        "what the paper has is PolarizedSelfAttention, and CBAM is here, too: "
                        "psa_seg.attention.CBAM",
                    )
                    found.setdefault(kind, []).append(prefix)
                    break
    return found


def _parents(key: str) -> Iterator[str]:
    """What a key begins with, up to its point before last, and so on."""
    parts = key.split(".")[:-1]
    while parts:
        parts.pop()
        yield "".join(f"{part}." for part in parts)


def _perceptron(state: State, prefix: str) -> int:
    """By how much the hidden layer of the perceptron behind `prefix` is narrower; 0 without one."""
    inside = [t for key, t in state.items() if key.startswith(prefix)]
    if len(inside) > MOST:
        return 0
    shapes = [tuple(t.shape[:2]) for t in inside if t.ndim in (2, 4) and set(t.shape[2:]) <= {1}]
    for hidden, channels in shapes:
        if 0 < hidden < channels and (channels, hidden) in shapes and channels % hidden == 0:
            return channels // hidden
    return 0


def lines(found: list[Found], own: list[str] | None = None) -> list[str]:
    """What was found, for the user.

    Args:
        found: by keys.
        own: what the checkpoint's config says of ours.
    """
    result = []
    for kind, prefixes in found:
        named = ", ".join(f"{prefix}*" if prefix else "all of it" for prefix in prefixes[:SHOWN])
        more = f" and {len(prefixes) - SHOWN} more" if len(prefixes) > SHOWN else ""
        result += [f"found    {len(prefixes)} x {kind.name}", f"where    {named}{more}"]
        result.append(f"do       {'nothing, if this project wrote it; else ' * bool(own)}{kind.do}")
    result = [line.replace(TOOL, shipped.words("convert")) for line in result]
    return [*result, *(own or [])] or [NONE]


def configured(config: Any) -> list[str]:
    """What a checkpoint's own config says of its attentions: keys cannot tell a layout."""
    found = sorted({_written(options) for options in _of_ours(config)})
    return [f"config   {text}, says its config" for text in found]


def _of_ours(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping) and node.get("type") == PolarizedSelfAttention.__name__:
        yield node
    parts = node.values() if isinstance(node, Mapping) else node
    for part in parts if isinstance(parts, Iterable) and not isinstance(parts, str) else ():
        yield from _of_ours(part)


def _written(options: Mapping[str, Any]) -> str:
    given = {"form": "paper", "layout": "parallel"} | dict(options)
    named = (f"{name}={value!r}" for name, value in given.items() if name != "type")
    return f"{PolarizedSelfAttention.__name__}({', '.join(named)})"


def run(module: nn.Module) -> list[str]:
    """Which of our functions a module of the port's or the authors' keys computes.

    Raises:
        RuntimeError: where it does not run.
    """
    state = {name: torch.randn(t.shape).double() for name, t in module.named_parameters()}
    module.double().eval().load_state_dict(state, strict=False)
    x = torch.randn(2, WIDTH, 5, 7, dtype=torch.float64)
    with torch.no_grad():
        out = module(x)
        for options in _options(state):
            ours = PolarizedSelfAttention(WIDTH, **options).double()
            own = {name: tensor.shape for name, tensor in ours.state_dict().items()}
            if own != {name: tensor.shape for name, tensor in state.items()}:
                continue
            ours.load_state_dict(state)
            expected = ours(x)
            alike = getattr(out, "shape", None) == x.shape
            if alike and (out - expected).norm() < SAME * expected.norm():
                return [f"computes {_written(options)}, to {SAME:g}"]
    return ["computes another function than any here, whatever its keys: its weights are no use"]


def _options(state: State) -> list[dict[str, Any]]:
    form = "official" if any(name.startswith("conv_") for name in state) else "paper"
    branches = [("both", True, True), ("channel", True, False), ("spatial", False, True)]
    has = [any(n.startswith(start) for n in state) for start in ("ch_", "sp_")]
    kept = next((name for name, *wanted in branches if wanted == has), "both")
    layouts = ("parallel", "sequential") if kept == "both" else ("parallel",)
    return [{"form": form, "layout": layout, "branches": kept} for layout in layouts]
