import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
import yaml

from psa_seg import PolarizedSelfAttention
from psa_seg.errors import UserError
from psa_seg.integrations.ultralytics import NAME, SCALES, _with_layer, register, yolov10
from tests.test_recipes import recipe, run

pytestmark = pytest.mark.skipif(find_spec("ultralytics") is None, reason="needs psa-seg[yolo]")

# Ultralytics asks for a torchvision's version, and for its NMS. PyPI's is built for CUDA: beside a
# CPU torch it cannot be imported, and where it is installed mmengine's Runner stops at that.
STAND_IN = """
from types import SimpleNamespace
from ultralytics.utils.nms import TorchNMS

ops = SimpleNamespace(nms=TorchNMS.nms)
"""
METADATA = "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n"
SMALL = dict(device="cpu", imgsz=64, verbose=False)
DATA = dict(workers=0, plots=False, **SMALL)


@pytest.fixture(scope="module", autouse=True)
def _offline(tmp_path_factory):
    """Settings and stand-in in a folder of the tests; for fresh processes, too."""
    folder = tmp_path_factory.mktemp("ultralytics")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CONFIG_DIR", str(folder)), ("OFFLINE", "1"), ("AUTOINSTALL", "0")):
            patch.setenv(f"YOLO_{name}", value)
        patch.setattr(PIL.Image, "open", PIL.Image.open)  # Ultralytics puts its own there for good
        try:
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError):
            (folder / "torchvision.py").write_text(STAND_IN)
            (folder / "torchvision-0.28.0.dist-info").mkdir()
            (folder / "torchvision-0.28.0.dist-info" / "METADATA").write_text(METADATA)
            patch.syspath_prepend(folder)
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield
    if str(folder) in getattr(sys.modules.get("torchvision"), "__file__", ""):
        del sys.modules["torchvision"]  # or the next Runner in this process asks its version


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """The description of a data set: six black images of 64x64, a bright box in each."""
    folder = tmp_path_factory.mktemp("boxes")
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for i in range(count):
            (x, y), (w, h) = draw.integers(4, 24, 2).tolist(), draw.integers(16, 32, 2).tolist()
            image = cv2.rectangle(np.zeros((64, 64, 3), np.uint8), (x, y, w, h), (0, 200, 255), -1)
            cv2.imwrite(str(folder / "images" / split / f"{i}.png"), image)
            label = f"0 {(x + w / 2) / 64} {(y + h / 2) / 64} {w / 64} {h / 64}\n"
            (folder / "labels" / split / f"{i}.txt").write_text(label)
    description = dict(path=str(folder), train="images/train", val="images/val", names=["box"])
    (folder / "data.yaml").write_text(yaml.safe_dump(description))
    return folder / "data.yaml"


@pytest.fixture(scope="module")
def trained(boxes, tmp_path_factory):
    """After one epoch, by the checkpoint that it wrote; and the gates it began with."""
    yolo = yolov10("n", attention=dict(layout="sequential"))
    start = yolo.model.model[11].ch_wz.weight.detach().clone()
    yolo.train(
        data=str(boxes), epochs=1, batch=2, project=str(tmp_path_factory.mktemp("runs")), **DATA
    )
    return yolo, start


def plain(name="yolov10n.yaml"):
    from ultralytics import YOLO

    return YOLO(name)


def enliven(yolo):
    """As after some training; a new model's maps fade, and its output hardly depends on them."""
    for module in yolo.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.running_mean)


@pytest.mark.parametrize("scale", SCALES)
def test_channels_are_those_of_the_scale(scale):
    yolo = yolov10(scale)
    layer = yolo.model.model[11]
    width = {"n": 256, "s": 512, "m": 576, "b": 512, "l": 512, "x": 640}[scale]
    assert type(layer) is PolarizedSelfAttention
    assert layer.in_channels == width
    seen = []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    with torch.no_grad():
        out = yolo.model.eval()(torch.rand(1, 3, 64, 96))
    assert seen == [(1, width, 2, 3)]
    assert out[0].isfinite().all()


