"""The doctor: a table of what is well, doubtful and wrong; a first data.yaml; pictures of pairs."""

import io
import json
import shutil
import warnings

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from mmseg.registry import MODELS
from PIL import Image

from psa_seg.engine import letters
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import environment, masks
from psa_seg.engine.doctor.remarks import _brightness
from psa_seg.errors import UserError
from tests.conftest import ROOT
from tests.datasets.own import SPLITS, describe, draw, scene

CONFIG = str(ROOT / "configs/baseline_deeplabv3plus_mobilenetv2_cityscapes.py")


def lines(printed, state):
    return [line["message"] for line in json.loads(printed) if line["state"] == state]


def test_sound_data_pass(doctor, tmp_path):
    path = describe(draw(tmp_path / "own"), "name: mine")
    status, out, _ = doctor(CONFIG, "--data", path, "--cfg-options", "model.backbone.init_cfg=None")
    assert status == 0
    assert "0 warnings, 0 errors" in out
    assert "mine, train: 8 pairs, 64x48, images RGB, masks L" in out
    counts = np.bincount(np.concatenate([scene(i)[1].ravel() for i in range(8)]))
    for name, share in zip("abc", 100 * counts / counts.sum(), strict=True):
        assert f"{share:7.3f} % of the pixels {name}" in out


def test_alone_it_looks_at_the_machine(doctor):
    status, out, _ = doctor()
    assert out.splitlines()[0].startswith("ok       environment")
    assert "data" not in out
    assert status == 0


def test_what_may_be_wrong_is_a_warning(doctor, tmp_path):
    root = draw(tmp_path / "own")
    shutil.copy(root / "images/train/0.jpg", root / "images/val/2.jpg")
    for path in (root / "images/train/2.jpg", root / "images/train/4.jpg"):
        Image.fromarray(np.full((48, 64, 3), 255, np.uint8)).save(path)
    Image.fromarray(np.zeros((480, 640, 3), np.uint8)).save(root / "images/val/0.jpg")
    Image.fromarray(np.full((480, 640), 255, np.uint8)).save(root / "masks/val/0.png")
    for path in (root / "masks/val").rglob("*.png"):
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 2, 255, mask).astype(np.uint8)).save(path)
    mask = root / "masks/train/0.png"  # where 255 is ignored in training, too, it hides no class
    Image.fromarray(np.where(np.eye(48, 64), 255, np.asarray(Image.open(mask)))).convert("L").save(
        mask
    )
    path = describe(root, "crop: [128, 128]")
    status, out, _ = doctor("--data", path, "--json")
    assert status == 0
    found = " | ".join(lines(out, "warning"))
    for words in (
        "1 images of val_dataloader are among the training images",
        f"{root}/images/val/2.jpg\n             {root}/images/train/0.jpg",
        "1 of 3 classes never occur in val_dataloader: c",
        "% of the pixels of val_dataloader are ignored",
        "crops of 128x128 (rows x columns) are larger than 8 of 8 images",
        "1 images are of far other size than the rest (most often 64x48)",
        "images are far brighter or darker than the rest",
    ):
        assert words in found
    assert doctor("--data", path, "--strict")[0] == 1


def test_what_is_wrong_is_an_error(doctor, tmp_path):
    path = describe(draw(tmp_path / "own"), names="[a, b, c, d]")
    status, out, _ = doctor("--data", path, "--json")
    assert status == 2
    (message,) = lines(out, "error")
    assert "1 of 4 classes never occur in the training masks: d" in message
    assert doctor("--data", path, "--allow-absent")[0] == 0
    path.write_text("nonsense")
    status, out, _ = doctor("--data", path, "--json", "--suggest-weights")
    assert status == 2
    wrong, weights = lines(out, "error")
    assert str(path) in wrong
    assert "no weights of classes" in weights
    for mask in (tmp_path / "own/masks").rglob("*.png"):
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(mask)
    status, out, _ = doctor("--data", describe(tmp_path / "own"), "--json", "--suggest-weights")
    assert status == 2
    assert "no weights of classes" in lines(out, "error")[-1]


