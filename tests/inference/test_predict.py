"""tools/predict.py: what lies on the disk when it has ended, and what it has said."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import psa_seg
from psa_seg.datasets.data_file import data_file
from psa_seg.errors import UserError
from psa_seg.inference import outputs as module
from psa_seg.inference.outputs import Outputs
from psa_seg.inference.predict import Order, predict
from psa_seg.inference.result import Segmentation
from tests.conftest import ROOT
from tests.datasets import own


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def photos(pictures, tmp_path):
    """A picture of one name in each of three folders."""
    for i, name in enumerate(("a", "b", "b/c")):
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures[i], tmp_path / "photos" / name / "frame_0001.png")
    return tmp_path / "photos"


KINDS = ("overlay", "labels", "colours", "confidence", "scores", "gates")


def test_every_kind_under_the_pictures_own_path(segmenter, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(Order(str(checkpoint), [str(photos)], out, KINDS)) == 0
    for path in photos.rglob("*.png"):
        name = path.relative_to(photos).with_suffix("")
        found = segmenter(path, scores=True, confidence=True)
        np.testing.assert_array_equal(read(out / "labels" / f"{name}.png"), found.labels)
        colours = np.asarray(Image.open(out / "colours" / f"{name}.png"))
        np.testing.assert_array_equal(colours, np.array(segmenter.palette)[found.labels])
        overlay = np.asarray(Image.open(out / "overlay" / f"{name}.png"))
        np.testing.assert_array_equal(overlay, found.overlay())
        deep = read(out / "confidence" / f"{name}.png")
        assert deep.dtype == np.uint16
        np.testing.assert_allclose(deep / 65535, found.confidence, atol=1e-5)
        with np.load(out / "scores" / f"{name}.npz") as scores:
            np.testing.assert_array_equal(scores["scores"], found.scores)
            assert tuple(scores["names"]) == segmenter.names
        assert min(read(out / "gates" / f"{name}.png").shape[:2]) > 100
    assert sorted(p.name for p in out.iterdir()) == sorted([*KINDS, "shares.csv"])
    assert not [*out.rglob(".*")], "nothing half written"
    rows = [*csv.reader((out / "shares.csv").open())]
    assert rows[0] == ["picture", *segmenter.names]
    assert [Path(row[0]).parent.name for row in rows[1:-1]] == ["a", "c", "b"]
    for row in rows[1:]:
        assert sum(map(float, row[1:])) == pytest.approx(100, abs=0.01)
    whole = np.array([row[1:] for row in rows[1:]], float)
    np.testing.assert_allclose(whole[-1], whole[:-1].mean(0), atol=1e-3)
    assert "3 done" in capsys.readouterr().out


def test_a_broken_picture_is_one_line_and_the_rest_goes_on(checkpoint, photos, tmp_path, capsys):
    whole = (photos / "a/frame_0001.png").read_bytes()
    (photos / "b/cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "b/text.jpg").write_text("no picture")
    (photos / "b/film.mp4").write_text("no film")
    (tmp_path / "list.txt").write_text("photos/gone.png\n")
    given = [str(photos), str(tmp_path / "list.txt")]
    out = tmp_path / "out"
    assert predict(Order(str(checkpoint), given, out, ("labels",), batch=2)) == 4
    lines = capsys.readouterr().err.splitlines()
    for name in ("cut.png", "text.jpg", "film.mp4", "gone.png"):
        assert len([line for line in lines if name in line]) == 1, name
    assert lines[-1] == "4 of 7 could not be read"
    assert len([*(out / "labels").rglob("*.png")]) == 3


@pytest.mark.parametrize("name", [b"b\xff.png", b"n" * 251 + b".png"])
def test_names_that_a_disk_allows(checkpoint, photos, tmp_path, name):
    """Not of UTF-8; as long as they may be."""
    given = os.fsdecode(name)
    shutil.copy(photos / "a/frame_0001.png", photos / given)
    assert predict(Order(str(checkpoint), [str(photos)], tmp_path / "out")) == 0
    assert (tmp_path / "out/overlay" / given).is_file()
    assert b"/" + name + b"," in (tmp_path / "out/shares.csv").read_bytes()


def write_film(path, codec="MJPG"):
    """Five frames, 12.5 a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12.5, own.SIZE)
    for i in range(5):
        writer.write(own.scene(i)[0])
    writer.release()


def frames(path):
    capture = cv2.VideoCapture(str(path))
    found = []
    while (read := capture.read())[0]:
        found.append(read[1])
    return np.array(found), capture.get(cv2.CAP_PROP_FPS)


def test_a_video_comes_out_as_one_of_the_same_rate(checkpoint, tmp_path):
    film = tmp_path / "drive.avi"
    write_film(film)
    out = tmp_path / "out"
    assert predict(Order(str(checkpoint), [str(film)], out, ("overlay", "labels", "colours"))) == 0
    width, height = own.SIZE
    for kind in ("overlay", "colours"):
        found, rate = frames(out / kind / "drive.mp4")
        assert rate == pytest.approx(12.5)
        assert found.shape[:3:2] == (5, width)
        assert found.shape[1] > height if kind == "overlay" else found.shape[1] == height
    labels = sorted((out / "labels/drive").iterdir())
    assert [path.stem for path in labels] == [f"{i:06d}" for i in range(5)]
    assert read(labels[0]).shape == (height, width)
    assert [p.name for p in (out / "overlay").iterdir()] == ["drive.mp4"]


