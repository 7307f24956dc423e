"""A checkpoint as a file for other runtimes: it says what the model says, or is not there."""

import copy
import io
import json
import re
import runpy
import shlex
import shutil
import sys
from contextlib import redirect_stdout

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead

from psa_seg.errors import UserError
from psa_seg.inference import export as module
from psa_seg.inference import latency
from psa_seg.inference.export import compare, export
from psa_seg.inference.latency import measure, table
from psa_seg.inference.portable import Portable, metadata
from psa_seg.inference.quantized import _compared, quantize
from psa_seg.records.scores import scores
from tests.conftest import ROOT


def images(pictures, size=None):
    """uint8 RGB `[B, 3, H, W]`."""
    found = [cv2.imread(str(path))[..., ::-1] for path in pictures]
    found = [cv2.resize(one, size[::-1]) if size else one for one in found]
    return np.stack(found).transpose(0, 3, 1, 2)


TRACED = {}  # once for both kinds of files
PAGE = (ROOT / "docs/predict.md").read_text()


@pytest.fixture(scope="module")
def folder(checkpoint, pictures, tmp_path_factory):
    """What the page's command leaves of a trained checkpoint, and `said.txt`, what it says."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copy(checkpoint, folder / "iter_700.pth")
    shutil.copytree(pictures[0].parents[2] / "train", folder / "photos")
    ((tool, *words),) = (
        shlex.split(line)[1:] for line in PAGE.splitlines() if "tools/export.py" in line
    )
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [tool, *words])
        trace = module._traced
        patch.setattr(module, "_traced", lambda *args: TRACED.setdefault("program", trace(*args)))
        patch.setattr(latency, "measure", lambda _, files, __: [[name, 1.5] for name in files])
        runpy.run_path(str(ROOT / tool), run_name="__main__")
    (folder / "said.txt").write_text(said.getvalue())
    return folder


@pytest.fixture(scope="module")
def exported(folder):
    """A session on the file of a trained checkpoint, made as the page has it."""
    return onnxruntime.InferenceSession(str(folder / "model.onnx"))


def test_integers_cost_what_is_told(folder, exported, segmenter, pictures):
    """The float file scores as the model does, whose labels are those of `tools/test.py`."""
    after, before, count, differ = re.search(
        r"mIoU ([\d.]+) instead of ([\d.]+) on (\d+) validation images, .*; ([\d.]+) %",
        (folder / "said.txt").read_text(),
    ).groups()
    assert int(count) == len(pictures)
    small = onnxruntime.InferenceSession(str(folder / "model.int8.onnx"))
    batch = images(pictures)
    one, other = (session.run(["labels"], {"image": batch})[0] for session in (exported, small))
    assert f"{100 * np.mean(one != other):.2f}" == differ
    assert 0 < np.mean(one != other) < 0.2
    data = segmenter.validation()
    assert [data.get_data_info(index)["img_path"] for index in range(len(data))] == [
        str(path) for path in pictures
    ]
    truth = [data[index]["data_samples"].gt_sem_seg.data[0].numpy() for index in range(len(data))]
    for figure, maps in ((before, [each.labels for each in segmenter(pictures)]), (after, other)):
        counts = np.zeros((19, 19), np.int64)
        for mask, labels in zip(truth, maps, strict=True):
            np.add.at(counts, (mask[mask < 19], labels[mask < 19]), 1)
        assert figure == f"{scores(counts.tolist())['mIoU']:.2f}"


def test_convolutions_are_in_integers_and_nothing_else(folder):
    graph = onnx.load(folder / "model.int8.onnx").graph
    made_by = {out: node for node in graph.node for out in node.output}
    for node in graph.node:
        integers = [made_by.get(name) and made_by[name].op_type for name in node.input]
        if node.op_type == "Conv":
            assert {*integers} == {"DequantizeLinear"}
        elif node.op_type in ("MatMul", "Softmax", "LayerNormalization", "Gemm", "ArgMax"):
            assert "DequantizeLinear" not in integers[1:]
    sizes = [(folder / name).stat().st_size for name in ("model.int8.onnx", "model.onnx")]
    assert sizes[0] < 0.6 * sizes[1]
    told = onnxruntime.InferenceSession(str(folder / "model.int8.onnx")).get_modelmeta()
    assert "classes" in told.custom_metadata_map
    assert told.custom_metadata_map["quantization"].startswith("int8 convolutions")
    assert "onnx.infer" not in told.custom_metadata_map
    assert "onnx, int8" in (folder / "model.onnx.latency.txt").read_text()


def test_without_masks_there_is_no_score(folder, segmenter, pictures, tmp_path):
    twin = copy.copy(segmenter)
    twin._validation = {**segmenter._validation, "data_root": str(tmp_path)}
    shutil.copytree(pictures[0].parents[1], tmp_path / "leftImg8bit/val")
    runs = module.run_of(folder / "model.onnx", ".onnx")
    photos = module.seen(segmenter, str(folder / "photos"), 2)
    cost, _ = quantize(twin, folder / "model.onnx", runs, tmp_path / "small.onnx", photos)
    assert cost.miou is None
    assert 0 < cost.labels < 0.2
    said = cost.text(tmp_path / "small.onnx", folder / "model.onnx")
    assert "pictures: 2 (better 32, of all kinds)\nmIoU not measured" in said


@pytest.mark.parametrize(
    ("out", "given", "reason"),
    [
        (".", "photos", "is neither .onnx nor .pt2"),
        ("model.onnx", "", "it is empty"),
        ("model.pt2", "photos", "--int8 is onnxruntime's"),
        ("model.onnx", "nowhere", "/nowhere\n"),
        ("model.onnx", "films", "no picture, and videos alone: films"),
        ("there.onnx", "photos", r"there.int8.onnx exists already, and is not overwritten"),
    ],
)
def test_what_integers_need_is_told_first(
    folder, monkeypatch, tmp_path, capsys, out, given, reason
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "photos", "photos")
    (tmp_path / "there.int8.onnx").write_text("mine")
    (tmp_path / "films").mkdir()
    (tmp_path / "films/drive.mp4").touch()
    monkeypatch.setattr(sys, "argv", ["export.py", "no.pth", out, "--int8", given])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "tools/export.py"), run_name="__main__")
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"films", "photos", "there.int8.onnx"}


@pytest.mark.parametrize("size", [(256, 128), (64, 200), (301, 97)])
def test_the_page_reads_it(exported, segmenter, pictures, monkeypatch, tmp_path, size):
    """Of a picture of any shape, its labels are those of `psa_seg.load`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    cv2.imwrite("photos/a.jpg", cv2.resize(cv2.imread(str(pictures[0])), size))
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda name: exported)
    (text,) = re.findall(r"```python\n(import json\n.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(compile(text, "predict.md", "exec"), names)
    expected = segmenter("photos/a.jpg").labels
    assert np.mean(names["labels"] != expected) < 5e-3
    assert expected.max() < len(names["names"]) == names["scores"].shape[1] == 19


def test_it_says_what_the_model_says_of_whole_pictures(exported, segmenter, pictures):
    labels, scores = exported.run(["labels", "scores"], {"image": images(pictures)})
    assert labels.dtype == np.uint8
    assert scores.dtype == np.float32
    found = segmenter(pictures, scores=True)
    assert np.mean(labels != [one.labels for one in found]) <= 1e-4
    np.testing.assert_allclose(scores, [one.scores for one in found], atol=1e-3)


@pytest.mark.parametrize("size", [(33, 47), (101, 64), (200, 301)])
def test_any_size_and_batch(exported, segmenter, pictures, size):
    portable = Portable(segmenter).eval()
    for count in (1, 3):
        batch = images(pictures[:count], size)
        (labels,) = exported.run(["labels"], {"image": batch})
        with torch.no_grad():
            (expected,) = portable(torch.from_numpy(batch))
        assert np.mean(labels != expected.numpy()) <= 1e-4


def test_it_tells_what_it_is(exported, segmenter):
    shapes = {one.name: one.shape for one in (*exported.get_inputs(), *exported.get_outputs())}
    assert shapes == {
        "image": ["batch", 3, "height", "width"],
        "labels": ["batch", "height", "width"],
        "scores": ["batch", 19, "height", "width"],
    }
    told = exported.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(told["classes"])) == segmenter.names
    assert json.loads(told["palette"])[0] == list(segmenter.palette[0])
    assert json.loads(told["preprocessing"])["resize"][0]["keep_ratio"] is True
    assert told["input"].startswith("image: uint8 RGB")


