"""Every error of loading names its file: from any worker, in training, validation and testing."""

import copy
import shutil

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from psa_seg.datasets.loading import NamingDataset
from psa_seg.engine import looking, prepare
from psa_seg.engine.doctor import check_data
from psa_seg.errors import DataError, UserError
from tests.conftest import evaluate, small, train
from tests.datasets.own import describe, draw, scene
from tests.datasets.test_masks import png_header
from tests.engine.test_own_data import small as small_own

NAME = "psa_deeplabv3plus_cityscapes"
LOADERS = ("train_dataloader", "val_dataloader")
SHORT = {"train_cfg.max_iters": 2, "train_cfg.val_interval": 2, "custom_hooks.0.samples": 1}


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = b"\0" * (len(data) // 2 - len(data) // 3)
    path.write_bytes(data)


def gone(path):
    path.unlink()


def smaller(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), image[:-7])


SPOILT = {"half a file": half, "zeros within": noise, "no file": gone, "another size": smaller}


@pytest.mark.parametrize(
    ("how", "folder"),
    [
        (how, f)
        for how in SPOILT
        for f in ("images", "masks")
        if (how, f) != ("zeros within", "images")
    ],
)  # of a JPEG, OpenCV makes an image of what is left
def test_a_file_that_is_spoilt(tmp_path, how, folder):
    root = draw(tmp_path / "own")
    config = small_own(describe(root), tmp_path / "work")
    sets = [NamingDataset(DATASETS.build(config[loader].dataset)) for loader in LOADERS]
    for split, dataset in zip(("train", "val"), sets, strict=True):
        path = root / folder / split / f"0.{'jpg' if folder == 'images' else 'png'}"
        SPOILT[how](path)
        with pytest.raises(DataError) as error:
            dataset[0]
        message = str(error.value)
        named = root / "masks" / split / "0.png" if how == "another size" else path
        assert str(named) in message
        assert 2 <= len(message.splitlines()) <= 5


@pytest.mark.parametrize(
    ("folder", "split", "workers"),
    [("leftImg8bit", "train", 1), ("gtFine", "train", 0), ("leftImg8bit", "val", 0)],
)
def test_a_file_that_is_spoilt_while_a_run_goes(
    streets, tmp_path, monkeypatch, folder, split, workers
):
    root = tmp_path / "streets"
    shutil.copytree(streets, root)
    config = small(NAME, root, tmp_path / "work", **SHORT)
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.num_workers = workers
    for path in (root / folder / split).rglob("*.png"):
        noise(path)
    monkeypatch.setattr(prepare, "look_at_data", lambda *_: None)  # as if it were spoilt after it
    with pytest.raises(UserError) as error:
        train(config)
    message = str(error.value)
    assert str(root / folder / split) in message
    assert "Traceback" not in message
    assert 2 <= len(message.splitlines()) <= 5


def test_testing_names_a_file_too(streets, tmp_path, tiny, monkeypatch):
    root = tmp_path / "streets"
    shutil.copytree(streets, root)
    train(tiny(NAME, **SHORT))
    for path in (root / "leftImg8bit/val").rglob("*.png"):
        noise(path)
    monkeypatch.setattr(prepare, "look_at_data", lambda *_: None)
    config = small(NAME, root, tmp_path / "test")
    with pytest.raises(UserError, match=r"image cannot be decoded: .*leftImg8bit/val"):
        evaluate(config, str(tmp_path / "work/iter_2.pth"))


def test_a_mask_in_a_format_of_a_users_own_is_blamed_as_it_was(tmp_path):
    """It is not known what is in it."""
    root = draw(tmp_path / "own")
    built = DATASETS.build(small_own(describe(root), tmp_path / "work").train_dataloader.dataset)
    dataset = NamingDataset(built)
    item = dataset[0]
    item["data_samples"].gt_sem_seg.data[0, 0] = 99
    for path in (None, "s3://bucket/a.png", str(tmp_path / "mask.npy")):
        with pytest.raises(DataError, match=r"range: 99\n(.|\n)*replace that mask"):
            dataset._require_mask(item, {"seg_map_path": path} if path else {})