@pytest.mark.parametrize("rate", [100.123, 59.94, 0.1])
def test_a_rate_that_the_codec_does_not_take_is_rounded(segmenter, pictures, tmp_path, rate):
    found = segmenter(pictures[0])
    with Outputs(tmp_path, ["colours"], None, 0.5).film(Path("film"), rate) as film:
        for _ in range(3):
            film.write(found)
    capture = cv2.VideoCapture(str(tmp_path / "colours/film.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=1e-3)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_frames_of_odd_sides_lose_no_pixel(tmp_path, segmenter):
    found = Segmentation(
        np.zeros((47, 63), np.uint8),
        segmenter.names,
        segmenter.palette,
        np.zeros((47, 63, 3), np.uint8),
    )
    outputs = Outputs(tmp_path / "out", ("colours",), None, 0.5)
    with outputs.film(Path("odd"), 25) as film:
        film.write(found)
    pictures, _ = frames(tmp_path / "out/colours/odd.mp4")
    assert pictures.shape[1:3] == (48, 64)


def test_a_video_that_ends_early_is_told(checkpoint, tmp_path, capsys):
    film = tmp_path / "drive.avi"
    write_film(film)
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 6 // 10])
    assert predict(Order(str(checkpoint), [str(film)], tmp_path / "out")) == 1
    told = capsys.readouterr()
    assert "of 5 frames" in told.err
    assert "1 done" in told.out


def test_a_video_that_a_disk_does_not_take_is_not_left(segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_frames", lambda path: 0)
    found = segmenter(np.zeros((48, 64, 3), np.uint8))
    with (
        pytest.raises(OSError, match="No space left"),
        Outputs(tmp_path / "out", ("colours",), None, 0.5).film(Path("x"), 25) as film,
    ):
        film.write(found)
    assert not [*(tmp_path / "out").rglob("*.mp4")]


def test_what_was_done_before_ctrl_c_is_in_the_table(checkpoint, photos, tmp_path, monkeypatch):
    written = []

    def stops(self, name, found, but=()):
        if written:
            raise KeyboardInterrupt
        written.append(name)

    monkeypatch.setattr(Outputs, "write", stops)
    with pytest.raises(KeyboardInterrupt):
        predict(Order(str(checkpoint), [str(photos)], tmp_path / "out"))
    assert len((tmp_path / "out/shares.csv").read_text().splitlines()) == 3


def test_a_folder_that_holds_something_stays_as_it_is(checkpoint, photos, tmp_path):
    mine = tmp_path / "out/labels/a/frame_0001.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"out exists already, and is not touched"):
        predict(Order(str(checkpoint), [str(photos)], tmp_path / "out", ("labels",)))
    assert mine.read_text() == "mine"


VALUES = {
    "{0: a, 255: b, 7: c, 128: ignore}": [0, 255, 7],
    "{1000: a, 2: b, 3: b, 40000: c}": [1000, 2, 40000],
    '{"#804080": a, "#00ff00": b, "#0000ff": c}': [[128, 64, 128], [0, 255, 0], [0, 0, 255]],
}


@pytest.mark.parametrize("values", VALUES)
def test_labels_are_given_back_in_the_masks_own_values(tmp_path, values):
    import yaml

    given = dict(images="i", masks="m", names=["a", "b", "c"], val=0.5)
    data = data_file({**given, "values": yaml.safe_load(values)}, tmp_path / "data.yaml")
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    found = Segmentation(labels, data.names, data.palette, np.zeros((3, 4, 3), np.uint8))
    Outputs(tmp_path / "out", ("labels",), data, 0.5).write(Path("x"), found)
    expected = np.array(VALUES[values])[labels]
    written = np.asarray(Image.open(tmp_path / "out/labels/x.png"))
    np.testing.assert_array_equal(written, expected)


def test_values_that_no_png_holds_are_told(tmp_path):
    given = dict(images="i", masks="m", names=["a", "b"], val=0.5, values={0: "a", 70000: "b"})
    data = data_file(given, tmp_path / "data.yaml")
    with pytest.raises(UserError, match="values of 0 to 65535, and not 0 to 70000"):
        Outputs(tmp_path / "out", ("labels",), data, 0.5)
    Outputs(tmp_path / "out", ("colours",), data, 0.5)


def run(*arguments, cwd):
    command = [sys.executable, str(ROOT / "tools/predict.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_the_tool_in_a_process_of_its_own(checkpoint, photos, tmp_path):
    """A checkpoint of a folder's own, somewhere else than the package, without a config."""
    shutil.copy(checkpoint, tmp_path / "mine.pth")
    (photos / "text.jpg").write_text("no picture")
    done = run("mine.pth", "photos", "--out", "out", "--save", "labels", cwd=tmp_path)
    assert done.returncode == 1
    assert "3 done" in done.stdout
    assert done.stderr.splitlines()[0].startswith("skipped: cut short, or no image: photos/text")
    assert "Traceback" not in done.stderr
    assert "OneDL" not in done.stdout + done.stderr


@pytest.mark.parametrize("given", [("no.pth", "photos"), ("mine.pth", "nothing")])
def test_nothing_is_made_where_nothing_can_be_done(checkpoint, photos, tmp_path, given):
    shutil.copy(checkpoint, tmp_path / "mine.pth")
    name, wanted = given
    with pytest.raises(UserError, match="not found"):
        predict(Order(str(tmp_path / name), [str(tmp_path / wanted)], tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_import_of_the_package_alone_brings_load():
    assert psa_seg.load.__module__ == "psa_seg.inference"