@pytest.mark.parametrize("after", [None, 0, 4, 14, 22])
def test_identity_start_in_a_trained_model_changes_no_bit(after, tmp_path):
    from ultralytics.nn import modules, tasks

    theirs = plain()
    enliven(theirs)
    theirs.model.names = {i: f"class {i}" for i in range(80)}
    theirs.save(tmp_path / "plain.pt")
    theirs = plain(tmp_path / "plain.pt")
    ours = yolov10(after=after, attention=dict(init="identity"), weights=tmp_path / "plain.pt")
    at = 11 if after is None else after + 1
    kinds = [type(layer) for layer in ours.model.model]
    assert kinds.pop(at) is PolarizedSelfAttention
    assert kinds == [type(layer) for layer in theirs.model.model]
    assert kinds[10] is modules.PSA is tasks.PSA  # partial self-attention
    assert ours.model.names == theirs.model.names
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected, out = theirs.model.eval()(x)[0], ours.model.eval()(x)[0]
    assert torch.equal(out, expected)
    with torch.no_grad():  # and only the identity is one
        ours.model.model[at].ln.bias.fill_(3)
        assert not torch.allclose(ours.model(x)[0], expected)


@pytest.mark.parametrize("after", [0, 4, 10, 16, 22])
def test_all_that_took_the_chosen_layer_take_the_attention(after):
    def sources(model):
        for i, layer in enumerate(model.model.model):
            given = [layer.f] if isinstance(layer.f, int) else layer.f
            yield [i + f if f < 0 else f for f in given]

    theirs, ours = list(sources(plain())), list(sources(yolov10(after=after)))
    assert ours.pop(after + 1) == [after]
    assert ours == [[source + (source >= after) for source in row] for row in theirs]


def test_readmes_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain().save("yolov10n.pt")
    lines = recipe("ultralytics").splitlines()
    assert lines.pop().startswith("yolo.train(")
    names = run("\n".join(lines))
    assert names["yolo"].model.model[11].init == "identity"


def test_indices_counted_back_across_the_new_layer_reach_further():
    rows = [[-1, 1, "A", []], [-1, 1, "B", []], [-2, 1, "C", []], [[-1, -2, -3], 1, "D", []]]
    config = {"backbone": rows[:2], "head": rows[2:], "nc": 7}
    assert _with_layer(config, 1, ["c2"]) == {
        "backbone": [*rows[:2], [-1, 1, NAME, ["c2"]]],
        "head": [[-3, 1, "C", []], [[-1, -2, -4], 1, "D", []]],
        "nc": 7,
    }


def test_the_attention_takes_its_options():
    attention = dict(form="official", branches="spatial", layout="sequential")
    layer = yolov10(attention=attention).model.model[11]
    assert {name: getattr(layer, name) for name in attention} == attention
    assert yolov10(attention=dict(init="identity")).model.model[11].init == "identity"


def test_the_narrowest_map_takes_the_official_form_too():
    layer = yolov10(after=0, attention=dict(form="official", layout="sequential")).model.model[1]
    assert (layer.in_channels, layer.form, layer.layout) == (16, "official", "sequential")


def test_a_model_file_may_name_it_at_any_width(tmp_path):
    register()
    config = plain().model.yaml
    config = _with_layer(config, 6, ["c2", "paper", "sequential"])
    config["scales"] = {"n": [0.33, 0.25, 1024], "s": [0.33, 0.5, 1024]}
    for scale, width in (("n", 128), ("s", 256)):
        path = tmp_path / f"yolov10{scale}.yaml"
        path.write_text(yaml.safe_dump(config))
        layer = plain(path).model.model[7]
        assert (layer.in_channels, layer.layout) == (width, "sequential")


def test_trains_predicts_and_validates(trained, boxes):
    yolo, start = trained
    layer = yolo.model.model[11]
    assert type(layer) is PolarizedSelfAttention
    assert layer.layout == "sequential"
    change = (layer.ch_wz.weight - start).abs().max()
    assert 0 < change < 0.1  # it began where the model was
    (result,) = yolo.predict(str(boxes.parent / "images/val/0.png"), conf=0.0, **SMALL)
    assert result.boxes.data.isfinite().all()
    assert result.boxes.shape[0] > 0
    assert yolo.val(data=str(boxes), **DATA).nt_per_class.tolist() == [2], "a box in each image"


