"""What the words of a command line mean, and where the result of each picture goes."""

import pytest

from psa_seg.errors import UserError
from psa_seg.inference.inputs import find


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Three folders with a frame of the same name in each, and more."""
    monkeypatch.chdir(tmp_path)
    for name in (
        *("trip/a/frame_0001.jpg", "trip/b/frame_0001.jpg", "trip/b/c/frame_0001.JPG"),
        *("trip/notes.txt", "trip/.hidden.jpg", "trip/film.mp4", "other/x.png", "other/x.jpg"),
        *("other/x.jpg.png", "alone/1.png", "alone/2.png"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(*given):
    found = find(given)
    assert len({one.name for one in found}) == len(found), "no two results in one file"
    return [one.name.as_posix() for one in found]


def test_a_folder_is_all_that_is_in_it(disk):
    assert names("trip") == ["a/frame_0001", "b/c/frame_0001", "b/frame_0001", "film"]
    assert [one.is_video for one in find(["trip"])] == [False, False, False, True]
    assert names("trip/") == names("trip")


def test_masks_beside_images_are_no_pictures(disk, capsys):
    for name in ("own/images/val/a.jpg", "own/masks/val/a.png", "own/more/b.jpg"):
        (disk / name).parent.mkdir(parents=True)
        (disk / name).touch()
    assert names("own") == ["images/val/a", "more/b"]
    assert capsys.readouterr().err == "left out: own/masks, beside images\n"
    assert names("own/masks") == ["val/a"]


def test_files_have_their_own_name_or_the_path_that_tells_them_apart(disk):
    assert names("trip/a/frame_0001.jpg") == ["frame_0001"]
    assert names("trip/a/frame_0001.jpg", "trip/b/frame_0001.jpg") == [
        "a/frame_0001",
        "b/frame_0001",
    ]
    assert names("trip", "alone", "trip/a/frame_0001.jpg")[-2:] == ["1", "2"], "each once"
    assert names("trip/a", "trip/b") == ["a/frame_0001", "b/c/frame_0001", "b/frame_0001"]


def test_patterns(disk):
    assert names("trip/*/frame_0001.jpg") == ["a/frame_0001", "b/frame_0001"]
    assert names("trip/**/*.[jJ]*") == ["a/frame_0001", "b/c/frame_0001", "b/frame_0001"]
    assert names("al*") == ["alone/1", "alone/2"]


def test_names_that_differ_in_their_ending_alone_keep_it(disk):
    assert sorted(names("other")) == ["x.jpg", "x.jpg.png", "x.png"]


def test_lists_are_relative_to_themselves_or_to_here(disk):
    (disk / "other/list.txt").write_text("x.png\n\nalone/1.png\n")
    assert names("other/list.txt") == ["x", "1"]
    (disk / "far.lst").write_text(f"{disk}/alone/2.png\ngone.png\n")
    assert names("far.lst") == ["2", "gone"], "what is missing is told when it is its turn"


@pytest.mark.parametrize("given", ["no/such", "nothing/*.png", "trip/notes"])
def test_what_is_not_there_is_told(disk, given):
    with pytest.raises(UserError, match=r"not found|no picture in"):
        find(["alone", given])


def test_a_folder_without_pictures_is_told(disk):
    (disk / "empty/deep").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no picture in empty"):
        find(["empty"])


def test_results_that_lie_among_pictures_are_no_pictures(disk, capsys):
    for name in ("out/overlay/1.png", "out/shares.csv"):
        (disk / "alone" / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / "alone" / name).touch()
    assert names("alone") == ["1", "2", "out/overlay/1"], "a table of another's says nothing"
    assert not capsys.readouterr().err
    (disk / "alone/out/shares.csv").write_text("picture,sky\n")
    for given in ("alone", "alone/**/*.png", f"{disk}/alone/**/*.png", "a*/**"):
        assert [name.rpartition("alone/")[2] for name in names(given)] == ["1", "2"], given
        assert "alone/out, results of an earlier prediction" in capsys.readouterr().err
    assert names("alone/out/overlay") == ["1"], "unless they are meant"
    assert names("alone/out/overlay/*.png") == ["1"]


def test_no_result_leads_out_of_its_folder(disk):
    (disk / "other/deep").mkdir()
    (disk / "other/deep/list.txt").write_text("../../alone/1.png\n../x.png\n")
    assert names("other/deep/list.txt") == ["1", "x"]
    (disk / "trip/1.png").touch()
    (disk / "other/deep/list.txt").write_text("../../alone/1.png\n../../trip/1.png\n")
    assert names("other/deep/list.txt") == ["alone/1", "trip/1"]


def test_frames_of_a_video_lie_apart_from_pictures(disk):
    (disk / "trip/film").mkdir()
    (disk / "trip/film/000000.png").touch()
    assert {"film.mp4", "film/000000"} <= {*names("trip")}
