"""`--data`: own images, masks and classes through every tool, and no score of a mistake."""

import copy
import json

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from psa_seg.datasets.replay import NumberedDataset
from psa_seg.engine import demo
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_classes, check_data, check_sizes
from psa_seg.engine.doctor.classes import heads
from psa_seg.engine.own_data import find_data, use_data
from psa_seg.engine.runner import PairedRunner
from psa_seg.engine.summary import summarize
from psa_seg.errors import UserError
from psa_seg.records import read
from tests.conftest import ROOT, train
from tests.datasets.own import SPLITS, describe, draw, scene
from tests.engine.conftest import QUICK
from tools import test as test_tool
from tools import train as train_tool

MAIN = str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py")
LOADERS = ("train_dataloader", "val_dataloader")


def small(path, work_dir, name="psa_deeplabv3plus_cityscapes", classes=None):
    """A config's demo on own data, as of `tests.conftest.small`."""
    config = load_config(str(ROOT / "configs" / f"{name}.py"))
    demo.shrink_own(config, find_data(str(path), classes))
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.num_workers = 0
    config.train_dataloader.batch_size = 2
    config.train_cfg.update(max_iters=2, val_interval=2)
    config.custom_hooks[0].samples = 1
    config.work_dir = config.visualizer.name = str(work_dir)
    return config


def test_trains_resumes_elsewhere_and_tests(call, drawn, tmp_path, capsys):
    path = describe(drawn, "name: mine")
    call(train_tool, MAIN, "--demo", "--data", str(path))
    assert "no figures of a full training" in capsys.readouterr().out
    moved = drawn.rename(tmp_path / "moved") / "data.yaml"
    longer = {"train_cfg.max_iters": 4, "param_scheduler.0.end": 2}
    call(train_tool, MAIN, "--demo", "--data", str(moved), "--resume", **longer)
    work_dir = tmp_path / "work_dirs/psa_deeplabv3plus_cityscapes_mine_demo"
    record = read(work_dir / "record.json")
    assert [v.iteration for v in record.validations] == [2, 4]
    assert (record.data, record.classes) == ("mine, demo", ("a", "b", "c"))
    assert record.data_file["names"] == ["a", "b", "c"]
    assert str(tmp_path) not in (work_dir / "record.json").read_text()
    meta = torch.load(work_dir / "iter_4.pth", weights_only=False)["meta"]["dataset_meta"]
    assert (meta["classes"], len(meta["palette"])) == (("a", "b", "c"), 3)
    call(test_tool, MAIN, str(work_dir / "iter_4.pth"), "--demo", "--data", str(moved))
    assert f"mIoU: {record.last.scores()['mIoU']:.4f}" in capsys.readouterr().out


def test_other_values_or_names_are_another_run(call, drawn):
    path = describe(drawn)
    call(train_tool, MAIN, "--demo", "--data", str(path), "--work-dir", "run")
    for change, names, words in (
        ("ignore: 254", "[a, b, c]", "content.values"),
        ("name: other", "[a, b, d]", "content.names"),
    ):
        other = describe(drawn, change, names)
        with pytest.raises(UserError, match=words):
            call(train_tool, MAIN, "--demo", "--data", str(other), "--work-dir", "run", "--resume")


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.py")), ids=lambda path: path.stem)
def test_every_config_takes_own_data(drawn, path):
    config = load_config(str(path))
    use_data(config, find_data(str(describe(drawn))))
    assert {head.num_classes for _, head in heads(config.model)} == {3}
    assert config.model.data_preprocessor.size == (48, 64)
    assert check_classes(config, *LOADERS, "test_dataloader") == []
    assert check_sizes(config) == []
    assert check_data(config, *LOADERS) == []
    (resize, *_) = (s for s in config.train_dataloader.dataset.pipeline if "ratio_range" in s)
    assert resize.type == "RandomOwnResize"
    assert "Resize" not in [step.type for step in config.val_dataloader.dataset.pipeline]


