"""The port's and the official code's attentions: the same function before and after, and back."""

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from psa_seg import PolarizedSelfAttention
from psa_seg.checkpoints.convert import Order
from psa_seg.errors import UserError
from tests.checkpoints.foreign import Official, Port, convert, randomize

LAYOUTS = ("parallel", "sequential")


def save(module, path):
    torch.save(module.state_dict(), path)
    return path


def same(state, path):
    found = torch.load(path)
    return list(found) == list(state) and all(torch.equal(found[k], t) for k, t in state.items())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_port(tmp_path, layout):
    port = randomize(Port(16, layout))
    source = save(nn.ModuleDict({"psa": port, "other": nn.Linear(2, 2)}), tmp_path / "port.pth")
    before = source.read_bytes()
    order = Order("port", source, tmp_path / "ours.pth", layout=layout)
    order.rename, order.drop = [("psa.", "neck.attention."), ("neck.", "")], ["other."]
    lines = convert(order)
    assert "renamed  psa.* -> attention.* (12)" in lines
    assert "dropped  other.* (2)" in lines

    ours = torch.load(tmp_path / "ours.pth")
    assert ours["meta"]["converted"] == {"kind": "port", "layout": layout, "source": "port.pth"}
    holder = nn.ModuleDict({"attention": PolarizedSelfAttention(16, layout=layout)}).double()
    holder.load_state_dict(ours["state_dict"])
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(holder["attention"](x), port(x), rtol=1e-12, atol=1e-12)
    other = PolarizedSelfAttention(16, layout=LAYOUTS[layout == "parallel"]).double()
    other.load_state_dict(port.state_dict())
    assert not torch.allclose(other(x), port(x)), "why the layout has to be given"

    rename = [("attention.", "")]
    convert(Order("port", tmp_path / "ours.pth", tmp_path / "back.pth", True, rename=rename))
    assert same(port.state_dict(), tmp_path / "back.pth")
    assert source.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back.pth", "ours.pth", "port.pth"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_official_by_itself(tmp_path, layout):
    official = randomize(Official(16, layout))
    source = save(official, tmp_path / "official.pth")
    assert "fits     attentions by themselves, 1 x form=" in "\n".join(
        convert(Order("official", source, tmp_path / "ours.pth"))
    )
    ours = PolarizedSelfAttention(16, form="official", layout=layout).double()
    ours.load_state_dict(torch.load(tmp_path / "ours.pth")["state_dict"])
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), official(x), rtol=1e-12, atol=1e-12)
    convert(Order("official", tmp_path / "ours.pth", tmp_path / "back.pth", back=True))
    assert same(official.state_dict(), tmp_path / "back.pth")


def test_a_residual_of_ours_is_whole(tmp_path):
    ours = PolarizedSelfAttention(16, residual=True)
    source = save(ours, tmp_path / "ours.pth")
    convert(Order("port", source, tmp_path / "same.pth", layout="parallel"))
    assert torch.load(tmp_path / "same.pth")["state_dict"].keys() == ours.state_dict().keys()


def stage(kind, branches):
    channels = tuple(16 * 2**i for i in range(branches))
    return dict(
        num_modules=1,
        num_branches=branches,
        block=kind,
        num_blocks=(1,) * branches,
        num_channels=channels,
    )


HRNET = dict(
    extra={
        f"stage{n}": stage("BASIC" if n > 1 else "BOTTLENECK", branches=n) for n in (1, 2, 3, 4)
    },
    norm_cfg=dict(type="BN"),
)


