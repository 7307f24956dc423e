"""A data.yaml is read as it says, or is one message; images and masks pair, or are one."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from mmseg.registry import DATASETS
from PIL import Image

from psa_seg.datasets.data_file import data_file, read_data_file
from psa_seg.datasets.folder import split_pairs
from psa_seg.datasets.pairs import find, is_held_out, pairs, walk
from psa_seg.errors import UserError
from tests.datasets.own import SPLITS, describe, draw, scene

LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadLabelIds"), dict(type="PackSegInputs")]
WHOLE = {
    "images": {"train": "images/train", "val": "images/val"},
    "masks": {"train": "masks/train", "val": "masks/val"},
    "names": ["a", "b", "c"],
}


def built(path, split="train", pipeline=LOAD):
    file = read_data_file(path)
    return DATASETS.build(
        dict(
            type="FolderDataset",
            content=file.content(),
            split=split,
            pipeline=pipeline,
            data_root=str(file.root),
            test_mode=split != "train",
        )
    )


def truth(dataset):
    return [item["data_samples"].gt_sem_seg.data[0].numpy() for item in dataset]


@pytest.fixture
def drawn(tmp_path):
    return draw(tmp_path / "own")


def expected(split):
    first = 0 if split == "train" else SPLITS["train"]
    names = [f"deep/{i}" if i % 2 else f"{i}" for i in range(SPLITS[split])]
    order = sorted(range(len(names)), key=lambda i: names[i])
    return [scene(first + i)[1] for i in order]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_images_and_masks_as_they_were_drawn(drawn, split):
    """`test` is `val` where it has no images of its own."""
    dataset = built(describe(drawn), split)
    assert dataset.metainfo["classes"] == ("a", "b", "c")
    assert len(dataset.metainfo["palette"]) == 3
    wanted = expected("val" if split == "test" else split)
    for found, mask in zip(truth(dataset), wanted, strict=True):
        assert np.array_equal(found, mask)


def numbered(mask, path):
    Image.fromarray(np.array([10, 200, 90], np.uint8)[mask]).save(path)


def coloured(mask, path):
    Image.fromarray(np.array([[0, 0, 0], [128, 64, 128], [9, 9, 9]], np.uint8)[mask]).save(path)


def test_a_place_may_be_a_variable_of_the_environment(tmp_path, monkeypatch):
    path = describe(draw(tmp_path / "own"), "path: ${OWN_ROOT}/own")
    path = path.rename(tmp_path / "elsewhere.yaml")
    monkeypatch.delenv("OWN_ROOT", raising=False)
    with pytest.raises(UserError, match=r"path has \$\{OWN_ROOT\}, a variable that is not set"):
        read_data_file(path)
    monkeypatch.setenv("OWN_ROOT", str(tmp_path))
    assert len(built(path)) == 8
    (tmp_path / "own").rename(tmp_path / "cost$5 $OWN")
    monkeypatch.setenv("OWN_ROOT", f"{tmp_path}/cost$5 $OWN")
    assert len(built(describe(tmp_path, "path: $OWN_ROOT"))) == 8


@pytest.mark.parametrize(
    ("save", "values"),
    [
        (numbered, "{10: c, 200: ignore, 90: a, 3: b}"),
        (coloured, "{'#000000': c, '#804080': ignore, '#090909': a, '#ffffff': b}"),
    ],
)
def test_values_are_named(tmp_path, save, values):
    dataset = built(describe(draw(tmp_path / "own", save), f"values: {values}"))
    for found, mask in zip(truth(dataset), expected("train"), strict=True):
        assert np.array_equal(found, np.array([2, 255, 0])[mask])
    if "#" in values:
        assert dataset.metainfo["palette"] == [[9, 9, 9], [255, 255, 255], [0, 0, 0]]


def test_what_is_ignored_has_numbers(drawn):
    dataset = built(describe(drawn, "ignore: [2, 255]", names="[a, b]"))
    assert np.array_equal(truth(dataset)[0], np.where(scene(0)[1] == 2, 255, scene(0)[1]))


def test_what_it_says_comes_through_a_config_and_back(drawn):
    file = read_data_file(describe(drawn, "scale: [32, 24]\ncrop: 16\nname: mine\nval: null"))
    again = data_file(
        {**{k: v for k, v in file.content().items() if v}, "values": dict(file.values())},
        file.path,
    )
    assert again == file
    assert (file.scale, file.crop, file.name) == ((32, 24), (16, 16), "mine")


WRONG = {
    "no mapping": ("just a text", "must map keys to values"),
    "no YAML": ("a: [", "cannot be read"),
    "a misspelt key": ({"image": {}}, "'image' is not one of"),
    "no images": ({"images": None}, "images.train must be a folder"),
    "no masks": ({"masks": None}, "masks.train must be a folder"),
    "no names": ({"names": None}, "names must list"),
    "one name": ({"names": ["a"]}, "there are 1 names"),
    "a name twice": ({"names": ["a", "a"]}, "names must differ"),
    "a name YAML takes for a truth value": ({"names": ["a", True]}, "names must be a text"),
    "ignore as a class": ({"names": ["a", "ignore"]}, "none be 'ignore'"),
    "names with a gap": ({"names": {0: "a", 2: "b"}}, "names must number 0 to 1"),
    "masks of another split": ({"masks": {"train": "m"}}, "masks has train, and images train, val"),
    "no validation": ({"images": {"train": "i"}, "masks": {"train": "m"}}, "no validation set"),
    "a share beside a set": ({"val": 0.2}, "the validation set is named besides"),
    "a share above one": ({"images": {"train": "i", "val": 2}}, "val must be a share"),
    "an unknown split": ({"images": {"trian": "i"}}, "images must name train"),
    "a value of no class": ({"values": {0: "a", 1: "x"}}, "'x', which is not among names"),
    "a class without a value": ({"values": {0: "a", 1: "b"}}, "no value of 'c'"),
    "no colour": ({"values": {"#80": "a", "#1": "b", "#2": "c"}}, "all colours in quotes"),
    "numbers and colours": ({"values": {0: "a", "#000000": "b", 2: "c"}}, "all numbers, or all"),
    "a list for a name": ({"values": {0: ["a"]}}, "values must be a text"),
    "ignore beside values": ({"values": {0: "a", 1: "b", 2: "c"}, "ignore": 3}, "beside values"),
    "a class that is ignored": ({"ignore": 1}, "ignore is 1, which is b"),
    "a palette too short": ({"palette": ["#000000"]}, "palette must list 3 colours"),
    "a palette of no colours": ({"palette": [1, 2, 3]}, "palette has 1"),
    "a size of one side": ({"scale": [480]}, "scale must be width and height"),
    "a size below one": ({"crop": [0, 3]}, "crop must be width and height"),
    "a list that is a number": ({"lists": 5, "images": {"train": "i"}}, "lists.train must be"),
    "a number beyond any mask": ({"ignore": 2**70}, "ignore must be a number"),
    "more pixels than can be": ({"scale": [10**6, 10**6]}, "scale is of more than"),
    "a key twice": ("names: [a, b]\nnames: [a, c]", "a key stands twice"),
    "colours without quotes": ("values: {#000000: a}", "colours stand in quotes"),
    "a share in quotes": (
        {"images": {"train": "i", "val": "20%"}, "masks": {"train": "m"}},
        "'20%'",
    ),
    "half a character": ('names: ["\\ud800", b]', "'\\ud800' is half a character"),
    "two stars": ({"images": {"train": "*/*", "val": "v"}}, "more than one star"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_message(tmp_path, mistake):
    change, words = WRONG[mistake]
    path = tmp_path / "data.yaml"
    text = change if isinstance(change, str) else yaml.safe_dump({**WHOLE, **change})
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_data_file(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


LAYOUTS = {
    "folders": (["i/x.jpg", "i/d/y.JPG", "m/x.png", "m/d/y.png"], "i", "m", ["d/y", "x"]),
    "a suffix": (
        ["i/x.jpg", "i/d/y.jpg", "m/x_mask.png", "m/d/y_mask.png"],
        "i",
        "m/*_mask.png",
        ["d/y", "x"],
    ),
    "one folder": (["x.jpg", "y.jpg", "x.png", "y.png"], "*.jpg", "*.png", ["x", "y"]),
    "one folder, one format": (["a/x.png", "a/x_m.png"], "a/*.png", "a/*_m.png", ["x"]),
    "a prefix": (["i/img_1.jpg", "m/lab_1.png"], "i/img_*.jpg", "m/lab_*.png", ["1"]),
    "Cityscapes'": (
        ["l/aa/a_leftImg8bit.png", "g/aa/a_gtFine_labelIds.png", "g/aa/a_gtFine.json"],
        "l/*_leftImg8bit.png",
        "g/*_gtFine_labelIds.png",
        ["aa/a"],
    ),
    "a folder each": (
        ["s/1/image.png", "s/1/mask.png", "s/2/image.png", "s/2/mask.png"],
        "s/*/image.png",
        "s/*/mask.png",
        ["1", "2"],
    ),
    "what is hidden": (
        ["i/x.jpg", "i/._x.jpg", "i/.d/z.jpg", "m/x.png", "m/._x.png"],
        "i",
        "m",
        ["x"],
    ),
    "what is no image": (["i/x.jpg", "i/Thumbs.db", "m/x.png", "m/read.me"], "i", "m", ["x"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    files, images, masks, names = LAYOUTS[layout]
    touch(tmp_path, *files)
    found = pairs(tmp_path, images, masks)
    assert [pair.name for pair in found] == names
    assert all(pair.image != pair.mask and pair.image.is_file() for pair in found)


def test_lists(tmp_path):
    touch(tmp_path, "i/x.jpg", "i/y.jpg", "m/x.png", "m/y.png")
    for name, text in {
        "images.txt": "i/y.jpg\n\ni/x.jpg\n",
        "masks.txt": "m/y.png\nm/x.png\n",
        "names.txt": "y\n",
        "short.txt": "m/y.png\n",
        "wrong.txt": "z\n",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "wide.txt").write_text("i/x.jpg", "utf-16")
    listed = pairs(tmp_path, "images.txt", "masks.txt")
    assert [(p.image.name, p.mask.name) for p in listed] == [("y.jpg", "y.png"), ("x.jpg", "x.png")]
    assert [p.mask.name for p in pairs(tmp_path, "images.txt", "m")] == ["y.png", "x.png"]
    assert [p.image.name for p in pairs(tmp_path, "i", "m", "names.txt")] == ["y.jpg"]
    for arguments, words in {
        ("images.txt", "short.txt"): "2 lines",
        ("i", "m", "wrong.txt"): "named in",
        ("i", "m", "none.txt"): "list cannot be read",
        ("i", "m", "wide.txt"): "save it as text in UTF-8",
    }.items():
        with pytest.raises(UserError, match=words):
            pairs(tmp_path, *arguments)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["i/x.jpg", "m/y.png"], "1 of 1 names are missing"),
        (["i/x.jpg", "m/x.png", "m/y.png"], "1 masks without an image"),
        (["i/x.jpg", "i/y.heic", "m/x.png", "m/y.png"], r"beside it  y\.heic; read are \.avif"),
        (["i/P1.JPG", "m/p1.png"], "beside it  p1"),
        (["i/x.jpg", "i/x.png", "m/x.png"], "two files are called 'x'"),
        (["m/x.png"], "no folder at"),
        (["i/x.png"], "an image is its own mask"),
        (["i/x.txt", "m/x.png"], "no file at"),
    ],
)
def test_what_does_not_pair_is_a_message(tmp_path, files, words):
    touch(tmp_path, *files)
    with pytest.raises(UserError, match=words) as error:
        pairs(tmp_path, "i", "i" if "own mask" in words else "m")
    assert str(tmp_path) in str(error.value)


def test_links_that_lead_back_and_folders_called_x_png(tmp_path):
    touch(tmp_path, "i/x.jpg", "m/x.png", "m/y.png/inside.txt")
    (tmp_path / "i/back").symlink_to(tmp_path / "i")
    assert [path.name for path in walk(tmp_path / "i")] == ["x.jpg"]
    assert [pair.name for pair in pairs(tmp_path, "i", "m")] == ["x"]
    (tmp_path / "m/self.png").symlink_to("self.png")
    with pytest.raises(UserError, match="1 masks without an image"):  # it is not passed over
        pairs(tmp_path, "i", "m")
    (tmp_path / "data").symlink_to(tmp_path / "i")
    assert [*find(tmp_path, "data", {".jpg"})] == ["x"]


def test_dead_links_are_told_and_nothing_breaks(tmp_path):
    touch(tmp_path, "i/y.jpg", "m/y.png")
    for link in ("i/x.jpg", "m/x.png"):
        (tmp_path / link).symlink_to("gone")
    assert [pair.name for pair in pairs(tmp_path, "i", "m")] == ["x", "y"]  # whose header tells
    for link in ("i/z.jpg", "m/z.png"):
        (tmp_path / link).symlink_to(Path(link).name)
    assert len(pairs(tmp_path, "i/*.jpg", "m/*.png")) == 3


def test_names_that_look_alike_are_alike(tmp_path):
    touch(tmp_path, "i/u\u0308ber.jpg", "m/\u00fcber.png")
    assert len(pairs(tmp_path, "i", "m")) == 1


def test_a_share_of_the_images_is_held_out_whichever_others_there_are(tmp_path):
    touch(tmp_path, *(f"i/{n}.jpg" for n in range(200)), *(f"m/{n}.png" for n in range(200)))
    read = {"images": {"train": "i", "val": 0.2}, "masks": {"train": "m"}, "names": ["a", "b"]}
    file = data_file(read, tmp_path / "data.yaml")
    train, val = ({p.name for p in split_pairs(file, split)} for split in ("train", "val"))
    assert train | val == {str(n) for n in range(200)}
    assert not train & val
    assert 25 <= len(val) <= 55
    touch(tmp_path, "i/new.jpg", "m/new.png")
    assert {p.name for p in split_pairs(file, "val")} - {"new"} == val
    assert is_held_out("new", 0.5) == is_held_out("new", 0.5)
