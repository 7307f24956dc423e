"""Cityscapes, CamVid, VOC12Aug and ADE20K as they lie on a disk, in miniature."""

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmseg.registry import DATASETS

from psa_seg.datasets import CamVidDataset, LoadLabelIds, RawCityscapesDataset
from psa_seg.datasets.labels import LABELS
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_data
from psa_seg.engine.doctor.data import leaves
from tests.conftest import ROOT

PIPELINE = [dict(type="LoadImageFromFile"), dict(type="LoadLabelIds")]


@pytest.fixture
def write(tmp_path):
    def write(path, array):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), array)

    return write


def test_cityscapes_label_ids_become_train_ids(tmp_path, write):
    ids = np.arange(34, dtype=np.uint8)
    stem = "aachen_000000_000019"
    write(f"img/aachen/{stem}_leftImg8bit.png", np.zeros((2, 34, 3), np.uint8))
    write(f"gt/aachen/{stem}_gtFine_labelIds.png", np.stack((ids, ids)))
    prefix = dict(img_path="img", seg_map_path="gt")
    dataset = RawCityscapesDataset(data_root=str(tmp_path), data_prefix=prefix, pipeline=PIPELINE)
    expected = {row.id: row.train_id for row in LABELS}
    assert dataset[0]["gt_seg_map"][0].tolist() == [expected[i] for i in ids]
    assert len(set(expected.values()) - {255}) == len(dataset.metainfo["classes"]) == 19


def test_a_subset_of_the_classes():
    mapping = RawCityscapesDataset.get_label_map(["car", "road"])
    assert {i: new for i, new in mapping.items() if new != 255} == {26: 0, 7: 1}


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_camvid_in_either_image_format(tmp_path, write, suffix):
    for name in ("0001TP_006690", "0001TP_006720"):
        write(f"train/{name}{suffix}", np.zeros((2, 6, 3), np.uint8))
        write(f"trainannot/{name}.png", np.arange(12, dtype=np.uint8).reshape(2, 6))
    prefix = dict(img_path="train", seg_map_path="trainannot")
    dataset = CamVidDataset(data_root=str(tmp_path), data_prefix=prefix, pipeline=PIPELINE)
    assert len(dataset) == 2
    assert dataset[1]["gt_seg_map"].flatten().tolist() == [*range(11), 255]
    assert len(dataset.metainfo["classes"]) == len(dataset.metainfo["palette"]) == 11


def test_loading_leaves_the_datasets_entry_alone(tmp_path, write):
    write("mask.png", np.full((2, 2), 7, np.uint8))
    entry = {
        "seg_map_path": str(tmp_path / "mask.png"),
        "label_map": {7: 0},
        "reduce_zero_label": False,
        "seg_fields": [],
    }
    assert LoadLabelIds().transform(entry)["gt_seg_map"].tolist() == [[0, 0], [0, 0]]
    assert entry["label_map"] == {7: 0}


FILES = {"img_path": "image.jpg", "seg_map_path": "mask.png"}
VOC = {
    "JPEGImages": ("a.jpg", "b.jpg", "c.jpg"),
    "SegmentationClass": ("a.png", "c.png"),  # SBD lacks some of these, and has others
    "SegmentationClassAug": ("b.png", "c.png"),
}
ADE20K = {
    f"{kind}/{split}": (f"ADE_{split}_1.{suffix}",)
    for kind, suffix in (("images", "jpg"), ("annotations", "png"))
    for split in ("training", "validation")
}


@pytest.mark.parametrize(("data", "size"), [("voc12aug", (512, 512)), ("ade20k", (256, 384))])
def test_an_image_smaller_than_the_crop_is_padded_where_mmsegmentation_does(
    tmp_path, write, data, size
):
    write("image.jpg", np.full((30, 45, 3), 200, np.uint8))
    write("mask.png", np.full((30, 45), 5, np.uint8))
    entry = {name: str(tmp_path / file) for name, file in FILES.items()}
    config = load_config(str(ROOT / f"configs/psa_deeplabv3plus_{data}.py"))
    (pipeline, *others) = [d.pipeline for _, d in leaves(config.train_dataloader.dataset)]
    assert all(other == pipeline for other in [*others, config.train_pipeline])
    pipeline[2].ratio_range = (0.5, 0.5)
    entry |= dict(label_map=None, reduce_zero_label=False, seg_fields=[])
    packed = Compose(pipeline)(entry)
    mask = packed["data_samples"].gt_sem_seg.data[0]
    assert packed["inputs"].shape[1:] == mask.shape == size
    assert (mask[:256, :384] == 5).all()
    mask[:256, :384] = 255
    packed["inputs"][:, :256, :384] = 0
    assert (mask == 255).all()
    assert (packed["inputs"] == 0).all()


@pytest.mark.parametrize(
    ("name", "files", "ids", "lists", "expected"),
    [
        # 0 is the background and a class; 255 is the contour
        ("VOC", VOC, [0, 20, 255], {"train": "a\n", "aug": "b\n", "val": "c\n"}, [0, 20, 255]),
        # 0 is none of the 150 classes
        ("ADE20K", ADE20K, [0, 1, 150], {}, [255, 0, 149]),
    ],
)
def test_voc_and_ade20k(tmp_path, write, monkeypatch, name, files, ids, lists, expected):
    for folder, names in files.items():
        for file in names:
            mask = np.array([ids], np.uint8).repeat(4, axis=0)
            write(f"{folder}/{file}", mask if file.endswith("png") else np.dstack([mask] * 3))
    for split, lines in lists.items():
        path = tmp_path / f"ImageSets/Segmentation/{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines)
    monkeypatch.setenv(f"{name}_ROOT", str(tmp_path))
    data = {"VOC": "voc12aug", "ADE20K": "ade20k"}[name]
    config = load_config(str(ROOT / f"configs/psa_deeplabv3plus_{data}.py"))
    config.allow_absent = True
    assert check_data(config, "train_dataloader", "val_dataloader", "test_dataloader") == []
    for loader, count in (("train", 2 if lists else 1), ("val", 1)):
        whole = config[f"{loader}_dataloader"].dataset
        for _, dataset in leaves(whole):
            dataset.pipeline = PIPELINE
        built = DATASETS.build(whole)
        assert len(built) == count
        assert all(item["gt_seg_map"][0].tolist() == expected for item in built)
