"""What a user can get wrong before a run, and the one message it gets."""

import pytest
import torch
from mmseg.registry import MODELS

from psa_seg.engine import launch, preflight
from psa_seg.engine.config import load_config, override
from psa_seg.engine.work_dir import choose_work_dir
from psa_seg.errors import UserError
from tests.conftest import ROOT

MAIN = str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py")


@pytest.fixture
def config(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CITYSCAPES_ROOT", str(tmp_path / "cs"))
    monkeypatch.delenv("RESNET50_V1C_WEIGHTS", raising=False)
    return load_config(MAIN)


@pytest.mark.parametrize("state", ["no folder", "empty folder"])
def test_missing_data(config, tmp_path, state):
    if state == "empty folder":
        (tmp_path / "cs/leftImg8bit/train/aachen").mkdir(parents=True)
    with pytest.raises(UserError) as error:
        preflight.check_data(config, "train_dataloader")
    for part in (str(tmp_path / "cs/leftImg8bit/train"), "cityscapes-dataset.com", "--demo"):
        assert part in str(error.value)


def test_data_that_are_there_pass(tiny):
    preflight.check_data(tiny("psa_deeplabv3plus_cityscapes"), "train_dataloader", "val_dataloader")


def test_weights_that_cannot_be_reached(config, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(UserError) as error:
        preflight.check_weights(config)
    file = "resnet50_v1c-2cccc1ad.pth"
    for part in ("no route to host", "https://", str(tmp_path / "cache"), file, "init_cfg"):
        assert part in str(error.value)


def test_weights_in_the_cache_are_taken(config, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub/checkpoints/resnet50_v1c-2cccc1ad.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    preflight.check_weights(config)


@pytest.mark.parametrize(
    ("source", "message"),
    [("gone.pth", "weights not found: gone.pth"), ("mmcls://resnet999", "no model named")],
)
def test_weights_with_a_wrong_name(config, source, message):
    override(config, {"model.backbone.init_cfg.checkpoint": source})
    with pytest.raises(UserError, match=message):
        preflight.check_weights(config)


def test_amp_without_a_gpu(config):
    with pytest.raises(UserError, match="--amp needs a GPU"):
        launch.train(config, amp=True)


def test_checkpoint_of_another_model(tiny, tmp_path):
    plain = MODELS.build(tiny("baseline_deeplabv3plus_cityscapes").model)
    torch.save({"state_dict": plain.state_dict()}, tmp_path / "plain.pth")
    config = tiny("psa_deeplabv3plus_cityscapes")
    with pytest.raises(UserError, match="another model") as error:
        launch.evaluate(config, str(tmp_path / "plain.pth"))
    assert "missing" in str(error.value)
    assert "decode_head.attention." in str(error.value)


def test_checkpoint_that_is_none(tiny, tmp_path):
    config = tiny("psa_deeplabv3plus_cityscapes")
    with pytest.raises(UserError, match="checkpoint not found"):
        launch.evaluate(config, str(tmp_path / "none.pth"))
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="cannot be read"):
        launch.evaluate(config, str(tmp_path / "broken.pth"))


def test_start_from_another_model(tiny, tmp_path):
    """`load_from` may lack the attention, and nothing else: no silent random start."""
    plain = MODELS.build(tiny("baseline_deeplabv3plus_cityscapes").model).state_dict()
    del plain["decode_head.conv_seg.weight"]
    torch.save({"state_dict": plain}, tmp_path / "plain.pth")
    config = tiny("psa_deeplabv3plus_cityscapes", load_from=str(tmp_path / "plain.pth"))
    with pytest.raises(UserError, match=r"missing +1: decode_head\.conv_seg\.weight"):
        launch.train(config)


def test_config_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="config not found"):
        load_config("configs/nonsense.py")
    (tmp_path / "broken.py").write_text("model = dict(")
    with pytest.raises(UserError, match="config cannot be read"):
        load_config(str(tmp_path / "broken.py"))


def test_schedule_follows_the_number_of_iterations(config):
    override(config, {"train_cfg.max_iters": 300})
    assert [s.end for s in config.param_scheduler] == [300]
    override(config, {"train_cfg.max_iters": 400, "param_scheduler.0.end": 300})
    assert [s.end for s in config.param_scheduler] == [300]


def test_work_dir_never_holds_another_run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert choose_work_dir("a", None, resume=False) == "work_dirs/a"
    assert choose_work_dir("a", None, resume=True) == "work_dirs/a"
    (tmp_path / "work_dirs/a").mkdir(parents=True)
    (tmp_path / "work_dirs/a/iter_1.pth").touch()
    assert choose_work_dir("a", None, resume=False) == "work_dirs/a_2"
    assert choose_work_dir("a", None, resume=True) == "work_dirs/a"
    assert choose_work_dir("a", "work_dirs/a", resume=True) == "work_dirs/a"
    with pytest.raises(UserError, match="is not empty"):
        choose_work_dir("a", "work_dirs/a", resume=False)