@pytest.mark.usefixtures("exported")
def test_pt2(segmenter, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_traced", lambda *_: TRACED["program"])
    found, *_ = export(segmenter, tmp_path / "model.pt2", scores=True)
    assert found.labels <= 1e-4
    shapes = {shape[2:] for shape in found.shapes}
    assert len(shapes) == 3
    assert {shape[0] for shape in found.shapes} == {1, 2}
    assert any(side % 2 for shape in shapes for side in shape)
    extra = {"metadata.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    assert json.loads(extra["metadata.json"])["classes"] == json.dumps(segmenter.names)
    (line,) = (line for line in PAGE.splitlines() if "torch.export.load(" in line)
    code = line.split("`")[-2].replace('torch.export.load("model.pt2").module()', "program")
    names = dict(program=program, torch=torch, batch=images(pictures[:3], (97, 131)))
    exec(code, names)
    assert names["labels"].shape == (3, 97, 131)


@pytest.mark.parametrize("what", ["labels", "scores", "NaN"])
def test_a_file_that_differs_is_not_left(segmenter, tmp_path, monkeypatch, what):
    monkeypatch.setattr(module, "_traced", lambda *_: None)
    monkeypatch.setattr(module, "_to_onnx", lambda *args: args[-1].write_bytes(b"file"))

    def lying(path, kind):
        portable = Portable(segmenter, True).eval()

        def run(batch):
            with torch.no_grad():
                labels, scores = (out.numpy().copy() for out in portable(torch.from_numpy(batch)))
            if what == "labels":
                labels[:, 0, :8] += 1
            else:
                scores[0, 0, 0, 0] += 0.002 if what == "scores" else np.nan
            return {"labels": labels, "scores": scores}

        return run

    monkeypatch.setattr(module, "run_of", lying)
    with pytest.raises(UserError, match="computes something else than the model"):
        export(segmenter, tmp_path / "model.onnx", scores=True)
    assert not [*tmp_path.iterdir()]


def test_what_cannot_be_exported_is_told(segmenter, tmp_path):
    (tmp_path / "there.onnx").write_text("mine")
    for out, reason in {
        "there.onnx": "exists already, and is not overwritten",
        "model.tflite": r"neither .onnx nor .pt2",
        "no/such/model.onnx": "folder not found: /.*/no/such",
    }.items():
        with pytest.raises(UserError, match=reason):
            export(segmenter, tmp_path / out)
    assert (tmp_path / "there.onnx").read_text() == "mine"
    twin = copy.copy(segmenter)
    twin.model = copy.copy(segmenter.model)
    twin.model.test_cfg = dict(mode="slide", crop_size=(64, 64), stride=(32, 32))
    with pytest.raises(UserError, match="sliding windows"):
        export(twin, tmp_path / "model.onnx")


class Refining(DepthwiseSeparableASPPHead):
    """A head that does more than resize its logits, as PointRend's does."""

    def predict_by_feat(self, logits, metas):
        return super().predict_by_feat(logits, metas) + 1


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("head", "cannot be exported: how Refining predicts"),
        ("step", "cannot be exported: CenterCrop in the test pipeline"),
        ("padding", r"SegDataPreProcessor that pads in a test"),
        ("channels", "images of 1 channels"),
    ],
)
def test_what_a_graph_does_not_have_is_refused(segmenter, what, reason):
    twin = copy.copy(segmenter)
    twin.model = copy.deepcopy(segmenter.model)
    if what == "head":
        twin.model.decode_head.__class__ = Refining
    elif what == "step":
        crop = dict(type="mmcv.transforms.CenterCrop", crop_size=(64, 64))
        twin.steps = [*segmenter.steps[:-1], crop, segmenter.steps[-1]]
    elif what == "padding":
        twin.model.data_preprocessor.test_cfg = dict(size_divisor=32)
    else:
        twin.model.data_preprocessor.mean = torch.zeros(1, 1, 1)
    with pytest.raises(UserError, match=reason):
        Portable(twin)


