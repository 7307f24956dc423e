"""torchvision's backbones, plain models that get an attention, and the tool itself."""

import subprocess
import sys

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch import nn

from psa_seg.checkpoints.convert import Order
from psa_seg.engine.config import load_config
from psa_seg.errors import UserError
from tests import vision
from tests.checkpoints.foreign import MobileNetV2, Official, Port, convert, randomize
from tests.conftest import ROOT
from tests.engine.test_reading import Trap
from tools import convert_checkpoint as convert_tool

IDENTITY = "psa_identity_deeplabv3plus_cityscapes"


@pytest.fixture
def written(tiny, tmp_path):
    """A function: name of a config and options → the path of a small one, in a file of its own."""

    def written(name, **options):
        path = tmp_path / f"{name}.py"
        tiny(name, **options).dump(path)
        return str(path)

    return written


def test_mobilenet_v2(tmp_path, written):
    theirs = randomize(MobileNetV2()).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    order = Order("torchvision", tmp_path / "theirs.pth", tmp_path / "ours.pth")
    lines = convert(order)
    assert "renamed  features.2.conv.3.* -> layer2.0.conv.2.bn.* (5)" in lines
    assert "dropped  features.18.* (6), classifier.1.* (2)" in lines
    assert "fits     mmseg's MobileNetV2: 306 tensors" in lines
    ours = MODELS.build(dict(type="MobileNetV2", out_indices=(6,))).double()
    ours.load_state_dict(torch.load(order.out)["state_dict"])
    ours.eval()
    x = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    assert torch.equal(ours(x), theirs(x))

    order.out = tmp_path / "with_config.pth"
    order.config = written("psa_deeplabv3plus_mobilenetv2_cityscapes")
    convert(order)
    back = Order("torchvision", tmp_path / "ours.pth", tmp_path / "back.pth", back=True)
    assert any(line.startswith("absent   fc.*, features.18.*") for line in convert(back))
    found, own = torch.load(back.out), theirs.state_dict()
    kept = [key for key in own if not key.startswith(("features.18.", "classifier."))]
    assert list(found) == kept
    assert all(torch.equal(found[key], own[key]) for key in kept)


TORCHVISION = """
from pathlib import Path
from torchvision import models
for name in ("resnet18", "resnet50", "resnext50_32x4d", "mobilenet_v2"):
    network, x = getattr(models, name)().double().eval(), torch.randn(1, 3, 64, 96).double()
    for buffer in network.buffers():
        if buffer.is_floating_point():
            torch.nn.init.uniform_(buffer, 0.5, 2)
    last = network.features[17] if name == "mobilenet_v2" else network.layer4
    seen = []
    last.register_forward_hook(lambda module, inputs, out: seen.append(out))
    with torch.no_grad():
        network(x)
    torch.save(network.state_dict(), Path(sys.argv[1], f"{name}.pth"))
    torch.save((x, seen[0]), Path(sys.argv[1], f"{name}_maps.pth"))
"""
NETWORKS = {
    "resnet18": dict(type="ResNet", depth=18),
    "resnet50": dict(type="ResNet", depth=50),
    "resnext50_32x4d": dict(type="ResNeXt", depth=50, groups=32, base_width=4),
    "mobilenet_v2": dict(type="MobileNetV2", out_indices=(6,)),
}