def test_a_checkpoint_of_another_model(doctor, tmp_path):
    torch.save({"state_dict": {"x": torch.ones(1)}}, tmp_path / "x.pth")
    path = describe(draw(tmp_path / "own"))
    status, out, _ = doctor(
        CONFIG,
        "--data",
        path,
        "--checkpoint",
        tmp_path / "x.pth",
        "--json",
        "--cfg-options",
        "model.backbone.init_cfg.checkpoint=nowhere.pth",
    )
    assert status == 2
    assert [message.split(":")[0] for message in lines(out, "error")] == [
        "model.backbone.init_cfg.checkpoint",
        "checkpoint is of another model",
    ]


@pytest.mark.parametrize("meta", [{"dataset_meta": None}, "v1", {"CLASSES": 3}, None])
def test_a_checkpoint_that_tells_nothing(doctor, tmp_path, meta):
    torch.save({"state_dict": {"x": torch.ones(1)}, "meta": meta}, tmp_path / "x.pth")
    status, out, _ = doctor("--checkpoint", tmp_path / "x.pth", "--json")
    assert (status, lines(out, "ok")[-1]) == (0, f"{tmp_path}/x.pth: 1 tensors")


def test_a_checkpoint_without_a_config(doctor, tmp_path):
    path, file = describe(draw(tmp_path / "own")), tmp_path / "x.pth"
    for state, names, words in (
        ({}, "abc", "no weights in it"),
        ([], "abc", "no weights by their names"),
        ({"x": torch.ones(1)}, "abd", "class 2 is 'd' there, and 'c' here"),
        ({"x": torch.ones(1)}, "abcd", "class 3 is 'd' there, and not here"),
        ({"x": 3, "y": {"z": torch.ones(1)}}, "abc", "no weights by their names, but x, y"),
    ):
        meta = {"dataset_meta": {"classes": tuple(names)}}
        torch.save({"state_dict": state, "meta": meta}, file)
        status, out, _ = doctor("--data", path, "--checkpoint", file, "--json")
        assert status == 2
        assert words in lines(out, "error")[0]


def test_the_brightness_of_16_bits_is_that_of_their_upper_half(tmp_path):
    for levels, bright in ((np.uint16(40 * 256), 40), (np.uint8(40), 40)):
        Image.fromarray(np.full((9, 9), levels)).save(tmp_path / "x.png")
        assert abs(_brightness(tmp_path / "x.png") - bright) < 1


def test_a_contact_sheet(doctor, tmp_path):
    path, sheet = describe(draw(tmp_path / "own")), tmp_path / "sheet.png"
    assert doctor("--data", path, "--show", sheet)[0] == 0
    picture = cv2.imread(str(sheet))
    assert min(picture.shape[:2]) > 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000
    first = sheet.read_bytes()
    assert "sheet_2.png" in doctor("--data", path, "--show", sheet)[2]
    assert (sheet.read_bytes(), (tmp_path / "sheet_2.png").read_bytes()) == (first, first)


def test_names_that_matplotlib_would_set_as_formulas(doctor, tmp_path):
    root = draw(tmp_path / "own")
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (root / kind / f"train/0.{suffix}").rename(root / kind / f"train/$x_$^.{suffix}")
    path = describe(root, "name: 'cost in $'", names=f"['$a_^$', b, {'long ' * 20}]")
    assert doctor("--data", path, "--show", tmp_path / "sheet.png")[0] == 0
    for wrong in (tmp_path / "no/sheet.png", tmp_path / "sheet.jpg"):
        with pytest.raises(UserError, match="is no PNG in a folder that is there"):
            doctor("--data", path, "--show", wrong)


