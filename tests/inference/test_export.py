"""A checkpoint as a file for other runtimes: it says what the model says, or is not there."""

import copy
import json
import re
import runpy
import shlex
import shutil
import sys

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from psa_seg.errors import UserError
from psa_seg.inference import export as module
from psa_seg.inference import latency
from psa_seg.inference.export import Portable, compare, export, metadata
from psa_seg.inference.latency import measure, table
from tests.conftest import ROOT


def images(pictures, size=None):
    """uint8 RGB `[B, 3, H, W]`."""
    found = [cv2.imread(str(path))[..., ::-1] for path in pictures]
    found = [cv2.resize(one, size[::-1]) if size else one for one in found]
    return np.stack(found).transpose(0, 3, 1, 2)


TRACED = {}  # once for both kinds of files
PAGE = (ROOT / "docs/predict.md").read_text()


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """A session on the file of a trained checkpoint, made as the page has it."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copy(checkpoint, folder / "iter_700.pth")
    ((tool, *words),) = (
        shlex.split(line)[1:] for line in PAGE.splitlines() if "tools/export.py" in line
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [tool, *words])
        trace = module._traced
        patch.setattr(module, "_traced", lambda *args: TRACED.setdefault("program", trace(*args)))
        patch.setattr(latency, "measure", lambda *_: [["PyTorch", 1.5]])
        runpy.run_path(str(ROOT / tool), run_name="__main__")
    assert "1.5" in (folder / "model.onnx.latency.txt").read_text()
    return onnxruntime.InferenceSession(str(folder / "model.onnx"))


def test_the_page_reads_it(exported, pictures, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    shutil.copy(pictures[0], "photos/a.jpg")
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda name: exported)
    (text,) = re.findall(r"```python\n(import json\n.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(compile(text, "predict.md", "exec"), names)
    assert names["labels"].max() < len(names["names"]) == names["scores"].shape[1] == 19


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
    labels, _ = program(torch.from_numpy(images(pictures[:3], (97, 131))))
    assert labels.shape == (3, 97, 131)


@pytest.mark.parametrize("what", ["labels", "scores", "NaN"])
def test_a_file_that_differs_is_not_left(segmenter, tmp_path, monkeypatch, what):
    monkeypatch.setattr(module, "_traced", lambda *_: None)
    monkeypatch.setattr(module, "_to_onnx", lambda *args: args[-1].write_bytes(b"file"))

    def lying(path, kind, scores):
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

    monkeypatch.setattr(module, "_run_of", lying)
    with pytest.raises(UserError, match="says something else than the model"):
        export(segmenter, tmp_path / "model.onnx", scores=True)
    assert not [*tmp_path.iterdir()]


def test_what_cannot_be_exported_is_told(segmenter, tmp_path):
    (tmp_path / "there.onnx").write_text("mine")
    for out, reason in {
        "there.onnx": "exists, and stays",
        "model.tflite": r"neither .onnx nor .pt2",
        "no/such/model.onnx": "no such folder",
    }.items():
        with pytest.raises(UserError, match=reason):
            export(segmenter, tmp_path / out)
    assert (tmp_path / "there.onnx").read_text() == "mine"
    twin = copy.copy(segmenter)
    twin.model = copy.copy(segmenter.model)
    twin.model.test_cfg = dict(mode="slide", crop_size=(64, 64), stride=(32, 32))
    with pytest.raises(UserError, match="sliding windows"):
        export(twin, tmp_path / "model.onnx")


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
    rows = measure(portable, lambda batch: {}, "onnx", (32, 64))
    assert [row[0] for row in rows] == ["PyTorch", "onnx", "PyTorch, compiled"]
    assert rows[0][1] > rows[1][1] >= 0
    assert rows[2][1] == "not measured: RuntimeError"
    assert "1 x 32 x 64, medians of 9" in table(rows, (32, 64))


def test_compare_sees_the_largest_difference(segmenter, pictures):
    portable = Portable(segmenter).eval()
    seen = [np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]) for path in pictures[:2]]
    found = compare(portable, lambda batch: {"labels": np.full((1,), 255)}, seen)
    assert found.labels == 1
    assert set(metadata(segmenter, portable)) >= {"classes", "palette", "input", "output"}