@vision.needed
def test_torchvision_itself(tmp_path):
    vision.run(TORCHVISION, tmp_path)
    for name, options in NETWORKS.items():
        order = Order("torchvision", tmp_path / f"{name}.pth", tmp_path / f"{name}_ours.pth")
        convert(order)
        ours = MODELS.build(options).double()
        ours.load_state_dict(torch.load(order.out)["state_dict"])
        ours.eval()
        x, expected = torch.load(tmp_path / f"{name}_maps.pth")
        found = ours(x)
        found = found[-1] if isinstance(found, tuple) else found
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ResNet 18", dict(type="ResNet", depth=18)),
        ("ResNeXt 50", dict(type="ResNeXt", depth=50, groups=32, base_width=4)),
    ],
)
def test_resnets(tmp_path, name, options):
    state = MODELS.build(options).half().state_dict()
    # Files from before PyTorch 0.4.1 have no such counter.
    state = {key: tensor for key, tensor in state.items() if "num_batches" not in key}
    fc = {"fc.weight": torch.ones(1), "fc.bias": torch.ones(1)}
    torch.save(state | fc, tmp_path / "theirs.pth")
    order = Order("torchvision", tmp_path / "theirs.pth", tmp_path / "ours.pth")
    lines = convert(order)
    assert f"fits     mmseg's {name}: {len(state)} tensors" in lines
    assert "dropped  fc.* (2)" in lines
    assert not any(line.startswith("renamed") for line in lines)
    found = torch.load(order.out)["state_dict"]
    assert list(found) == list(state)
    MODELS.build(options).load_state_dict(found, strict=True)


def test_another_backbone_is_refused(tmp_path, written):
    state = MODELS.build(dict(type="ResNet", depth=18)).half().state_dict()
    torch.save(state, tmp_path / "theirs.pth")
    order = Order("torchvision", tmp_path / "theirs.pth", tmp_path / "ours.pth")
    order.config = written(IDENTITY)
    with pytest.raises(
        UserError, match=r"does not fit the backbone without(.*\n)+.*missing +\d+: stem"
    ):
        convert(order)
    order.config, order.rename = None, [("layer1.0.", "layer9.0.")]
    with pytest.raises(UserError, match="of no backbone that torchvision and mmseg share"):
        convert(order)
    assert not order.out.exists()


@pytest.fixture
def plain(tiny, tmp_path):
    """A plain DeepLabV3+ with weights like trained ones, in a file like mmengine's."""
    model = MODELS.build(tiny("baseline_finetune_deeplabv3plus_cityscapes").model)
    model = revert_sync_batchnorm(randomize(model).float()).eval()
    content = {"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": ("a", "b")}}}
    torch.save(content, tmp_path / "plain.pth")
    return model


def test_an_attention_that_does_nothing_yet(tmp_path, plain, written, tiny):
    order = Order("deeplabv3plus", tmp_path / "plain.pth", tmp_path / "ours.pth")
    order.config = written(IDENTITY)
    assert "added    decode_head.attention.* (12)" in convert(order)
    checkpoint = torch.load(order.out)
    assert checkpoint["meta"]["dataset_meta"] == {"classes": ("a", "b")}
    ours = revert_sync_batchnorm(MODELS.build(tiny(IDENTITY).model)).eval()
    ours.load_state_dict(checkpoint["state_dict"], strict=True)
    images = torch.randn(2, 3, 64, 128)
    with torch.no_grad():
        logits = ours(images, mode="tensor")
        assert torch.equal(logits, plain(images, mode="tensor"))
        assert logits.std() > 0

    twice = Order("deeplabv3plus", order.source, tmp_path / "twice.pth", config=order.config)
    convert(twice)
    again = torch.load(twice.out)["state_dict"]
    assert all(torch.equal(again[key], t) for key, t in checkpoint["state_dict"].items())

    back = Order("deeplabv3plus", order.out, tmp_path / "back.pth", True, order.config)
    convert(back)
    found, own = torch.load(back.out)["state_dict"], plain.state_dict()
    assert list(found) == list(own)
    assert all(torch.equal(found[key], own[key]) for key in own)

    with pytest.raises(UserError, match=r"not of a plain model: it holds decode_head\.attention"):
        convert(Order("deeplabv3plus", order.out, tmp_path / "no.pth", config=order.config))
    checkpoint["state_dict"]["decode_head.attention.sp_wv.bias"][0] = 1e-9
    torch.save(checkpoint, tmp_path / "trained.pth")
    back.source, back.out = tmp_path / "trained.pth", tmp_path / "no.pth"
    with pytest.raises(UserError, match=r"decode_head\.attention\.\* is trained"):
        convert(back)
    assert not back.out.exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("psa_deeplabv3plus_cityscapes", {}, "does not start as the identity"),
        ("baseline_deeplabv3plus_cityscapes", {}, "has no attention"),
        (
            IDENTITY,
            {"model.decode_head.num_classes": 7},
            r"of another shape +2: decode_head\.conv_seg\.weight",
        ),
    ],
)
def test_models_that_a_plain_one_cannot_become(tmp_path, plain, written, name, options, message):
    order = Order("deeplabv3plus", tmp_path / "plain.pth", tmp_path / "ours.pth")
    order.config = written(name, **options)
    with pytest.raises(UserError, match=message):
        convert(order)
    assert not order.out.exists()


