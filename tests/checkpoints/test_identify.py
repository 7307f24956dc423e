"""What is it that I have: by keys, and of a class by what it computes."""

import sys

import pytest
import torch
from torch import nn

from psa_seg import PolarizedSelfAttention
from psa_seg.attention import CBAM
from psa_seg.checkpoints.identify import identify, lines
from psa_seg.errors import UserError
from psa_seg.models import SqueezeExcitation
from tests.checkpoints.foreign import Official, Port
from tests.conftest import ROOT
from tools import convert_checkpoint as tool


def conv(*shape):
    return torch.zeros(shape)


# Keys as the code of each writes them; see the head of psa_seg/checkpoints/identify.py.
PSANET = {
    "decode_head.reduce_p.conv.weight": conv(8, 16, 1, 1),
    "decode_head.attention_p.0.conv.weight": conv(8, 8, 1, 1),
    "decode_head.attention_p.1.weight": conv(9, 8, 1, 1),
}
SEMSEG = {"psa.reduce_p.0.weight": conv(8, 16, 1, 1), "psa.attention_p.3.weight": conv(9, 8, 1, 1)}
EPSANET = {
    **{f"layer1.0.conv2.conv_{n}.weight": conv(4, 4, 3, 3) for n in (1, 2, 3, 4)},
    "layer1.0.conv2.se.fc1.weight": conv(1, 4, 1, 1),
}
EPSANET_PORT = {"convs.0.weight": conv(4, 4, 3, 3), "se_blocks.0.1.weight": conv(1, 4, 1, 1)}
YOLO = {
    f"model.10.{part}.conv.weight": conv(8, 8, 1, 1)
    for part in ("cv1", "cv2", "attn.qkv", "attn.pe", "attn.proj", "ffn.0", "ffn.1")
}


def perceptron(names, reduction=16):
    """One of 64 channels and a 7x7 convolution, by these names of theirs."""
    first, second, spatial = names
    narrow = 64 // reduction
    return {
        first: conv(narrow, 64, 1, 1),
        second: conv(64, narrow, 1, 1),
        spatial: conv(1, 2, 7, 7),
    }


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (Port(16, "parallel").state_dict(), "as in the paper and its popular port"),
        (Port(16, "sequential").state_dict(), "as in the paper and its popular port"),
        (Official(16, "parallel").state_dict(), "PSA_p"),
        (Official(16, "sequential").state_dict(), "PSA_s"),
        (PolarizedSelfAttention(16, residual=True).state_dict(), "residual=True, of this project"),
        (PolarizedSelfAttention(16, branches="channel").state_dict(), "the channel branch alone"),
        (PolarizedSelfAttention(16, branches="spatial").state_dict(), "the spatial branch alone"),
        (PSANET, "PSANet's"),
        (SEMSEG, "PSANet's"),
        (EPSANET, "EPSANet's"),
        (EPSANET_PORT, "EPSANet's"),
        (YOLO, "YOLOv10's partial self-attention"),
        (CBAM(64).state_dict(), "reduction 16 and a 7x7 convolution"),
        (perceptron(("a.fc.0.weight", "a.fc.2.weight", "a.conv.weight")), "reduction 16 and a 7x7"),
        (perceptron(("ca.fc1.weight", "ca.fc2.weight", "sa.cv1.weight"), 8), "reduction 8 and a"),
    ],
)
def test_by_its_keys(state, name):
    """By itself, and twice in a network whose other layers are anything."""
    (found,) = identify(state)
    assert name in found.kind.name
    inside = {f"{place}.{key}": t for place in ("a.0", "b.1") for key, t in state.items()}
    (found,) = identify(inside | nn.Linear(2, 2).state_dict())
    assert name in found.kind.name
    assert len(found.prefixes) == 2
    assert all(prefix.startswith(("a.0", "b.1")) for prefix in found.prefixes)


def test_what_has_the_names_and_not_the_shapes(tmp_path, monkeypatch, capsys):
    state = PolarizedSelfAttention(16).state_dict()
    state["ch_wv.weight"] = conv(4, 16, 1, 1)
    (found,) = identify(state)
    assert "by name, and not by shape" in found.kind.name
    assert found.kind.do == "no weight of it fits here"


def test_a_network_of_many_is_told_at_once():
    many = {f"b{n}.{k}": t for n in range(500) for k, t in Port(4, "parallel").state_dict().items()}
    (found,) = identify(many)
    assert len(found.prefixes) == 500


@pytest.mark.parametrize(
    "state",
    [
        {"head.weight": conv(1, 1, 7, 7), "a.weight": conv(64, 256, 1, 1)}
        | {f"layer{n}.conv.weight": conv(256, 64, 1, 1) for n in range(12)},
        {"out.weight": conv(1, 8, 7, 7), "a": conv(4, 64, 1, 1), "b": conv(64, 4, 1, 1)},
        {"out.weight": conv(1, 2, 7, 7), "a": conv(0, 4), "b": conv(4, 0)},
        nn.Conv2d(3, 64, 7).state_dict(),
        SqueezeExcitation(64).state_dict(),
        {key: t for key, t in Port(16, "parallel").state_dict().items() if "z" not in key},
        {key: t for key, t in YOLO.items() if "qkv" not in key},
    ],
)
def test_none_of_them(state):
    found = identify(state)
    assert all("branch alone" in one.kind.name for one in found)