def test_pictures_are_chosen_all_over_a_folder():
    assert module.spaced(3, 32) == [0, 1, 2]
    for count in (33, 63, 64, 1000):
        chosen = module.spaced(count, 32)
        assert len({*chosen}) == 32
        assert chosen[0] == 0
        assert max(np.diff([*chosen, count])) <= count / 32 + 1


def test_a_picture_is_as_large_as_a_file_takes_it():
    inputs = torch.arange(3 * 8 * 40).reshape(3, 8, 40) % 256
    assert module.rgb(inputs).shape == (32, 40, 3)
    larger = inputs.repeat(1, 4, 1)
    np.testing.assert_array_equal(module.rgb(larger), larger.flip(0).permute(1, 2, 0))


def test_bgr_and_one_channel(segmenter, pictures):
    """Whatever a network was trained on, RGB goes in, and two classes come out."""
    twin = copy.copy(segmenter)
    twin.model = copy.deepcopy(segmenter.model)
    batch = torch.from_numpy(images(pictures[:1]))
    twin.model.data_preprocessor._channel_conversion = False
    one, other = (Portable(each, scores=True).eval() for each in (segmenter, twin))
    with torch.no_grad():
        torch.testing.assert_close(one(batch)[1], other(batch.flip(1))[1])
    head = twin.model.decode_head
    head.conv_seg, head.out_channels, head.threshold = torch.nn.Conv2d(64, 1, 1), 1, 0.4
    twin.model.out_channels = 1
    with torch.no_grad():
        labels, scores = Portable(twin, scores=True).eval()(batch)
    assert scores.shape[1] == 2
    torch.testing.assert_close(scores.sum(1), torch.ones_like(scores[:, 0]))
    assert torch.equal(labels, (scores[:, 1] > 0.4).to(torch.uint8))