def test_the_layout_is_checked_against_a_config(tmp_path, written):
    port = {f"decode_head.attention.{k}": t for k, t in Port(64, "parallel").state_dict().items()}
    torch.save(port, tmp_path / "port.pth")
    order = Order("port", tmp_path / "port.pth", tmp_path / "ours.pth", layout="parallel")
    order.config = written("psa_sequential_deeplabv3plus_cityscapes")
    with pytest.raises(UserError, match=r"--layout parallel, but decode_head\.attention"):
        convert(order)
    order.layout = "sequential"
    assert convert(order, dry_run=True)[-2].startswith("fits     the attentions of")
    order.drop = ["decode_head.attention.ln."]
    with pytest.raises(UserError, match=r"missing +2: decode_head\.attention\.ln\.weight"):
        convert(order)


RESIDUAL = {
    "model.decode_head.attention.form": "official",
    "model.decode_head.attention.layout": "sequential",
    "model.decode_head.attention.residual": True,
}


def test_a_residual_takes_any_form_into_a_plain_model(tmp_path, plain, written):
    config = written("psa_deeplabv3plus_cityscapes", **RESIDUAL)
    order = Order("deeplabv3plus", tmp_path / "plain.pth", tmp_path / "ours.pth", config=config)
    convert(order)
    ours = revert_sync_batchnorm(MODELS.build(load_config(config).model)).eval()
    ours.load_state_dict(torch.load(order.out)["state_dict"], strict=True)
    images = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        assert torch.equal(ours(images, mode="tensor"), plain(images, mode="tensor"))
    convert(Order("deeplabv3plus", order.out, tmp_path / "back.pth", True, config))
    found = torch.load(tmp_path / "back.pth")["state_dict"]
    assert found.keys() == plain.state_dict().keys()