def test_scale_and_crop_of_the_file_go_before_the_configs(drawn):
    config = load_config(MAIN)
    use_data(config, find_data(str(describe(drawn, "scale: [32, 24]\ncrop: [20, 16]"))))
    train, val = (config[loader].dataset.pipeline for loader in LOADERS)
    assert (train[2].type, train[2].scale, train[3].crop_size) == (
        "RandomResize",
        (32, 24),
        (16, 20),
    )
    assert val[1] == ConfigDict(type="Resize", scale=(32, 24), keep_ratio=True)
    assert config.model.data_preprocessor.size == (16, 20)
    scales = [step.scale for step in config.tta_pipeline[1].transforms[0]]
    assert scales[:3] == [(16, 12), (24, 18), (32, 24)]


def test_camvid_through_its_own_config_and_through_a_file_is_the_same(tmp_path):
    """Images and masks of any number of the run, bit for bit."""
    root = draw(tmp_path / "camvid", classes=12)
    for split in SPLITS:
        (root / "images" / split).rename(root / split)
        (root / "masks" / split).rename(root / f"{split}annot")
        for path in (root / split).rglob("*.jpg"):
            Image.open(path).save(path.with_suffix(".png"))
            path.unlink()
    own = load_config(str(ROOT / "configs/psa_deeplabv3plus_camvid.py"))
    for loader in LOADERS:
        own[loader].dataset.data_root = str(root)
    path = tmp_path / "camvid.yaml"
    names = list(DATASETS.get("CamVidDataset").METAINFO["classes"])
    path.write_text(
        json.dumps(
            {
                "path": "camvid",
                "images": {"train": "train", "val": "val"},
                "ignore": 11,
                "names": names,
                "masks": {"train": "trainannot", "val": "valannot"},
                "scale": [480, 360],
            }
        )
    )
    other = load_config(MAIN)
    use_data(other, find_data(str(path)))
    assert own.model.data_preprocessor.size == (256, 256)
    other.train_dataloader.dataset.pipeline[3].crop_size = (256, 256)
    for loader in LOADERS:
        sets = [NumberedDataset(DATASETS.build(c[loader].dataset), 0) for c in (own, other)]
        seen: set[int] = set()
        for number in range(0, 100, 9):
            items = [one[number] for one in sets]
            maps = [item["data_samples"].gt_sem_seg.data for item in items]
            assert torch.equal(items[0]["inputs"], items[1]["inputs"])
            assert torch.equal(*maps)
            seen |= {*maps[0].unique().tolist()}
        assert seen == {*range(11), 255}


def test_a_folder_of_another_name_is_the_same_data_and_other_files_are_not(call, drawn):
    call(train_tool, MAIN, "--demo", "--data", str(describe(drawn)), "--work-dir", "run")
    renamed = drawn.rename(drawn.with_name("renamed"))
    longer = {"train_cfg.max_iters": 4, "param_scheduler.0.end": 2}
    again = ("--demo", "--data", str(renamed), "--work-dir", "run", "--resume")
    call(train_tool, MAIN, *again, **longer)
    Image.fromarray(scene(99)[0]).save(renamed / "images/train/new.jpg")
    Image.fromarray(scene(99)[1]).save(renamed / "masks/train/new.png")
    with pytest.raises(UserError, match="the images or masks: others, or of other sizes"):
        call(train_tool, MAIN, *again, **longer)


def test_windows_follow_and_steps_of_other_sizes_are_refused(drawn):
    config, data = load_config(MAIN), find_data(str(describe(drawn)))
    config.model.test_cfg = dict(mode="slide", crop_size=(512, 1024), stride=(341, 683))
    use_data(config, data)
    assert config.model.test_cfg == dict(mode="slide", crop_size=(48, 64), stride=(32, 43))
    config = load_config(MAIN)
    config.train_dataloader.dataset.pipeline[2] = dict(type="RandomChoiceResize", scales=[512])
    with pytest.raises(UserError, match="does not know which sizes RandomChoiceResize"):
        use_data(config, data)


