"""Data that a run cannot be trained on: each is one message, with what, where and what to do."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from psa_seg.datasets.headers import header
from psa_seg.datasets.labels import TRAIN_ID_OF
from psa_seg.engine import prepare
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_data
from psa_seg.errors import UserError
from tests.conftest import ROOT, small, train

NAME = "psa_deeplabv3plus_cityscapes"


class Data:
    """A copy of the few scenes, to be spoilt."""

    def __init__(self, root, config):
        self.root, self.config = root, config
        self.images = sorted((root / "leftImg8bit/train").rglob("*.png"))
        self.masks = sorted((root / "gtFine/train").rglob("*labelIds.png"))

    def said(self):
        """The message that a training would end with."""
        message = check_data(self.config, "train_dataloader", "val_dataloader")[0]
        assert "\n" in message, "what, where, and what to do"
        return message

    def relabel(self, paths, change):
        for path in paths:
            assert cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


@pytest.fixture
def data(streets, tmp_path):
    root = tmp_path / "streets"
    shutil.copytree(streets, root)
    return Data(root, small(NAME, root, tmp_path / "work"))


def test_sound_data_pass(data):
    data.config.train_dataloader.dataset.indices = 3  # a part of them, too
    assert check_data(data.config, "train_dataloader", "val_dataloader", "test_dataloader") == []


@pytest.mark.parametrize("state", ["no folder", "empty folder", "no images"])
def test_missing_data(monkeypatch, tmp_path, state):
    root = tmp_path / "cs"
    monkeypatch.setenv("CITYSCAPES_ROOT", str(root))
    config = load_config(str(ROOT / f"configs/{NAME}.py"))
    for kind in ("leftImg8bit", "gtFine"):
        if state != "no folder":
            (root / kind / "train").mkdir(parents=True)
        if state == "no images":
            (root / kind / "train/aachen.txt").touch()
    (finding,) = check_data(config, "train_dataloader")
    for part in (str(root / "leftImg8bit/train"), "cityscapes-dataset.com", "--demo"):
        assert part in finding


def test_image_without_mask(data):
    data.masks[3].unlink()
    data.masks[3].with_name(data.masks[3].name.replace("label", "labelTrain")).touch()
    message = data.said()
    assert "1 of 10 masks missing" in message
    assert "gtFine_labelTrainIds.png" in message, "what lies beside it says why"
    assert str(data.masks[3]) in message


def test_mask_without_image(data):
    data.images[2].unlink()
    message = data.said()
    assert "1 masks without an image" in message
    assert str(data.masks[2]) in message


def test_a_link_that_leads_back(data):
    """Upstream follows it until the system stops it."""
    city = data.images[0].parent
    (city / "back").symlink_to(city)
    message = data.said()
    assert f"{city}/back" in message
    assert "take out the link" in message


def test_mask_of_another_size(data):
    data.relabel(data.masks[4:6], lambda mask: mask[::2, ::2])
    message = data.said()
    assert "2 masks are not of the size of their image" in message
    assert (
        f"{data.masks[4]}\n  because    it is 128x64, and the image, as it is loaded, 256x128"
        in message
    )


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("kept", [0, 20, 0.5, -8])
def test_a_file_cut_short(data, kind, kept):
    path = getattr(data, kind)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])
    message = data.said()
    assert "1 of 20 files: cut short, or no image" in message
    assert str(path) in message


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tif"])
def test_other_formats_cut_short(data, tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), image)
    assert header(path).loaded == (60, 40)
    whole = path.read_bytes()
    if suffix == ".bmp":
        path.write_bytes(whole[:2] + b"\xff\xff\xff\x00" + whole[6:])  # which nobody reads
        assert header(path).loaded == (60, 40)
    if suffix == ".jpg":
        path.write_bytes(whole + bytes(5000))  # what a phone appends
        assert header(path).loaded == (60, 40)
    path.write_bytes(whole[:-10])
    with pytest.raises(UserError, match=f"cut short, or no image: {path}"):
        header(path)


def test_train_ids_where_label_ids_belong(data):
    data.relabel(data.masks, lambda mask: TRAIN_ID_OF[mask])
    message = data.said()
    assert "train ids (0-18 and 255), where label ids (0-33) belong" in message
    assert "CityscapesDataset" in message


def test_label_ids_where_train_ids_belong(data):
    data.config.train_dataloader.dataset.update(
        type="CityscapesDataset", seg_map_suffix="_gtFine_labelIds.png"
    )
    assert "label ids (0-33), where train ids (0-18 and 255) belong" in data.said()


def test_masks_of_the_test_split_are_no_train_ids(data):
    """All that is in them is void: label ids 0 to 6."""
    data.relabel(data.masks, lambda mask: mask % 4)
    findings = check_data(data.config, "train_dataloader")
    assert "no pixel of a class in train_dataloader" in findings[0]
    assert "train ids" not in findings[0]


def test_label_ids_out_of_range(data):
    data.relabel(data.masks[:1], lambda mask: np.where(mask == 7, 77, mask).astype(np.uint8))
    message = data.said()
    assert "label ids out of range: 77" in message
    assert str(data.masks[0]) in message


@pytest.mark.parametrize("workers", [0, 1])
def test_label_ids_out_of_range_where_the_sample_has_not_seen_them(data, monkeypatch, workers):
    """The masks that were not looked at beforehand are looked at when they are read."""
    data.relabel(data.masks, lambda mask: np.where(mask == 7, 77, mask).astype(np.uint8))
    monkeypatch.setattr(prepare, "look_at_data", lambda *_: None)
    data.config.train_dataloader.num_workers = workers
    with pytest.raises(UserError) as error:
        train(data.config)
    message = str(error.value)
    assert message.startswith("label ids out of range: 77")
    assert str(Path("gtFine/train")) in message
    assert "Traceback" not in message