def test_official_weights_in_a_residual_are_the_official_function(tmp_path, written):
    config = written("psa_deeplabv3plus_cityscapes", **RESIDUAL)
    channels = MODELS.build(load_config(config).model).decode_head.attention.in_channels
    official = randomize(Official(channels, "sequential"))
    state = {f"decode_head.attention.{k}": t for k, t in official.state_dict().items()}
    torch.save(state, tmp_path / "official.pth")
    order = Order("official", tmp_path / "official.pth", tmp_path / "ours.pth", config=config)
    assert "added    decode_head.attention.* (1)" in convert(order)
    ours = MODELS.build(load_config(config).model).decode_head.attention.double()
    found = torch.load(order.out)["state_dict"].items()
    ours.load_state_dict({k.removeprefix("decode_head.attention."): t for k, t in found})
    x = torch.randn(1, channels, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(ours(x), official(x))
    back = Order("official", order.out, tmp_path / "back.pth", True, config)
    with pytest.raises(UserError, match=r"attention\.gamma has no counterpart in official"):
        convert(back)
    back.config = None
    with pytest.raises(UserError, match=r"left over +1: decode_head\.attention\.gamma"):
        convert(back)


def test_a_form_that_is_not_the_configs_is_told_as_that(tmp_path, written, monkeypatch, capsys):
    """And by --cfg-options, as the message says, it is the config's."""
    config = written("psa_deeplabv3plus_cityscapes")
    channels = MODELS.build(load_config(config).model).decode_head.attention.in_channels
    for layout, name in (("parallel", "PSA_p"), ("sequential", "PSA_s")):
        state = randomize(Official(channels, layout)).state_dict()
        state = {f"decode_head.attention.{key}": t for key, t in state.items()}
        torch.save(state, tmp_path / f"{name}.pth")
        order = Order("official", tmp_path / f"{name}.pth", tmp_path / "ours.pth", config=config)
        with pytest.raises(UserError, match=f"the file holds {name}, and the config has the paper"):
            convert(order)
    monkeypatch.setattr(sys, "argv", ["tool", "official", str(order.source), str(order.out)])
    sys.argv += ["--config", config, "--dry-run", "--cfg-options"]
    key = "model.decode_head.attention"
    sys.argv += [f"{key}.form=official", f"{key}.layout=parallel"]
    remedy = f"--cfg-options {key}.form=official {key}.layout=sequential"
    with pytest.raises(UserError, match=f"holds PSA_s, .* has PSA_p: .*\n.*\n.*{remedy}"):
        convert_tool.main()
    sys.argv[-1] = f"{key}.layout=sequential"
    convert_tool.main()
    assert "fits     the attentions" in capsys.readouterr().out
    sys.argv = [argument for argument in sys.argv if argument not in ("--config", config)]
    with pytest.raises(SystemExit):
        convert_tool.main()
    assert "--cfg-options are of a --config" in capsys.readouterr().err


def test_a_long_list_is_a_count(tmp_path, monkeypatch, capsys):
    state = nn.ModuleDict({f"a{n}": Port(4, "parallel") for n in range(9)}).state_dict()
    torch.save(state, tmp_path / "port.pth")
    monkeypatch.setattr(sys, "argv", ["tool", "port", str(tmp_path / "port.pth"), "new.pth"])
    sys.argv += ["--layout", "parallel", "--dry-run", "--rename"]
    sys.argv += [f"a{n}.=b{n}." for n in range(9)]
    convert_tool.main()
    out = capsys.readouterr().out
    assert "renamed  108 keys in 9 modules (--verbose lists them)" in out
    assert out.count("renamed") == 2
    sys.argv.append("--verbose")
    convert_tool.main()
    assert capsys.readouterr().out.count("renamed") == 9


def test_the_tool_tells_what_it_would_do(tmp_path, monkeypatch, capsys):
    wrapped = {f"module.psa.{k}": t for k, t in Port(16, "parallel").state_dict().items()}
    torch.save(wrapped, tmp_path / "port.pth")
    options = ["--layout", "parallel", "--rename", "module.=", "psa.=attention.", "--dry-run"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tool", "port", "port.pth", "ours.pth", *options])
    convert_tool.main()
    assert capsys.readouterr().out.splitlines() == [
        "renamed  module.psa.* -> attention.* (12)",
        "fits     attentions by themselves, 1 x form='paper', layout='parallel': 12 tensors",
        "dry run: nothing is written",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["port.pth"]
    monkeypatch.setattr(sys, "argv", ["tool", "port", "port.pth", "ours.pth", "--rename", "psa"])
    with pytest.raises(SystemExit) as status:
        convert_tool.main()
    assert status.value.code == 2
    assert "'psa' is not OLD=NEW" in capsys.readouterr().err


def test_a_trap_is_one_message_and_exit_status_2(tmp_path):
    torch.save({"state_dict": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    tool = [sys.executable, str(ROOT / "tools/convert_checkpoint.py")]
    command = [*tool, "official", "trap.pth", "ours.pth"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: checkpoint holds more than data, and is not loaded: trap.pth" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["trap.pth"]
