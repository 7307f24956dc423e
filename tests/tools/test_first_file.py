"""A first data.yaml, from what lies in a folder."""

import re
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from psa_seg.datasets.data_file import read_data_file
from psa_seg.datasets.guess import layout
from psa_seg.datasets.pairs import pairs
from psa_seg.errors import UserError
from tests.datasets.own import draw
from tests.tools.test_doctor import lines


def test_a_first_file_for_a_folder_without_one(doctor, tmp_path):
    root = draw(tmp_path / "own", lambda m, p: Image.fromarray(m * 100).save(p))
    assert doctor("--data", root, "--out", tmp_path / "first.yaml")[0] == 0
    file = read_data_file(tmp_path / "first.yaml")
    assert file.root == root
    assert dict(file.ids) == {0: 0, 100: 1, 200: 2}
    status, _, said = doctor("--data", root)
    assert (status, f"wrote {root}/data.yaml" in said) == (0, True)
    assert yaml.safe_load((root / "data.yaml").read_text())["path"] == "."
    before = (root / "data.yaml").read_bytes()
    assert doctor("--data", root)[0] == 0
    assert (root / "data.yaml").read_bytes() == before
    shutil.copytree(root, tmp_path / "other", ignore=lambda *_: ["data.yaml"])
    with pytest.raises(UserError, match="exists already, and is not overwritten"):
        doctor("--data", tmp_path / "other", "--out", tmp_path / "first.yaml")


def coloured(mask, path):
    Image.fromarray(np.array([[0, 0, 0], [128, 64, 128], [9, 9, 9]], np.uint8)[mask]).save(path)


def test_a_first_file_of_colours_and_one_of_class_numbers(doctor, tmp_path):
    status, *_ = doctor("--data", draw(tmp_path / "rgb", coloured))
    assert (status, read_data_file(tmp_path / "rgb/data.yaml").colours) == (0, True)
    status, *_ = doctor("--data", draw(tmp_path / "ids"))
    file = read_data_file(tmp_path / "ids/data.yaml")
    assert (status, file.names) == (0, ("class 0", "class 1", "class 2"))