def test_latency_is_told_with_what_it_was_measured_on(segmenter, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda _: fails)
    portable = Portable(segmenter).eval()
    rows = measure(portable, {"onnx": lambda batch: {}}, (32, 64))
    assert [row[0] for row in rows] == ["PyTorch", "onnx", "PyTorch, compiled"]
    assert rows[0][1] > rows[1][1] >= 0
    assert rows[2][1] == "not measured: RuntimeError"
    assert "1 x 32 x 64, medians of 9" in table(rows, (32, 64))


def test_compare_sees_the_largest_difference(segmenter, pictures):
    portable = Portable(segmenter).eval()
    seen = [np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]) for path in pictures[:2]]
    found = compare(segmenter, lambda batch: {"labels": np.full((1,), 255)}, seen)
    assert found.labels == 1
    assert set(metadata(segmenter, portable)) >= {"classes", "palette", "input", "output"}


def test_pixels_are_counted_and_not_pictures():
    large, small = np.zeros((3, 90, 10), np.uint8), np.zeros((3, 10, 10), np.uint8)
    large, small = large.transpose(1, 2, 0), small.transpose(1, 2, 0)

    def said(value):
        return lambda batch: {"labels": np.full((1, *batch.shape[2:]), value(batch), np.uint8)}

    cost = _compared([large, small], said(lambda _: 0), said(lambda batch: batch.shape[2] == 10))
    assert cost.labels == pytest.approx(0.1), "half of the pictures, a tenth of the pixels"
