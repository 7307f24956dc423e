"""Zips for Cityscapes' server: made, and refused for each kind of fault."""

import io
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import Compose
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS
from PIL import Image

from psa_seg.datasets.labels import LABEL_ID_OF
from psa_seg.datasets.transforms import LoadLabelIds, without_masks
from psa_seg.engine import demo, submit
from psa_seg.errors import UserError
from psa_seg.evaluation import submission
from tests.conftest import ROOT
from tests.mutating import CUTS, SPOTS, many, mutated, said
from tools import format_cityscapes

MAIN = str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py")
FIRST, SECOND = (f"mockton_{index:06d}_000019_x.png" for index in range(2))


def png(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@pytest.fixture
def images(streets):
    return streets / "leftImg8bit/test"


@pytest.fixture
def train_ids():
    return np.arange(128 * 256, dtype=np.uint8).reshape(128, 256) % 19


@pytest.fixture
def good(train_ids):
    """What a zip that has no fault holds."""
    return {name: png(LABEL_ID_OF[train_ids]) for name in (FIRST, f"deeper/{SECOND}")}


@pytest.fixture
def call(monkeypatch, tmp_path, streets):
    """A function: run the tool in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CITYSCAPES_ROOT", raising=False)
    monkeypatch.setattr(demo, "prepare", lambda root: streets)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
        format_cityscapes.main()

    return call


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


FAULTS = {
    "missing": (
        lambda good, ids: {FIRST: good[FIRST]},
        "1 test images without a file, mockton_000001_000019",
    ),
    "double": (
        lambda good, ids: good | {f"a/{FIRST}": good[FIRST]},
        f"1 files too many for one image, a/{FIRST}, beside {FIRST}",
    ),
    "foreign city": (
        lambda good, ids: good | {"berlin_000000_000019.png": good[FIRST]},
        "1 files that are no .* of a test image, berlin_000000_000019.png",
    ),
    "foreign name": (
        lambda good, ids: good | {"README.txt": b"hello"},
        "1 files that are no .* of a test image, README.txt",
    ),
    "a digit more": (
        lambda good, ids: {f"deeper/{SECOND}": good[FIRST], "mockton_000000_0000190.png": b""},
        "1 test images without a file.*\n.*, mockton_000000_0000190.png",
    ),
    "size": (
        lambda good, ids: good | {FIRST: png(LABEL_ID_OF[ids[:, :128]])},
        f"1 files not of the size of their image, {FIRST}: 128x128, not 256x128",
    ),
    "colour": (
        lambda good, ids: good | {FIRST: png(np.zeros((128, 256, 3), np.uint8))},
        f"1 files that are no single-channel 8-bit PNG, {FIRST}: PNG, mode RGB",
    ),
    "16 bits": (
        lambda good, ids: good | {FIRST: png(np.zeros((128, 256), np.uint16))},
        f"8-bit PNG, {FIRST}: PNG, mode I;16",
    ),
    "train ids": (
        lambda good, ids: dict.fromkeys(good, png(ids)),
        r"2 files with ids .* \[0, 1, 2, 3, .* first\n.*do +these are train ids",
    ),
    "255": (
        lambda good, ids: good | {FIRST: png(np.full((128, 256), 255, np.uint8))},
        rf"1 files with ids .* {FIRST}: \[255\]",
    ),
    "cut short": (
        lambda good, ids: good | {FIRST: good[FIRST][:-200]},
        f"1 files that cannot be read, {FIRST}",
    ),
    "no image": (lambda good, ids: good | {FIRST: b"PNG"}, "1 files that cannot be read"),
}


@pytest.mark.parametrize(("spoil", "message"), FAULTS.values(), ids=FAULTS)
def test_a_zip_with_a_fault_is_refused(good, train_ids, images, tmp_path, spoil, message):
    path = zipped(tmp_path / "bad.zip", spoil(good, train_ids).items())
    with pytest.raises(UserError, match=message):
        submit.check(path, images)


def test_one_name_twice_and_a_damaged_member(good, images, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped(tmp_path / "twice.zip", [*good.items(), (FIRST, good[FIRST])])
    with pytest.raises(UserError, match="1 files too many"):
        submit.check(path, images)
    data = bytearray(zipped(tmp_path / "damaged.zip", good.items()).read_bytes())
    data[100] ^= 255
    (tmp_path / "damaged.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"1 files that cannot be read, .*Bad CRC-32"):
        submit.check(tmp_path / "damaged.zip", images)


def test_no_zip_or_no_images_is_a_message(good, tmp_path, images):
    path = zipped(tmp_path / "good.zip", good.items())
    (tmp_path / "half.zip").write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match="not a zip, or cut short"):
        submit.check(tmp_path / "half.zip", images)
    with pytest.raises(UserError, match="zip not found"):
        submit.check(tmp_path / "typo.zip", images)
    with pytest.raises(UserError, match="no test images in"):
        submit.check(path, tmp_path)


def test_check_says_what_it_expects(call, good, images, tmp_path, capsys, monkeypatch):
    path = zipped(tmp_path / "good.zip", good.items())
    call("--check", path, "--images", images)
    message = capsys.readouterr().out
    assert "NOTE: 2 images of 256x128" in message
    assert "not Cityscapes' 1525 of 2048x1024" in message
    assert "good.zip: 2 predictions, all as they should be" in message
    with pytest.raises(UserError) as error:
        call("--check", path)
    assert "1525 files of 2048x1024 are expected" in capsys.readouterr().out
    assert "2 files for Cityscapes' 1525 test images\n" in str(error.value)
    assert f"{FIRST}: 256x128, not 2048x1024" in str(error.value)


@pytest.mark.parametrize("kind", ["train", "label"])
def test_a_folder_of_either_ids_makes_the_same_zip(call, train_ids, images, tmp_path, kind):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for name in (FIRST, SECOND):
        pixels = train_ids if kind == "train" else LABEL_ID_OF[train_ids]
        (folder / name).write_bytes(png(pixels))
    call(folder, "--images", images, "--out", "a/b.zip")
    with zipfile.ZipFile("a/b.zip") as archive:
        names = archive.namelist()
        assert names == [f"mockton_{index:06d}_000019_labelIds.png" for index in range(2)]
        for name in names:
            with Image.open(archive.open(name)) as image:
                assert image.mode == "L"
                assert np.array_equal(np.asarray(image), LABEL_ID_OF[train_ids])
    with pytest.raises(UserError, match=r"a/b.zip exists already, and is not overwritten"):
        call(folder, "--images", images, "--out", "a/b.zip")


def test_ids_in_doubt_are_asked_for(call, images, tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()

    def fill(*values):
        for name, value in zip((FIRST, SECOND), values, strict=True):
            (folder / name).write_bytes(png(np.full((128, 256), value, np.uint8)))

    arguments = (folder, "--images", images)
    fill(7, 11)
    with pytest.raises(UserError, match=r"train ids or label ids\? .*: ids \[7, 11\] are both"):
        call(*arguments)
    call(*arguments, "--ids", "train", "--out", "train.zip")
    with zipfile.ZipFile("train.zip") as archive:
        ids = [np.asarray(Image.open(archive.open(n))).max() for n in archive.namelist()]
    assert ids == [20, 24]
    for mixed in ((0, 33), (7, 255)):
        fill(*mixed)
        with pytest.raises(UserError, match="some ids are of neither kind"):
            call(*arguments)
    with pytest.raises(UserError, match=rf"none of the 19 .*{SECOND}: \[255\]"):
        call(*arguments, "--ids", "label")
    (folder / SECOND).unlink()
    with pytest.raises(UserError, match="1 test images without a file"):
        call(*arguments)
    assert not (tmp_path / "submission.zip").exists()


def test_interrupted_leaves_nothing(train_ids, images, tmp_path, monkeypatch):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for name in (FIRST, SECOND):
        (folder / name).write_bytes(png(train_ids))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(submission, "check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submit.from_folder(folder, tmp_path / "a.zip", images, None)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_checkpoint_becomes_a_zip(call, tiny, images, tmp_path, capsys):
    model = MODELS.build(tiny("psa_deeplabv3plus_cityscapes").model)
    save_checkpoint({"state_dict": model.state_dict()}, "run/a.pth")
    call(MAIN, "run/a.pth", "--demo", "--cfg-options", "test_dataloader.num_workers=0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "submission.zip"]
    submit.check(tmp_path / "submission.zip", images)
    assert "submission.zip, which has passed all checks" in capsys.readouterr().out


def test_images_without_masks_are_augmented(tiny, images):
    pipeline = without_masks(tiny("psa_deeplabv3plus_cityscapes").tta_pipeline)
    views = Compose(pipeline)({"img_path": str(next(images.rglob("*.png")))})
    assert len(views["data_samples"]) == 12
    assert "gt_sem_seg" not in views["data_samples"][0]


def test_steps_that_load_masks_are_known_by_any_name():
    """As classes, by their whole name, among alternatives."""
    loads, packs = dict(type="LoadImageFromFile"), dict(type="mmseg.PackSegInputs")
    masks = [dict(type=LoadLabelIds), dict(type="mmseg.datasets.transforms.LoadAnnotations")]
    views = dict(type="TestTimeAug", transforms=([dict(type="Resize")], (*masks,), [packs]))
    assert without_masks((loads, *masks, packs)) == [loads, packs]
    assert without_masks([views]) == [{**views, "transforms": [[dict(type="Resize")], [packs]]}]


def test_a_command_line_that_says_neither(call, capsys):
    for arguments in ([], ["a", "b", "c"], ["a", "--check", "b.zip"]):
        with pytest.raises(SystemExit):
            call(*arguments)
        assert "give CONFIG CHECKPOINT, or FOLDER, or --check ZIP" in capsys.readouterr().err


@many
@given(kind=st.sampled_from(["", "end", "a member"]), spots=SPOTS, cut=CUTS)
def test_a_zip_that_is_spoilt_at_random(tmp_path_factory, kind, spots, cut):
    images = {submission.frame_of(name): (8, 4) for name in (FIRST, SECOND)}
    members = {name: png(np.full((4, 8), 7, np.uint8)) for name in (FIRST, SECOND)}
    if kind == "a member":
        members[FIRST] = mutated(members[FIRST], spots, cut)
    path = zipped(tmp_path_factory.mktemp("zips") / "a.zip", members.items())
    if kind != "a member":
        path.write_bytes(mutated(path.read_bytes(), spots, cut, end=bool(kind)))
    message = said(lambda: submission.check(path, images))
    assert not message or (str(path) in message and 2 <= len(message.splitlines()) <= 9)


def test_what_would_fill_the_memory_or_leave_the_folder(good, images, tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FIRST, bytes(submission.LARGEST + 1))
        archive.writestr(SECOND, png(np.zeros((8193, 8192), np.uint8)))
    assert path.stat().st_size < submission.LARGEST / 100
    with pytest.raises(UserError, match=rf"2 files that cannot be read, {FIRST}: \d+ bytes, unp"):
        submit.check(path, images)
    path = zipped(tmp_path / "up.zip", [*good.items(), (f"../{FIRST}", good[FIRST])])
    with pytest.raises(UserError, match=rf"1 files that are no <city>.*, \.\./{FIRST}"):
        submit.check(path, images)
