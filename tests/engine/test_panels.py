"""Pictures of a test, and lines of a training: where they are, and what is in them."""

import csv
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from psa_seg.engine import hooks
from psa_seg.engine.hooks import PaceHook
from psa_seg.engine.panels import PanelHook, write_scores
from psa_seg.engine.pictures import GAP
from psa_seg.records import Validation

META = {"classes": ("road", "car", "sky"), "palette": [[128, 64, 128], [0, 0, 142], [70, 130, 180]]}


def sample(path):
    """A grey image, half road and half car, in which a row of the road is called car."""
    Image.fromarray(np.full((40, 60, 3), 100, np.uint8)).save(path)
    truth = torch.zeros(1, 40, 60, dtype=torch.int64)
    truth[..., 30:] = 1
    truth[:, -4:] = 255
    prediction = truth.clamp(max=1).clone()
    prediction[:, 10, :30] = 1
    found = SegDataSample(metainfo=dict(img_path=str(path), ori_shape=(40, 60)))
    found.set_data(
        {"gt_sem_seg": PixelData(data=truth), "pred_sem_seg": PixelData(data=prediction)}
    )
    return found


class Images(list):
    """A data set, as far as a hook asks."""

    metainfo = META

    def get_data_info(self, index):
        return self[index]


def shown(folder, *paths):
    """What a test writes for images at these paths."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    samples = [sample(path) for path in paths]
    loader = SimpleNamespace(dataset=Images({"img_path": str(path)} for path in paths))
    hook = PanelHook(str(folder))
    runner = SimpleNamespace(test_dataloader=loader)
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, None, samples)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_images_of_one_name_have_a_picture_each(tmp_path):
    root = tmp_path / "data"
    paths = [root / name for name in ("a/frame.png", "b/frame.png", "b/c/frame.png", "b/frame.bmp")]
    found = shown(tmp_path / "shown", *paths)
    assert found == ["a/frame.png", "b/c/frame.png", "b/frame.bmp.png", "b/frame.png.png"]


def test_a_picture_shows_where_the_prediction_is_wrong(tmp_path):
    shown(tmp_path / "shown", tmp_path / "x.png")
    panel = cv2.imread(str(tmp_path / "shown/x.png"))[..., ::-1]
    assert panel.shape[1] == 4 * 60 + 3 * GAP
    top = next(y for y in range(panel.shape[0]) if (panel[y, :60] == 100).all())
    errors = panel[top : top + 40, 3 * (60 + GAP) :]
    red = (errors == (220, 30, 30)).all(axis=2)
    assert red[10, :30].all()
    assert red.sum() == 30
    assert (errors[-4:] == 0).all(), "nothing counts there"
    colours = {tuple(pixel) for pixel in panel[top + 40 :].reshape(-1, 3).tolist()}
    assert {(128, 64, 128), (0, 0, 142)} <= colours
    assert (70, 130, 180) not in colours, "a class that does not occur is not named"


def test_scores_by_class(tmp_path):
    matrix = ((90, 10, 0), (5, 45, 0), (0, 0, 0))
    write_scores(tmp_path, Validation(iteration=1, confusion=matrix), META["classes"], "streets")
    heading, road, car, sky = [*csv.reader((tmp_path / "classes.csv").open())]
    assert heading == ["class", "IoU", "accuracy", "pixels of truth", "pixels of prediction"]
    assert road == ["road", f"{100 * 90 / 105:.4f}", "90.0000", "100", "95"]
    assert car[0] == "car"
    assert sky == ["sky", "", "", "0", "0"]
    assert cv2.imread(str(tmp_path / "confusion.png")) is not None


@pytest.mark.parametrize(
    ("interval", "images", "expected"),
    [(1000, 2000, [2, 5, 8, 11]), (2, 2000, []), (1000, 6, [2, 8, 11])],
)
def test_a_training_says_how_far_it_is(monkeypatch, interval, images, expected):
    """Every ten seconds at least; where the logger speaks, of a short pass say, it alone does."""
    said, clock = [], iter(range(0, 1000, 4))
    monkeypatch.setattr(hooks.time, "monotonic", lambda: next(clock))
    runner = SimpleNamespace(
        hooks=[LoggerHook(interval=interval)],
        log_processor=SimpleNamespace(get_log_after_iter=lambda *args: ({}, f"step {args[1]}")),
        logger=SimpleNamespace(info=said.append),
        train_dataloader=range(images),
    )
    hook = PaceHook()
    hook.before_train(runner)
    for step in range(12):
        hook.after_train_iter(runner, step)
    assert said == [f"step {step}" for step in expected]