def test_several_kinds_are_all_told():
    told = "\n".join(lines(identify({**PSANET, **Port(16, "parallel").state_dict()})))
    assert "1 x PSANet's" in told
    assert "1 x Polarized Self-Attention" in told
    assert "--layout parallel, or sequential: their keys are the same" in told


def said(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert_checkpoint.py", *map(str, arguments)])
    tool.main()
    return capsys.readouterr().out


def test_a_file(tmp_path, monkeypatch, capsys):
    torch.save(Port(16, "sequential").state_dict(), tmp_path / "theirs.pth")
    out = said(monkeypatch, capsys, "identify", tmp_path / "theirs.pth")
    assert out.startswith("found    1 x Polarized Self-Attention as in the paper")
    config = "model = dict(neck=dict(attention=dict(type='PolarizedSelfAttention', layout='x')))"
    state = nn.ModuleDict({"neck": PolarizedSelfAttention(16)}).state_dict()
    torch.save({"state_dict": state, "meta": {"cfg": config}}, tmp_path / "ours.pth")
    out = said(monkeypatch, capsys, "identify", tmp_path / "ours.pth")
    assert "config   PolarizedSelfAttention(form='paper', layout='x'), says its config" in out


CLASSES = """
from __future__ import annotations

import dataclasses

from torch import nn
from tests.checkpoints import foreign


class PSA_p(foreign.Official):
    def __init__(self, inplanes, planes, kernel_size=1):
        super().__init__(inplanes, "parallel")


class Sequential(foreign.Port):
    def __init__(self, channel=512):
        super().__init__(channel, "sequential")


class Doubled(Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class Several(Sequential):
    def forward(self, x):
        return super().forward(x), x


class Narrow(Sequential):
    def __init__(self, channel=512):
        super().__init__(channel)
        self.ch_wv, self.ch_wz = nn.Conv2d(channel, 4, 1), nn.Conv2d(4, channel, 1)


@dataclasses.dataclass
class Option:
    name: str = "x"


Alias = Sequential


class Other(nn.Linear):
    pass


class Unbuildable(nn.Module):
    def __init__(self, a, b, c):
        super().__init__()
"""


def test_a_class_by_what_it_computes(tmp_path, monkeypatch, capsys):
    """Keys cannot tell the layouts; a run can, and that a class only looks like one."""
    file = tmp_path / "mine.py"
    file.write_text(CLASSES)
    out = said(monkeypatch, capsys, "identify", file)
    told = dict(part.split("\n", 1) for part in out.split("class    ")[1:])
    assert told.keys() == {"PSA_p", "Sequential", "Doubled", "Several", "Narrow"}
    assert "computes another function" in told["Several"]
    assert "by name, and not by shape" in told["Narrow"]
    ours = "computes PolarizedSelfAttention(form='official', layout='parallel', branches='both')"
    assert ours in told["PSA_p"]
    ours = "computes PolarizedSelfAttention(form='paper', layout='sequential', branches='both')"
    assert ours in told["Sequential"]
    assert "computes another function than any here" in told["Doubled"]
    monkeypatch.syspath_prepend(tmp_path)
    assert said(monkeypatch, capsys, "identify", "mine:Sequential").count("class    ") == 1
    assert "layout='sequential'" in said(monkeypatch, capsys, "identify", f"{file}:Alias")
    again = said(monkeypatch, capsys, "identify", "psa_seg:PolarizedSelfAttention")
    assert "computes PolarizedSelfAttention(form='paper', layout='parallel'" in again
    other = "psa_seg.attention.triplet:TripletAttention"
    assert "found    none" in said(monkeypatch, capsys, "identify", other)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("none.pth", "file not found: /.*/none.pth"),
        (".", "file not found"),
        ("a/b", "file not found: /.*/a/b"),
        ("{}/leaves.py", "because    SystemExit: 3"),
        ("no.such.module", "neither a checkpoint nor a module .* no.such.module"),
        (f"{ROOT}/psa_seg/errors.py", "no such class"),
        (f"{ROOT}/psa_seg/attention/cbam.py:Cbam", "no such class"),
        ("{}/broken.py", "because    ZeroDivisionError"),
        ("{}/mine.py:Unbuildable", "cannot be built of a number of channels alone"),
    ],
)
def test_what_cannot_be_told_is_one_message(what, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    (tmp_path / "mine.py").write_text(CLASSES)
    with pytest.raises(UserError, match=f"(?s){message}"):
        said(monkeypatch, capsys, "identify", what.format(tmp_path))