def test_a_mistake_of_code_keeps_its_traceback(tmp_path):
    """No file is to blame: only a note says which was being loaded."""
    root = draw(tmp_path / "own")
    dataset = small_own(describe(root), tmp_path / "work").train_dataloader.dataset
    dataset.pipeline = [lambda results: 1 / 0]
    with pytest.raises(ZeroDivisionError) as error:
        NamingDataset(DATASETS.build(dataset))[0]
    assert error.value.__notes__[0].startswith(f"while loading {root}/images/train/0.jpg")


@pytest.mark.parametrize("pixels", [(9000, 9000), (30000, 30000)])
@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_nothing_large_is_decoded(tmp_path, pixels, kind):
    root = draw(tmp_path / "own")
    config = small_own(describe(root), tmp_path / "work")
    built = DATASETS.build(config.train_dataloader.dataset)
    path = root / kind / "train/0.png"
    if kind == "images":
        path = path.with_suffix(".jpg")
    path.write_bytes(png_header(*pixels))
    with pytest.raises(DataError) as error:
        NamingDataset(built)[0]
    assert str(path) in str(error.value)
    if pixels[0] > 9459:
        assert "89,478,485" in str(error.value)


def tagged(path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.convert("RGB" if kind == "images" else "L").save(path, exif=exif)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize(
    ("orientation", "size", "right"),
    [(6, (48, 64), True), (8, (48, 64), True), (6, (64, 48), False), (3, (64, 48), False)],
)
def test_images_that_are_turned_when_they_are_loaded(tmp_path, suffix, orientation, size, right):
    """A mask of the turned image's size is right; raw ones, and those in doubt, are refused."""
    root = draw(tmp_path / "own")
    for i, path in enumerate(sorted((root / "images/train").rglob("*.jpg"))):
        with Image.open(path) as image:
            kept = image.convert("RGB")
        path.unlink()
        kept.save(path.with_suffix(suffix))
        tagged(path.with_suffix(suffix), orientation, "images")
        mask = next((root / "masks/train").rglob(f"{path.stem}.png"))
        Image.fromarray(scene(i, size=size)[1]).save(mask)
    config = small_own(describe(root, "scale: [32, 24]"), tmp_path / "work")
    findings = check_data(config, "train_dataloader")
    if right:
        assert findings == []
        looking.look_at_data(config, "train_dataloader")
        built = DATASETS.build(config.train_dataloader.dataset)
        assert NamingDataset(built)[0]["inputs"].ndim == 3
        return
    assert str(root / "images/train") in findings[0]
    words = "not of the size of their image" if orientation == 6 else "turned when they are loaded"
    assert words in findings[0]


def test_a_mask_that_is_tagged_is_refused(tmp_path):
    root = draw(tmp_path / "own")
    for path in (root / "masks/train").rglob("*.png"):
        tagged(path, 3, "masks")
    config = small_own(describe(root), tmp_path / "work")
    (finding,) = check_data(config, "train_dataloader")
    assert "8 images are turned" in finding


@pytest.mark.parametrize("kind", ["LoadLabelIds", "LoadAnnotations"])
def test_several_channels_are_seen_wherever_they_are_read(tmp_path, streets, tiny, kind):
    """Also where the general loader of MMSegmentation would take them: it flattens nothing."""
    root = tmp_path / "streets"
    shutil.copytree(streets, root)
    config = small("baseline_deeplabv3plus_cityscapes", root, tmp_path / "work", **SHORT)
    for path in (root / "gtFine/val").rglob("*labelIds.png"):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.dstack([mask, mask, mask[::-1]]))
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.pipeline = copy.deepcopy(loader.dataset.pipeline)
        for step in loader.dataset.pipeline:
            if step.type == "LoadLabelIds":
                step.type = kind
    (finding,) = check_data(config, "train_dataloader", "val_dataloader")
    assert "channels" in finding
    assert str(root / "gtFine/val") in finding