LAYOUTS = {
    "images and labels": (
        ["images/train/x.jpg", "images/val/y.jpg", "labels/train/x.png", "labels/val/y.png"],
        {"train", "val"},
    ),
    "splits first": (
        ["train/img/x.jpg", "train/ann/x.png", "valid/img/y.jpg", "valid/ann/y.png"],
        {"train", "val"},
    ),
    "no splits": (
        [
            "JPEGImages/x.jpg",
            "JPEGImages/y.jpg",
            "SegmentationClass/x.png",
            "SegmentationClass/y.png",
        ],
        {"train"},
    ),
    "a suffix": (["img/x.jpg", "img/y.jpg", "masks/x_mask.png", "masks/y_mask.png"], {"train"}),
    "one folder": (["x.jpg", "y.jpg", "x_mask.png", "y_mask.png"], {"train"}),
    "prefixes": (
        [
            *(
                f"{k}/train/{n}_000{i}.{s}"
                for i in range(3)
                for k, n, s in (("images", "img", "jpg"), ("masks", "mask", "png"))
            ),
            *(
                f"{k}/val/{n}_001{i}.{s}"
                for i in range(2)
                for k, n, s in (("images", "img", "jpg"), ("masks", "mask", "png"))
            ),
        ],
        {"train", "val"},
    ),
    "several suffixes": (
        ["img/x.jpg", "img/y.PNG", "masks/x_mask.png", "masks/y_mask.png"],
        {"train"},
    ),
    "CamVid's": (
        ["train/x.png", "val/y.png", "trainannot/x.png", "valannot/y.png"],
        {"train", "val"},
    ),
    "Cityscapes'": (
        [
            "leftImg8bit/train/aa/a_0_leftImg8bit.png",
            "gtFine/train/aa/a_0_gtFine_l.png",
            "leftImg8bit/val/bb/b_1_leftImg8bit.png",
            "gtFine/val/bb/b_1_gtFine_l.png",
        ],
        {"train", "val"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_that_are_told(tmp_path, name):
    files, splits = LAYOUTS[name]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    found = layout(tmp_path)
    assert found.images.keys() == splits
    both = [pairs(tmp_path, found.images[s], found.masks[s]) for s in splits]
    assert sum(map(len, both)) == len(files) / 2


def test_a_folder_in_which_nothing_is_told(tmp_path):
    (tmp_path / "x.jpg").touch()
    with pytest.raises(UserError, match="cannot be told apart"):
        layout(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        ["images/a.jpg", "images/b.jpg", "masks/x.png", "masks/y.png"],
        ["images/a.jpg", "images/a.png", "masks/a.png"],
        ["images/a.jpg", "images/b.jpg", "masks/a.png"],
    ],
)
def test_pairs_that_are_not_told_are_not_guessed(tmp_path, files):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(UserError, match="do not say which belong together"):
        layout(tmp_path)


def resized(mask, path):
    """Up, as a photograph is: values between two appear."""
    large = Image.fromarray((mask == 1).astype(np.uint8) * 255).resize((640, 480), Image.BILINEAR)
    large.crop((0, 0, 64, 48)).save(path)


@pytest.mark.parametrize(
    ("save", "suffix", "words"),
    [
        (lambda m, p: Image.fromarray(m * 80).save(p, quality=60), ".jpg", "compressed with loss"),
        (lambda m, p: Image.fromarray(m / np.float32(2)).save(p), ".tif", "fractions"),
        (lambda m, p: Image.fromarray(m * 0).save(p), ".png", "one value alone"),
        (resized, ".png", "values between 0 and 255.*\n.*they are smoothed"),
    ],
)
def test_no_first_file_of_what_are_no_classes(doctor, tmp_path, save, suffix, words):
    root = draw(tmp_path / "own", save, suffix)
    with pytest.raises(UserError, match=words):
        doctor("--data", root)
    assert not (root / "data.yaml").exists()
    status, out, _ = doctor("--data", root, "--json")
    assert status == 2
    assert re.search(words, lines(out, "error")[0])


@pytest.mark.parametrize(
    "ids",
    [[*range(27), 60], [*range(149), 150], [*range(21), 255], range(254)],
    ids=["few, apart", "a gap", "VOC's", "all"],
)
def test_many_classes_are_no_smoothing(doctor, tmp_path, ids):
    """One of them on most pixels, as in COCO; with a gap, as in a part of ADE20K."""
    root, table = tmp_path / "own", np.array([*ids], np.uint8)

    def save(mask, path):
        pixels = np.zeros(mask.size, np.uint8)
        pixels[: len(table)], pixels[-99:] = table, table[-1]
        Image.fromarray(pixels.reshape(mask.shape)).save(path)

    assert doctor("--data", draw(root, save))[0] == 0
    assert set(read_data_file(root / "data.yaml").ids) - {255} == {*ids} - {255}
    text = (root / "data.yaml").read_text()
    assert ("are they smoothed?" in text) == (ids[-2] + 1 != ids[-1] != 255)


def test_a_first_file_takes_255_beside_greys_for_one_of_them(doctor, tmp_path):
    """As in CrackForest, where 255 is the crack."""
    root = draw(
        tmp_path / "own", lambda m, p: Image.fromarray(np.array([0, 128, 255], np.uint8)[m]).save(p)
    )
    assert doctor("--data", root)[0] == 0
    assert dict(read_data_file(root / "data.yaml").ids) == {0: 0, 128: 1, 255: 2}


def test_a_first_file_takes_255_beside_classes_for_what_is_ignored(doctor, tmp_path):
    root = draw(
        tmp_path / "on",
        lambda m, p: Image.fromarray(np.array([0, 4, 9, 255], np.uint8)[m]).save(p),
        classes=4,
    )
    assert doctor("--data", root)[0] == 0
    assert dict(read_data_file(root / "data.yaml").ids) == {0: 0, 4: 1, 9: 2, 255: 255}
