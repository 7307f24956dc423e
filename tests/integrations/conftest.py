"""Ultralytics without a network, and what it is trained on."""

import os
import sys

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
import yaml

from psa_seg import PolarizedSelfAttention

# Ultralytics asks for a torchvision's version, and for its NMS. PyPI's is built for CUDA: beside a
# CPU torch it cannot be imported, and where it is installed mmengine's Runner stops at that.
STAND_IN = """
from types import SimpleNamespace
from ultralytics.utils.nms import TorchNMS

ops = SimpleNamespace(nms=TorchNMS.nms)
"""
METADATA = "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n"
SMALL = dict(device="cpu", imgsz=64, verbose=False)
DATA = dict(workers=0, plots=False, batch=2, **SMALL)


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


@pytest.fixture(scope="session")
def boxes(tmp_path_factory):
    """A data.yaml by task: six black images of 64x64, and a bright box with three known corners."""
    folder, draw = tmp_path_factory.mktemp("boxes"), np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for i in range(count):
            (x, y), (w, h) = draw.integers(4, 24, 2).tolist(), draw.integers(16, 32, 2).tolist()
            image = cv2.rectangle(np.zeros((64, 64, 3), np.uint8), (x, y, w, h), (0, 200, 255), -1)
            mask = cv2.rectangle(np.zeros((64, 64), np.uint8), (x, y, w, h), 1, -1)
            box = [(x + w / 2) / 64, (y + h / 2) / 64, w / 64, h / 64]
            corners = [[x / 64, y / 64, 2], [(x + w) / 64, y / 64, 2], [x / 64, (y + h) / 64, 2]]
            for task, numbers in (("detect", box), ("pose", sum(corners, box))):
                _write(folder / task / "images" / split / f"{i}.png", image)
                _write(folder / task / "masks" / split / f"{i}.png", mask)
                label = folder / task / "labels" / split / f"{i}.txt"
                label.parent.mkdir(parents=True, exist_ok=True)
                label.write_text(" ".join(map(str, [0, *numbers])))
    more = {
        "detect": dict(names=["box"]),
        "semantic": dict(names=["rest", "box"], masks_dir="masks"),
        "pose": dict(names=["box"], kpt_shape=[3, 3]),
    }
    found = {}
    for task, own in more.items():
        path = folder / ("pose" if task == "pose" else "detect")
        found[task] = folder / f"{task}.yaml"
        description = dict(path=str(path), train="images/train", val="images/val", **own)
        found[task].write_text(yaml.safe_dump(description))
    return found


def _write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def plain(name="yolov10n.yaml"):
    from ultralytics import YOLO

    return YOLO(name)


def place(yolo):
    """Index of the one attention, and itself."""
    found = [
        (i, part)
        for i, part in enumerate(yolo.model.model)
        if isinstance(part, PolarizedSelfAttention)
    ]
    ((index, layer),) = found
    return index, layer


def enliven(yolo):
    """As after some training; a new model's maps fade, and its output hardly depends on them."""
    for module in yolo.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.running_mean)
    return yolo


def tensors(output):
    """All of a model's output, in one row."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in tensors(part)]


@torch.no_grad()
def outputs(yolo, x):
    return tensors(yolo.model.eval()(x))


def same(one, other):
    """Whether two lists of tensors are equal to the bit."""
    return len(one) == len(other) and all(map(torch.equal, one, other))
