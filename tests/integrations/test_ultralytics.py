"""The attention in a YOLO model, by Python: `yolo`, and YOLOv10 as the article has it."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml

from psa_seg import PolarizedSelfAttention
from psa_seg.errors import UserError
from psa_seg.integrations.ultralytics import register, yolo, yolov10
from psa_seg.integrations.ultralytics.description import NAME, with_layer
from tests.conftest import ROOT
from tests.integrations.conftest import DATA, SMALL, enliven, outputs, plain, same
from tests.test_recipes import run

pytestmark = pytest.mark.skipif(find_spec("ultralytics") is None, reason="needs psa-seg[yolo]")


@pytest.mark.parametrize("after", [None, 0, 4, 14, 22])
def test_identity_start_in_a_trained_model_changes_no_bit(after, tmp_path):
    from ultralytics.nn import modules, tasks

    theirs = enliven(plain())
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
    assert same(outputs(ours, x), outputs(theirs, x))
    with torch.no_grad():  # and only the identity is one
        ours.model.model[at].ln.bias.fill_(3)
    assert not same(outputs(ours, x), outputs(theirs, x))


@pytest.mark.parametrize("after", [0, 4, 10, 16, 22])
def test_all_that_took_the_chosen_layer_take_the_attention(after):
    def sources(model):
        for i, layer in enumerate(model.model.model):
            given = [layer.f] if isinstance(layer.f, int) else layer.f
            yield [i + f if f < 0 else f for f in given]

    theirs, ours = list(sources(plain())), list(sources(yolov10(after=after)))
    assert ours.pop(after + 1) == [after]
    assert ours == [[source + (source >= after) for source in row] for row in theirs]


DOCS = (ROOT / "docs/yolo.md").read_text()


def test_the_docs_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain().save("yolov10n.pt")
    by_row, in_python = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    own, row = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    config = with_layer(plain().model.yaml, None, {}, str)
    config["backbone"][11] = yaml.safe_load(row)[0]
    Path("yolov10n-mine.yaml").write_text(yaml.safe_dump(config))
    assert run(by_row)["yolo"].model.model[11].in_channels == 256
    assert run(in_python)["model"].model.model[17].in_channels == 64
    Path("yolo26-mine.yaml").write_text(own)
    assert plain("yolo26n-mine.yaml").model.yaml["nc"] == 3


def test_indices_counted_back_across_the_new_layer_reach_further():
    rows = [[-1, 1, "A", []], [-1, 1, "B", []], [-2, 1, "C", []], [[-1, -2, -3], 1, "D", []]]
    config = {"backbone": rows[:2], "head": rows[2:], "nc": 7}
    assert with_layer(config, 1, {"layout": "sequential"}, str) == {
        "backbone": [*rows[:2], [-1, 1, NAME, [{"layout": "sequential"}]]],
        "head": [[-3, 1, "C", []], [[-1, -2, -4], 1, "D", []]],
        "nc": 7,
    }


def test_any_model_takes_it():
    made = yolo("yolo11n-seg.yaml", after=4, attention=dict(layout="sequential"))
    layer = made.model.model[5]
    assert type(layer) is PolarizedSelfAttention
    assert (layer.in_channels, layer.layout, made.task) == (128, "sequential", "segment")


def test_weights_begin_as_what_they_are(boxes, tmp_path, monkeypatch):
    """What is read is said to be, and nothing else; what is drawn follows the seed."""
    from ultralytics.utils import LOGGER

    said, starts = [], []
    monkeypatch.setattr(LOGGER, "info", lambda text, *_: said.append(str(text)))

    def stop(trainer):
        starts.append(trainer.model.model[11].ch_wz.weight.detach().clone())
        raise InterruptedError

    for seed in (0, 0, 1):
        made = yolov10(attention=dict(residual=True))
        made.add_callback("on_train_start", stop)
        with pytest.raises(InterruptedError):
            made.train(seed=seed, data=str(boxes["detect"]), project=str(tmp_path), **DATA)
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    assert not [text for text in said if "pretrained weights" in text]


def test_weights_of_another_network_or_scale_are_told(tmp_path, monkeypatch):
    from ultralytics.utils import LOGGER

    said = []
    monkeypatch.setattr(LOGGER, "warning", lambda text, *_: said.append(str(text)))
    for name in ("yolov10n", "yolov10s", "yolo11n"):
        plain(f"{name}.yaml").save(tmp_path / f"{name}.pt")
        yolov10().load(tmp_path / f"{name}.pt")
    sequential = yolov10(attention=dict(layout="sequential"))
    yolov10().model.load(weights=sequential.model)  # by its name, as upstream's
    assert [text.partition(":")[0] for text in said] == [
        "the weights are of another network or scale, yolov10s",
        "the weights are of another network or scale, yolo11n",
        "the PolarizedSelfAttention of the weights has other options",
    ]


def test_what_an_attention_has_learnt_stays(tmp_path):
    """Another one is put beside it; or it goes into a model whose other layers are as wide."""
    made = yolov10(attention=dict(layout="sequential"))
    torch.nn.init.normal_(made.model.model[11].ch_wv.weight)
    made.model.names = {i: f"class {i}" for i in range(80)}
    made.save(tmp_path / "ours.pt")
    learnt = plain(tmp_path / "ours.pt").model.model[11].state_dict()
    more = yolo(tmp_path / "ours.pt", after=4, attention=dict(init="identity"))
    kinds = [i for i, part in enumerate(more.model.model) if type(part) is PolarizedSelfAttention]
    assert kinds == [5, 12]
    kept = more.model.model[12].state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in learnt.items())
    assert not more.model.model[5].sp_wv.weight.any()
    x = torch.rand(1, 3, 64, 64)
    assert same(outputs(more, x), outputs(plain(tmp_path / "ours.pt"), x))
    theirs = plain().load(tmp_path / "ours.pt")
    assert theirs.model.state_dict().keys() == plain().model.state_dict().keys()
    last, saved = (yolo.model.model[-1].cv2[0][2].weight for yolo in (theirs, more))
    assert torch.equal(last, saved)
    assert theirs.model.names[3] == "class 3"
    wider = yolov10("s").load(made.model)  # of another width: nothing of the attention fits
    assert wider.model.model[11].in_channels == 512


def test_the_restricted_loader_takes_it(tmp_path):
    from ultralytics.nn.tasks import torch_safe_load

    yolov10().save(tmp_path / "yolo.pt")
    checkpoint, _ = torch_safe_load(tmp_path / "yolo.pt", safe_only=True)
    assert type(checkpoint["model"].model[11]) is PolarizedSelfAttention


def test_a_model_of_an_earlier_version(tmp_path):
    """Its layer said nothing of where it is from, and its row had the parser's variable."""
    made = yolov10()
    row = ["c2", "paper", "parallel", "both", "default", False, None, None]
    made.model.yaml["backbone"][11][3] = row
    del made.model.model[11].known
    made.save(tmp_path / "yolo.pt")
    read = plain(tmp_path / "yolo.pt")
    again = type(read.model)(read.model.yaml, verbose=False)
    assert again.state_dict().keys() == read.model.state_dict().keys()


