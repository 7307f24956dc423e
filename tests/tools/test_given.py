"""Paths on a command line that are not there, or stand in each other's place."""

import shlex
import sys

import pytest
from PIL import Image

from psa_seg import files, kinds
from psa_seg.engine import given
from psa_seg.errors import UserError
from tools import (
    convert_checkpoint,
    doctor,
    export,
    format_cityscapes,
    leaderboard,
    predict,
    share,
    sweep,
    test,
    train,
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with one of each kind."""
    monkeypatch.chdir(tmp_path)
    for name in ("c.py", "iter_4.pth", "z.zip", "film.mp4", "run/iter_2.pth", "shared/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "shared/model.safetensors").write_text("")
    (tmp_path / "e.yaml").write_text("config: c.py\nseeds: [0]\n")
    for folder in ("photos", "own", "own/images", "own/masks", "a b"):
        (tmp_path / folder).mkdir()
    for name in ("photos/a.JPG", "b.png", "a b/1.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name, "png")
    (tmp_path / "own/data.yaml").write_text("names: [a, b]\n")
    return tmp_path


MISTAKES = [
    (
        test,
        "iter_4.pth c.py",
        "CONFIG is a checkpoint, and not a config",
        "psa-seg test c.py iter_4.pth",
    ),
    (test, "gone.pth psa_unet_cityscapes", "", "psa-seg test psa_unet_cityscapes gone.pth"),
    (test, "c.py b.png", "CHECKPOINT is a picture", "psa-seg predict CHECKPOINT b.png --out DIR"),
    (
        predict,
        "photos iter_4.pth --out 'o o'",
        "CHECKPOINT is a folder of pictures",
        "psa-seg predict iter_4.pth photos --out 'o o'",
    ),
    (predict, "b.png film.mp4 shared --out o", "", "psa-seg predict shared b.png film.mp4 --out o"),
    (predict, "c.py iter_4.pth photos --out o", "CHECKPOINT is a config", "--config c.py"),
    (predict, "iter_4.pth c.py --out o", "PICTURES is a config", "--config c.py"),
    (export, "c.py iter_4.onnx", "CHECKPOINT is a config", "OUT.onnx --config c.py"),
    (
        share,
        "photos out",
        "a folder of pictures, and not a checkpoint",
        "psa-seg predict CHECKPOINT",
    ),
    (train, "iter_4.pth", "CONFIG is a checkpoint", "--cfg-options load_from=iter_4.pth"),
    (train, "own", "is a folder of images and masks", "psa-seg train CONFIG --data own"),
    (train, "run", "is a work directory", "psa-seg train CONFIG --work-dir run --resume"),
    (doctor, "own", "is a folder of images and masks", "psa-seg doctor --data own"),
    (doctor, "a\\ b", "is a folder of pictures", "psa-seg doctor --data 'a b'"),
    (doctor, "own/data.yaml", "is a data.yaml", "psa-seg doctor --data own/data.yaml"),
    (doctor, "shared", "is a checkpoint", "psa-seg doctor --checkpoint shared"),
    (leaderboard, "e.yaml --out o", "RECORDS is an experiment", "psa-seg sweep e.yaml"),
    (sweep, "c.py", "EXPERIMENT is a config, and not an experiment", "psa-seg train c.py"),
    (format_cityscapes, "iter_4.pth c.py", "", "psa-seg format-cityscapes c.py iter_4.pth"),
    (format_cityscapes, "z.zip", "FOLDER is a zip", "psa-seg format-cityscapes --check z.zip"),
    (
        format_cityscapes,
        "iter_4.pth",
        "is a checkpoint",
        "psa-seg format-cityscapes CONFIG CHECKPOINT",
    ),
]


@pytest.mark.parametrize(("tool", "arguments", "said", "do"), MISTAKES)
def test_a_path_in_anothers_place_is_told_as_what_it_is(
    here, monkeypatch, tool, arguments, said, do
):
    monkeypatch.setattr(sys, "argv", ["tool", *shlex.split(arguments)])
    with pytest.raises(UserError) as error:
        tool.main()
    message = str(error.value)
    assert said in message
    assert f"{here}/" in message, "where it lies"
    assert do in message.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            "c.py --resume run/iter_2.pth",
            ["--work-dir run --resume", "--cfg-options load_from=run/iter_2.pth"],
        ),
        (
            "--auto-resume runs/iter_2.pth c.py",
            ["which is not there", "meant      run,", "leave it"],
        ),
        ("c.py --resume=run", ["--work-dir run --resume"]),
        ("c.py --resume 'a b'", ["--work-dir 'a b' --resume"]),
        ("c.py --resume-from iter_4.pth", ["--work-dir . --resume"]),
    ],
)
def test_resume_takes_no_file(here, monkeypatch, arguments, lines):
    monkeypatch.setattr(sys, "argv", ["train.py", *shlex.split(arguments)])
    with pytest.raises(UserError, match="takes no file: it goes on with the last run") as error:
        train.main()
    assert all(line in str(error.value) for line in lines)


@pytest.mark.parametrize(
    "line",
    ["c.py --resume", "--resume c.py", "--auto-resume psa_unet_cityscapes", "--resume --amp"],
)
def test_resume_by_itself_passes(here, line):
    """Whatever stands here: a folder may be called like a config."""
    (here / "psa_unet_cityscapes").mkdir()
    given.refuse_resumed(line.split())


def test_a_config_by_name_passes_where_its_run_lies(here):
    (here / "psa_unet_cityscapes").mkdir()
    (here / "psa_unet_cityscapes/iter_2.pth").touch()
    given.check("train", [given.Place("CONFIG", "psa_unet_cityscapes", [kinds.CONFIG])])
    given.check("leaderboard", [given.Place("RECORDS", "psa_unet_cityscapes", given.OF_RECORDS)])


def test_a_name_of_nobodys_home_is_a_path(here):
    (here / "~tmp.pth").touch()
    with pytest.raises(UserError, match=r"CONFIG is a checkpoint.*/~tmp.pth"):
        given.check("train", [given.Place("CONFIG", "~tmp.pth", [kinds.CONFIG])])


def test_a_kind_comes_first(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["convert_checkpoint.py", "iter_4.pth", "port", "out.pth"])
    with pytest.raises(SystemExit) as end:
        convert_checkpoint.main()
    assert end.value.code == 2
    assert "iter_4.pth is a file, and goes after: KIND iter_4.pth" in capsys.readouterr().err


def test_what_is_in_its_place_or_not_known_passes(here):
    for path in ("iter_4.pth", "shared", "run", "gone.pth", "shared/config.json"):
        given.check("predict", [given.Place("CHECKPOINT", path, given.OF_CHECKPOINTS)])


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("itre_4.pth", "iter_4.pth, in {}"),
        ("RUN/iter_2.pth", "run, in {}"),
        ("run/iter_22.pth", "iter_2.pth, in {}/run"),
        ("photo/x/a.jpg", "photos, in {}"),
        ("nothing_like_it", None),
        ("c.py/x", None),
        ("b.png", None),
    ],
)
def test_a_path_that_leads_nowhere_is_told_whole_with_names_near_it(here, path, meant):
    message = str(files.missing("checkpoint", path))
    first, *rest = message.splitlines()
    assert first == f"checkpoint not found: {here / path}"
    expected = [f"  meant      {meant.format(here)}?"] if meant else []
    assert rest == [*expected, "  do         correct the path"]