FRESH = """
import sys
import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import torch_safe_load

yolo = YOLO(sys.argv[1])  # psa_seg need not be imported
out = yolo.model(torch.load(sys.argv[2]))[0]
try:
    type(yolo.model)(yolo.model.yaml, verbose=False)
except KeyError as error:
    print("without register:", error)
from psa_seg.integrations.ultralytics import register
register()
type(yolo.model)(yolo.model.yaml, verbose=False).load(yolo.model)
torch_safe_load(sys.argv[1], safe_only=True)
torch.save(out, sys.argv[3])
"""


def test_loads_in_a_fresh_process(trained, tmp_path):
    yolo, _ = trained
    checkpoint, given, result = (tmp_path / name for name in ("yolo.pt", "x.pt", "out.pt"))
    yolo.save(checkpoint)
    x = torch.rand(1, 3, 64, 64)
    torch.save(x, given)
    command = [sys.executable, "-c", FRESH, checkpoint, given, result]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"without register: '{NAME}'" in done.stdout
    expected = plain(checkpoint).model(x)[0]
    assert torch.equal(torch.load(result), expected)


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch: Ultralytics' ONNX exporter
@pytest.mark.parametrize(("form", "dynamic"), [("paper", False), ("official", True)])
def test_exports_to_onnx(form, dynamic, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    yolo = yolov10(attention=dict(form=form, layout="sequential"))
    enliven(yolo)
    with torch.no_grad():
        for parameter in yolo.model.model[11].parameters():
            parameter.mul_(5)  # gates that are worth the comparison
    yolo.save(tmp_path / "yolo.pt")
    yolo = plain(tmp_path / "yolo.pt")
    exported = yolo.export(format="onnx", dynamic=dynamic, **SMALL)
    assert Path(exported) == tmp_path / "yolo.onnx"
    x = torch.rand(3, 3, 96, 64) if dynamic else torch.rand(1, 3, 64, 64)
    (out,) = onnxruntime.InferenceSession(exported).run(None, {"images": x.numpy()})
    out = torch.from_numpy(out)
    with torch.no_grad():
        torch.testing.assert_close(out, yolo.model(x)[0], rtol=1e-4, atol=1e-3)
        for parameter in yolo.model.model[11].parameters():
            if parameter.ndim == 4:  # each convolution of the attention is seen at the output
                kept = parameter.clone()
                parameter.zero_()
                assert (out - yolo.model(x)[0]).abs().max() > 1e-2
                parameter.copy_(kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(scale="z"), r"yolov10\(scale='z'\): no such scale; take n, s, m, b, l, x"),
        (dict(after=23), r"yolov10\(after=23\): no layer .* take 0 to 22"),
        (dict(after=-1), r"yolov10\(after=-1\): no layer .* take 0 to 22"),
        (dict(after=1.0), r"yolov10\(after=1.0\): no layer .* take 0 to 22"),
        (dict(weights="none/x.pt"), r"yolov10\(weights='none/x.pt'\): .*; name a checkpoint"),
        (dict(attention=dict(depth=2)), r"attention={'depth': 2}\): .*'depth'; help\(Polarized"),
        (dict(attention=dict(layout="x")), r"layout must be one of .*'x'; help\(Polarized"),
    ],
)
def test_a_wrong_choice_is_one_message(options, message):
    with pytest.raises(UserError, match=message):
        yolov10(**options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ultralytics.__version__", "8.5.0"),
        ("ultralytics.nn.tasks.parse_model", None),
        ("ultralytics.nn.tasks.parse_model", lambda *_, **__: ([None, torch.nn.Identity()], [])),
        (  # one to which c2 is not the width that the scale made
            "ultralytics.nn.tasks.parse_model",
            lambda *_, **__: ([None, PolarizedSelfAttention(16, layout="sequential")], []),
        ),
    ],
)
def test_an_unknown_parser_is_one_message(name, value, monkeypatch):
    register()
    monkeypatch.setattr(name, value)
    with pytest.raises(UserError, match=r"^unknown parser version: .*; pip install .*==8\.4\."):
        register()


def test_without_ultralytics_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(UserError, match=r"needs ultralytics.*; pip install 'psa-seg\[yolo\]'"):
        yolov10()