def test_the_attention_takes_its_options():
    attention = dict(form="official", branches="spatial", layout="sequential")
    layer = yolov10(attention=attention).model.model[11]
    assert {name: getattr(layer, name) for name in attention} == attention
    assert yolov10(attention=dict(init="identity")).model.model[11].init == "identity"


def test_the_narrowest_map_takes_the_official_form_too():
    layer = yolov10(after=0, attention=dict(form="official", layout="sequential")).model.model[1]
    assert (layer.in_channels, layer.form, layer.layout) == (16, "official", "sequential")


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
        error = (out - yolo.model(x)[0]).abs().max()
        for parameter in yolo.model.model[11].parameters():
            if parameter.ndim == 4:  # each convolution of the attention is seen at the output
                kept = parameter.clone()
                parameter.zero_()
                assert (out - yolo.model(x)[0]).abs().max() > 10 * error
                parameter.copy_(kept)


KINDS = {"n.pt": "yolov10n.yaml", "11.pt": "yolo11n.yaml"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(scale="z"), r"yolov10\(scale='z'\): no such scale; take n, s, m, b, l, x"),
        (dict(scale="s", weights="n.pt"), r"they are of scale 'n'; leave the scale out"),
        (dict(weights="11.pt"), r"weights='11.pt'\): they are of no YOLOv10; call yolo\('11.pt'"),
        (dict(attention="sequential"), r"attention=sequential\): .*; help\(Polarized"),
        (dict(after=23), r"yolov10\(after=23\): no layer .* take 0 to 22"),
        (dict(after=-1), r"yolov10\(after=-1\): no layer .* take 0 to 22"),
        (dict(after=1.0), r"yolov10\(after=1.0\): no layer .* take 0 to 22"),
        (dict(weights="none/x.pt"), r"yolov10\(weights='none/x.pt'\): .*; name a checkpoint"),
        (dict(attention=dict(depth=2)), r"attention={'depth': 2}\): .*'depth'; help\(Polarized"),
        (dict(attention=dict(layout="x")), r"layout must be one of .*'x'; help\(Polarized"),
    ],
)
def test_a_wrong_choice_is_one_message(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if options.get("weights") in KINDS:
        plain(KINDS[options["weights"]]).save(options["weights"])
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
    monkeypatch.setattr("ultralytics.nn.tasks.PolarizedSelfAttention", torch.nn.Identity)
    from ultralytics.nn import tasks

    mine, state = tasks.PolarizedSelfAttention, torch.get_rng_state()
    with pytest.raises(UserError, match=r"^unknown parser version: .*; pip install .*==8\.4\."):
        register()
    assert tasks.PolarizedSelfAttention is mine
    assert torch.equal(torch.get_rng_state(), state)


def test_without_ultralytics_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(UserError, match=r"needs ultralytics.*; pip install 'psa-seg\[yolo\]'"):
        yolov10()