def test_a_start_for_other_classes(doctor, tmp_path):
    path = describe(draw(tmp_path / "own"))
    config = load_config(CONFIG)
    config.model.backbone.init_cfg = None
    torch.save({"state_dict": MODELS.build(config.model).state_dict()}, tmp_path / "19.pth")
    start = ("--cfg-options", "model.backbone.init_cfg=None", f"load_from={tmp_path / '19.pth'}")
    status, out, _ = doctor(CONFIG, "--data", path, "--json", *start)
    assert status == 0
    assert "anew, for other classes: decode_head.conv_seg.weight" in lines(out, "ok")[-1]
    other = CONFIG.replace("_mobilenetv2", "_r18")  # with heads of other widths besides
    status, out, _ = doctor(other, "--data", path, "--json", *start)
    assert status == 2
    assert "checkpoint is of another model" in lines(out, "error")[0]
    status, out, _ = doctor("--checkpoint", tmp_path / "19.pth")
    assert status == 0
    assert f"19.pth: {len(MODELS.build(config.model).state_dict())} tensors" in out


def test_weights_are_median_frequency_balancing(doctor, tmp_path):
    """Of the images that have a class, as in arXiv 1411.4734."""
    root = draw(tmp_path / "own")
    for i, path in enumerate(sorted((root / "masks/train").rglob("*.png"))):
        Image.fromarray(np.full((48, 64), [0, 0, 0, 0, 0, 0, 1, 2][i], np.uint8)).save(path)
    mask = np.zeros((48, 64), np.uint8)
    mask[:12] = 1
    Image.fromarray(mask).save(root / "masks/train/0.png")
    _, out, _ = doctor("--data", describe(root), "--suggest-weights")
    shares = {"a": (5 + 0.75) / 6, "b": (1 + 0.25) / 2, "c": 1.0}
    middle = sorted(shares.values())[1]
    weights = [round(middle / share, 3) for share in shares.values()]
    assert f"suggestion   class_weight={weights}\n" in out
    _, out, _ = doctor("--data", describe(root), "--suggest-weights", "--json")
    assert lines(out, "ok")[-1].startswith(f"class_weight={weights}")


def test_masks_are_counted_once(doctor, tmp_path, monkeypatch):
    path = describe(draw(tmp_path / "own"))
    counted = []
    count = masks.count
    monkeypatch.setattr(masks, "count", lambda p, c: counted.append(p.name) or count(p, c))
    for expected in (sum(SPLITS.values()), 0):
        counted.clear()
        assert doctor("--data", path)[0] == 0
        assert len(counted) == expected
    changed = tmp_path / "own/masks/val/0.png"
    Image.fromarray(np.full((48, 64), 1, np.uint8)).save(changed)
    counted.clear()
    assert doctor("--data", path)[0] == 0
    assert counted == ["0.png"]
    assert not list((tmp_path / "own").rglob("*.json")), "the cache lies elsewhere"
    for store in (tmp_path / "cache").rglob("*.json"):
        store.write_text("{")
    assert doctor("--data", path)[0] == 0, "a broken cache is none"


def test_pairs_of_packages_that_do_not_go_together(monkeypatch):
    there = {"opencv-python": "4.10", "opencv-python-headless": "4.10", "numpy": "1.26"}
    monkeypatch.setattr(environment, "_version", lambda name: there.get(name, "2.99"))
    found = " | ".join(environment.remarks_on_environment())
    assert "opencv-python 4.10 beside opencv-python-headless 4.10: both are `cv2`" in found
    assert any(message.startswith("numpy 1.26") for message in environment.check_environment())


def test_letters_that_the_usual_font_lacks(monkeypatch):
    """Drawn in another font, if one of those that are known is here."""
    monkeypatch.setattr(letters, "EAST_ASIAN", ("no font", "STIXGeneral"))
    usual, other = ({*get_font(findfont(n)).get_charmap()} for n in ("DejaVu Sans", "STIXGeneral"))

    def missing():
        figure = Figure()
        figure.suptitle(chr(min(other - usual)))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            figure.savefig(io.BytesIO())
        return any("missing from font" in str(warning.message) for warning in said)

    assert missing()
    with letters.east_asian_letters():
        assert not missing()
