"""CrackForest's layout, from invented files in the shape of its own."""

import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from benchmarks import crackforest


def laid_out(clone, out, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["crackforest", str(clone), str(out)])
    crackforest.main()


def test_masks_of_the_split(tmp_path, monkeypatch):
    clone, out = tmp_path / "clone", tmp_path / "out"
    for folder in ("image", "groundTruth"):
        (clone / folder).mkdir(parents=True)
    train, val = crackforest.TRAIN.split(), crackforest.VAL.split()
    assert (len(train), len(val), len({*train, *val})) == (70, 24, 94)
    marks = np.array([[1, 2, 3], [4, 1, 2]], np.uint8)
    for stem in train + val:
        Image.new("RGB", (3, 2)).save(clone / "image" / f"{stem}.jpg")
        truth = {"Segmentation": marks, "Boundaries": marks > 1}
        savemat(clone / "groundTruth" / f"{stem}.mat", {"groundTruth": truth})
    laid_out(clone, out, monkeypatch)
    assert len([*out.glob("images/train/*.jpg")]) == 70
    written = np.asarray(Image.open(out / "masks" / "val" / f"{val[0]}.png"))
    assert written.tolist() == [[0, 255, 128], [128, 0, 255]]
    with pytest.raises(SystemExit):  # nothing of anybody's is written over
        laid_out(clone, out, monkeypatch)


def test_another_folder_is_named(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        laid_out(tmp_path, tmp_path / "out", monkeypatch)
    assert "is not there: is" in capsys.readouterr().err