RELEASED = """
conv1 bn1 conv2 bn2 layer1.0.conv1 layer1.0.bn3 transition1.0.0 transition1.1.0.0 transition2.2.0.1
stage2.0.branches.0.0.conv1 stage2.0.branches.1.0.bn2 stage2.0.fuse_layers.0.1.0
stage2.0.fuse_layers.1.0.0.0 stage3.0.fuse_layers.2.0.1.0 stage4.0.branches.3.0.conv2
"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_official_in_hrnet(tmp_path, layout):
    theirs = MODELS.build(dict(type="HRNet", **HRNET))
    parts = {name.rpartition(".")[0] for name in theirs.state_dict()}
    assert parts >= set(RELEASED.split()), "mmseg calls them what hrnetv2.py of DeLightCMU/PSA does"
    for block in [m for m in theirs.modules() if type(m).__name__ == "BasicBlock"]:
        block.deattn = Official(block.conv2.in_channels, layout)
        # As in the official code: between the first ReLU and the second convolution.
        attend = lambda conv, args, block=block: block.deattn(args[0])  # noqa: E731
        block.conv2.register_forward_pre_hook(attend)
    randomize(theirs).eval()
    source = tmp_path / "official.pth"
    head = {"module.cls_head.weight": torch.ones(3)}
    wrapped = {f"module.{name}": t for name, t in theirs.state_dict().items()}
    torch.save({"state_dict": wrapped | head}, source)

    attention = dict(type="PolarizedSelfAttention", form="official", layout=layout)
    backbone = dict(type="PolarizedHRNet", attention=attention, blocks=("BasicBlock",), **HRNET)
    order = Order("official", source, tmp_path / "ours.pth", rename=[("module.", "")])
    lines = convert(order, dry_run=True)
    assert not order.out.exists()
    assert any("stage2.0.branches.1.0.deattn.* -> " in line for line in lines)
    order.drop = ["cls_head."]
    convert(order)
    ours = MODELS.build(backbone).double()
    ours.load_state_dict(torch.load(order.out)["state_dict"])
    ours.eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    for found, expected in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.save(ours.state_dict(), tmp_path / "trained.pth")  # which calls them otherwise
    for source in (order.out, tmp_path / "trained.pth"):
        assert any(".conv2.attention." in n for n in torch.load(source)) == (source != order.out)
        back = Order("official", source, tmp_path / f"back_{source.name}", back=True)
        convert(back)
        found, own = torch.load(back.out), theirs.state_dict()
        assert found.keys() == own.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in own.items())


def broken(change):
    state = nn.ModuleDict({"a": Port(16, "parallel"), "b": Port(16, "parallel")}).state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("b.ch_wq.weight"), "missing +1: b.ch_wq.weight"),
        (lambda s: s.update({"a.extra": torch.ones(1)}), "left over +1: a.extra"),
        (lambda s: s.update({"a.ln.bias": torch.ones(9)}), "of another shape +1: a.ln.bias"),
        (lambda s: s.update({"b.sp_wv.weight": torch.ones(8, 17, 1, 1)}), "must be even"),
        (lambda s: [s.pop(k) for k in list(s) if k[2:4] != "ln"], "no Polarized Self-Attention"),
        (lambda s: s.update({"epoch": 3}), "no state dict"),
        (lambda s: s.update({7: torch.ones(1)}), "no state dict"),
        (lambda s: s.clear(), "no state dict"),
    ],
)
def test_a_partial_match_is_an_error(tmp_path, change, message):
    torch.save(broken(change), tmp_path / "port.pth")
    with pytest.raises(UserError, match=message):
        convert(Order("port", tmp_path / "port.pth", tmp_path / "ours.pth", layout="parallel"))
    assert [p.name for p in tmp_path.iterdir()] == ["port.pth"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(layout=None), "two layouts have the same keys"),
        (dict(kind="official"), "--layout is of the port"),
        (dict(kind="deeplabv3plus", layout=None), "needs the model that has the attention"),
        (dict(out="port.pth"), "port.pth exists already, and is not overwritten"),
        (dict(source="none.pth"), "checkpoint not found"),
        (dict(out="none/ours.pth"), "folder not found: /.*/none"),
        (dict(rename=[("module.", "")]), "no key begins with 'module.'"),
        (dict(drop=["head."]), "no key begins with 'head.'"),
        (dict(rename=[("a.ln.bias", "")]), "leaves nothing of a name"),
        (dict(rename=[("a.", "b.")]), "12 names would be given twice, b.ch_wv.weight first"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    torch.save(broken(lambda state: None), tmp_path / "port.pth")
    before = (tmp_path / "port.pth").read_bytes()
    order = dict(kind="port", source="port.pth", out="ours.pth", layout="parallel") | options
    order |= {key: tmp_path / order[key] for key in ("source", "out")}
    with pytest.raises(UserError, match=message):
        convert(Order(**order))
    assert [p.name for p in tmp_path.iterdir()] == ["port.pth"]
    assert (tmp_path / "port.pth").read_bytes() == before


def test_the_layout_that_was_given_once_is_kept_to(tmp_path):
    source = save(Port(16, "sequential"), tmp_path / "port.pth")
    convert(Order("port", source, tmp_path / "ours.pth", layout="sequential"))
    order = Order("port", tmp_path / "ours.pth", tmp_path / "more.pth", layout="parallel")
    with pytest.raises(UserError, match="was converted as sequential"):
        convert(order)


def test_names_that_a_wrapper_put_before_all_are_remarked(tmp_path):
    wrapped = nn.ModuleDict({"module": Port(16, "parallel")})
    order = Order("port", save(wrapped, tmp_path / "port.pth"), tmp_path / "ours.pth")
    order.layout = "parallel"
    assert "--rename module.= strips it" in "\n".join(convert(order, dry_run=True))
    order.rename = [("module.", "")]
    assert "strips it" not in "\n".join(convert(order, dry_run=True))


def test_what_is_written_can_be_read_as_data(tmp_path):
    """Arrays that came as a log's are left out; of a part of a tensor, that part is written."""
    large = torch.zeros(10**6)
    shapes = {name: t.shape for name, t in Port(16, "parallel").state_dict().items()}
    state = {name: large[: shape.numel()].view(shape) for name, shape in shapes.items()}
    meta = {"PALETTE": np.zeros((2, 3)), "CLASSES": ("road", "sky")}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "port.pth")
    order = Order("port", tmp_path / "port.pth", tmp_path / "ours.pth", layout="parallel")
    convert(order)
    meta = torch.load(order.out, weights_only=True)["meta"]
    assert meta["CLASSES"] == ("road", "sky")
    assert "PALETTE" not in meta
    assert order.out.stat().st_size < 10**5


def test_a_file_that_appears_meanwhile_stays(tmp_path, monkeypatch):
    source, out = save(Port(16, "parallel"), tmp_path / "port.pth"), tmp_path / "ours.pth"
    write = torch.save

    def late(content, file):
        out.write_text("somebody else's")
        write(content, file)

    monkeypatch.setattr(torch, "save", late)
    with pytest.raises(UserError, match="exists already, and is not overwritten"):
        convert(Order("port", source, out, layout="parallel"))
    assert out.read_text() == "somebody else's"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ours.pth", "port.pth"]