def test_a_folder_alone(drawn, capsys, tmp_path):
    data = find_data(str(drawn))
    assert data.names == ("class 0", "class 1", "class 2")
    assert "*** Give --classes" in capsys.readouterr().out
    assert find_data(str(drawn), "road, car,sky").names == ("road", "car", "sky")
    with pytest.raises(UserError, match="mask holds what is no class: 2"):
        train(small(drawn, tmp_path / "work", classes="road,car"))
    describe(drawn)
    assert find_data(str(drawn)).names == ("a", "b", "c")
    with pytest.raises(UserError, match="--classes beside"):
        find_data(str(drawn), "x,y,z")
    with pytest.raises(UserError, match=r"not found: /.*/nowhere"):
        find_data("nowhere")
    with pytest.raises(UserError, match=r"no data\.yaml, and no images/train"):
        find_data(str(tmp_path))


@pytest.mark.parametrize("channels", [1, 2])
def test_two_classes_with_one_output_or_two(tmp_path, drawn, channels):
    path = describe(drawn, "values: {0: a, 1: b, 2: ignore}", "[a, b]")
    config = small(path, tmp_path / "w")
    if channels == 1:
        for _, head in heads(config.model):
            head.out_channels = 1
        with pytest.raises(UserError, match=r"one output channel, and a softmax takes two"):
            train(config)
        for _, head in heads(config.model):
            head.loss_decode.use_sigmoid = True
    train(config)
    scores = read(tmp_path / "w/record.json").last.scores()
    assert 0 < scores["aAcc"] <= 100


def test_a_checkpoint_of_classes_of_other_names_is_no_model_of_these(call, drawn, capsys):
    path = describe(drawn)
    call(train_tool, MAIN, "--demo", "--data", str(path), "--work-dir", "run")
    describe(drawn, names="[c, b, a]")
    with pytest.raises(UserError, match="class 0 is 'a' there, and 'c' here"):
        call(test_tool, MAIN, "run/iter_2.pth", "--demo", "--data", str(path))
    describe(drawn)
    for taken in ("photo.png", "full"):
        place = drawn / taken
        if taken == "full":
            place.mkdir()
            place = place / "x"
        place.write_text("mine")
        arguments = ("--demo", "--data", str(path), "--show-dir", str(drawn / taken))
        with pytest.raises(UserError, match="exists already, and is not touched"):
            call(test_tool, MAIN, "run/iter_2.pth", *arguments)
        assert place.read_text() == "mine"


def test_a_start_from_a_checkpoint_of_other_classes(tiny, drawn, tmp_path, monkeypatch, capsys):
    """Heads start anew, and are told; all else is the checkpoint's; any other difference stops."""
    seen, before = [], PairedRunner.train
    monkeypatch.setattr(PairedRunner, "train", lambda self: seen.append(_started(self, before)))
    there = MODELS.build(tiny("baseline_deeplabv3plus_cityscapes").model).state_dict()
    start = tmp_path / "cityscapes.pth"
    torch.save({"state_dict": there}, start)
    config = small(describe(drawn), tmp_path / "work")
    config.load_from = str(start)
    train(config)
    anew = [
        f"{head}.conv_seg.{kind}"
        for head in ("decode_head", "auxiliary_head")
        for kind in ("weight", "bias")
    ]
    ((weights, screen),) = seen
    for key, tensor in there.items():
        assert torch.equal(weights[key], tensor) != (key in anew), key
    for key in anew:
        assert len(weights[key]) == 3
        assert f"anew, for other classes: {key}" in screen
    monkeypatch.undo()
    torch.save({"state_dict": there, "meta": {"CLASSES": list("abcdefghijklmnopqrs")}}, start)
    config = tiny("baseline_deeplabv3plus_cityscapes", **QUICK, load_from=str(start))
    config.work_dir = str(tmp_path / "again")
    train(config)
    assert "class 0 is 'a' there, and 'road' here\n  so " in capsys.readouterr().out
    for options, words in (
        ({"model.decode_head.dilations": (1, 2, 3, 4)}, None),
        ({"model.decode_head.channels": 32}, "of another shape"),
        ({"model.auxiliary_head": None}, "left over"),
    ):
        other = small(describe(drawn), tmp_path / "other")
        other.load_from = str(start)
        other.merge_from_dict(options)
        if words:
            with pytest.raises(UserError, match=words):
                train(other)


def _started(runner, train):
    """The weights when training would begin, and the first screen."""
    runner.load_or_resume()
    return copy.deepcopy(runner.bare_model.state_dict()), summarize(runner)
