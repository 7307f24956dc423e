"""No score of a mistake: what masks hold, and what is scored on."""

import numpy as np
import pytest
from PIL import Image

from psa_seg.engine.doctor import check_data, look, remarks
from psa_seg.engine.doctor.classes import heads
from psa_seg.errors import UserError
from psa_seg.records import read
from tests.conftest import train
from tests.datasets.own import describe, draw
from tests.engine.test_own_data import LOADERS, MAIN, small
from tools import test as test_tool
from tools import train as train_tool


def of_values(*values):
    table = np.array(values, np.uint8)
    return lambda mask, path: Image.fromarray(table[mask]).save(path)


def colours(mask, path):
    Image.fromarray(np.dstack([mask, mask, mask * 80])).save(path)


def grey_as_rgb(mask, path):
    Image.fromarray(np.dstack([mask] * 3)).save(path)


def smoothed(mask, path):
    Image.fromarray(mask * 60).save(path, "JPEG", quality=60)


MISTAKES = {
    "0 and 255": (
        of_values(0, 255, 0),
        "[a, b]",
        r"1 of 2 .* never occur.*: b\n  found +in the masks: 0, 255",
    ),
    "0 and 255 of a folder": (of_values(0, 255, 0), None, "do not hold class numbers"),
    "all ignored": (of_values(255, 255, 255), "[a, b]", "no pixel of a class in train_dataloader"),
    "1 to 3": (of_values(1, 2, 3), "[a, b, c]", "mask holds what is no class: 3\n"),
    "colours": (colours, "[a, b, c]", "channels .RGB. that differ"),
    "a JPEG": (smoothed, "[a, b, c]", "compressed with loss"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_commonest_mistakes_are_no_score(tmp_path, mistake):
    save, names, words = MISTAKES[mistake]
    root = draw(tmp_path / "own", save)
    with pytest.raises(UserError, match=words) as error:
        train(small(describe(root, names=names) if names else root, tmp_path / "work"))
    assert str(root) in str(error.value) or "never occur" in words or "no pixel" in words
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("classes", ["a,b", "a,b,c,d"])
def test_a_demo_is_refused_as_a_training_is(call, tmp_path, classes):
    """A class that 255 hides, and one that no mask has."""
    draw(tmp_path / "own", of_values(0, 255, 0) if classes == "a,b" else None)
    with pytest.raises(UserError, match=r"1 of . classes never occur in the training masks"):
        call(train_tool, MAIN, "--demo", "--data", "own", "--classes", classes)
    assert not (tmp_path / "work_dirs").exists()


def masks_of(root, split, save):
    """Draw the masks of one split anew."""
    for path in (root / "masks" / split).rglob("*.png"):
        save(np.asarray(Image.open(path)), path)


@pytest.mark.parametrize(
    ("names", "values", "why"),
    [
        ("[a, b, c]", (0, 1, 255), "255 is in no training mask"),
        ("[a, b, c]", (1, 255, 1), "whatever says b of every pixel would score 100"),
        ("[a, b, c]", (2, 2, 2), "whatever says c of every pixel would score 100"),
    ],
)
def test_what_is_scored_is_no_score_of_a_mistake(tmp_path, drawn, capsys, names, values, why):
    masks_of(drawn, "val", of_values(*values))
    config = small(describe(drawn, names=names), tmp_path / "work")
    (finding,) = check_data(config, *LOADERS)
    assert why in finding
    assert "--allow-absent" in finding
    masks_of(drawn, "train", of_values(0, 1, 2))
    config.allow_absent = True
    assert not check_data(config, *LOADERS)


def test_what_is_said_to_be_ignored_hides_no_class(tmp_path, drawn):
    masks_of(drawn, "val", of_values(0, 1, 255))
    for text in ("values: {0: a, 1: b, 2: c, 255: ignore}", "ignore: 255"):
        config = small(describe(drawn, text), tmp_path / "work")
        found, wrong = look(config, *LOADERS)
        assert not wrong
        (remark,) = (r for r in remarks(config, found) if "never occur" in r)
        assert "1 of 3 classes never occur in val_dataloader: c\n" in remark
        assert "255 is ignored" not in remark


def test_one_class_beside_one_that_is_ignored_is_no_score(tmp_path, drawn):
    config = small(describe(drawn, "values: {0: a, 1: b, 2: b}", "[a, b]"), tmp_path / "work")
    for _, head in heads(config.model):
        head.ignore_index = 0
    for finding in check_data(config, *LOADERS):
        assert "one class alone, and what is ignored, occurs in " in finding
        assert "whatever says b of every pixel would score 100" in finding
    assert len(check_data(config, *LOADERS)) == 2


def test_colours_are_told_as_colours(tmp_path):
    hues = np.array([[0, 0, 0], [0, 0, 255], [0, 0, 255]], np.uint8)
    root = draw(tmp_path / "own", lambda mask, path: Image.fromarray(hues[mask]).save(path))
    text = 'values: {"#000000": a, "#0000ff": b, "#ffffff": c}'
    finding, *_ = check_data(small(describe(root, text), tmp_path / "work"), *LOADERS)
    assert "found      in the masks: #000000, #0000ff\n" in finding
    assert "255 is ignored" not in finding


def test_a_test_of_one_class_alone_is_no_score(call, drawn):
    path = str(describe(drawn))
    call(train_tool, MAIN, "--demo", "--data", path, "--work-dir", "run")
    masks_of(drawn, "val", of_values(0, 255, 255))
    with pytest.raises(UserError, match="whatever says a of every pixel") as error:
        call(test_tool, MAIN, "run/iter_2.pth", "--demo", "--data", path)
    assert "255 is ignored; if it is a class" in str(error.value)
    with pytest.raises(UserError, match="--demo is among them"):
        call(test_tool, MAIN, "run/iter_2.pth", "--data", path, "--allow-absent")
    call(test_tool, MAIN, "run/iter_2.pth", "--demo", "--data", path, "--allow-absent")


def test_grey_saved_as_rgb_is_grey(tmp_path):
    root = draw(tmp_path / "own", grey_as_rgb)
    train(small(describe(root), tmp_path / "work"))
    assert read(tmp_path / "work/record.json").is_complete


def test_classes_may_be_absent_where_that_is_said(tmp_path, drawn, capsys):
    config = small(describe(drawn, names="[a, b, c, d]"), tmp_path / "work")
    config.allow_absent = True
    train(config)
    assert "WARNING: 1 of 4 classes never occur in the training masks: d" in capsys.readouterr().out
