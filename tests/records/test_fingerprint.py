"""What makes two runs the same, and what does not."""

import copy

import pytest

from psa_seg.engine.config import load_config
from psa_seg.engine.describe import setting
from psa_seg.records.fingerprint import digest, fingerprint, sources
from tests.conftest import ROOT

NAME = "configs/psa_deeplabv3plus_cityscapes.py"
INIT = "model.backbone.init_cfg"
CROP = "train_dataloader.dataset.pipeline.3.crop_size"


@pytest.fixture
def config():
    """Prepared: its weights have been looked at."""
    config = load_config(str(ROOT / NAME))
    config.start = {f"{INIT}.checkpoint": "sha256:imagenet"}
    return config


SAME = {  # where files lie, how fast they are read, what is told of a run, another way to write it
    "seed": {"randomness.seed": 5},
    "work directory": {"work_dir": "elsewhere"},
    "label": {"label": "mine"},
    "what else is scored": {"val_evaluator.also": ["boundary", "calibration"]},
    "how models are compared": {"score": "road IoU", "plan": {"seeds": [0], "comparisons": []}},
    "a search": {"exploratory": True},
    "loading": {"train_dataloader.num_workers": 9, "val_dataloader.pin_memory": True},
    "validating": {"train_cfg.val_interval": 9},
    "testing": {"test_dataloader.batch_size": 3, "tta_pipeline": []},
    "telling": {"default_hooks.logger.interval": 7, "custom_hooks.0.samples": 1, "log_level": "X"},
    "saving": {"default_hooks.checkpoint.interval": 7, "default_hooks.checkpoint.save_best": "m"},
    "where data lie": {"train_dataloader.dataset.data_root": "/other/disk"},
    "where weights lie": {f"{INIT}.checkpoint": "/other/name.pth"},
    "no checkpoints": {"default_hooks.checkpoint": None},
    "how a file is read": {"train_dataloader.dataset.backend_args": None},
    "with the name of its library": {"model.backbone.type": "mmseg.ResNetV1c"},
    "memory": {"checkpoint_activations": True, "channels_last": True},
    "a list for a tuple": {CROP: [512, 1024]},
    "a float for a whole number": {"model.auxiliary_head.channels": 256.0},
    "nothing to start from": {"load_from": None},
    "resuming": {"resume": True},
    "variables of its author's": {"crop_size": (1, 1), "norm_cfg": {}},
}
OTHER = {
    "data": {"data_name": "another"},
    "crop": {CROP: (256, 256)},
    "steps": {"train_cfg.max_iters": 9},
    "images a step": {"train_dataloader.batch_size": 4},
    "images at once": {"train_cfg.micro_batch_size": 2},
    "sampler": {"train_dataloader.sampler.shuffle": False},
    "validation set": {"val_dataloader.dataset.data_prefix.img_path": "leftImg8bit/test"},
    "what is ignored": {"val_evaluator.ignore_index": 0},
    "precision of validation": {"val_cfg.fp16": True},
    "learning rate": {"optim_wrapper.optimizer.lr": 0.5},
    "its scaling": {"auto_scale_lr": dict(enable=True, base_batch_size=16)},
    "schedule": {"param_scheduler.0.power": 1.0},
    "no schedule": {"default_hooks.param_scheduler": None},
    "an average by a logger's name": {"default_hooks.logger.type": "EMAHook"},
    "an average of weights": {"custom_hooks": [dict(type="EMAHook")]},
    "synchronised statistics": {"sync_bn": "torch"},
    "loss": {"model.decode_head.loss_decode.loss_weight": 0.5},
    "dropout": {"model.decode_head.dropout_ratio": 0.5},
    "attention": {"model.decode_head.attention.layout": "sequential"},
    "its start": {"model.decode_head.attention.init": "identity"},
    "start of a head": {"model.decode_head.init_cfg": dict(type="Normal", std=1.0)},
    "another start of a head": {"model.decode_head.init_cfg": dict(type="Normal", std=0.01)},
    "no ImageNet": {INIT: None},
    "Kaiming's start": {INIT: dict(type="Kaiming", layer="Conv2d")},
    "prefix in the file": {f"{INIT}.prefix": "backbone."},
    "content of the file": {"start": {f"{INIT}.checkpoint": "sha256:other"}},
    "another checkpoint": {"load_from": "plain.pth"},
    "the old idiom": {"model.pretrained": "open-mmlab://resnet50_v1c"},
}


def changed(config, options):
    config = copy.deepcopy(config)
    start = options.get("start", config.start)
    config.merge_from_dict({key: value for key, value in options.items() if key != "start"})
    config.start = start
    return config


@pytest.mark.parametrize("what", SAME)
def test_what_makes_no_other_run(config, what):
    assert fingerprint(changed(config, SAME[what])) == fingerprint(config)


def test_what_makes_another_run(config):
    found = {what: fingerprint(changed(config, options)) for what, options in OTHER.items()}
    found["as it is"] = fingerprint(config)
    assert len(set(found.values())) == len(found), sorted(found.items(), key=lambda one: one[1])


def test_every_part_of_a_config_is_looked_at(config):
    """One more at its top has to be put into one of the tables."""
    tried = {key.partition(".")[0] for table in (SAME, OTHER) for o in table.values() for key in o}
    elsewhere = {  # of no run's figures: where it runs, what it shows, what tests and docs need
        *("allow_absent", "custom_imports", "data_help", "data_root", "default_scope", "env_cfg"),
        *("image_scale", "names_ignored"),
        *("log_processor", "loss", "test_cfg", "test_evaluator", "test_pipeline"),
        *("attention", "train_pipeline", "tta_model", "vis_backends", "visualizer"),
    }
    assert set(config) <= tried | elsewhere


def test_weights_count_by_their_content(config, tmp_path):
    """Two files that hold the same are one start, and two of one name are two."""
    for name, content in (("a.pth", b"1"), ("b.pth", b"1"), ("elsewhere/a.pth", b"2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def started(name):
        found = changed(config, {"load_from": str(tmp_path / name)})
        found.start = config.start | {"load_from": digest(tmp_path / name)}
        return fingerprint(found)

    assert started("a.pth") == started("b.pth") != started("elsewhere/a.pth")


def test_every_file_of_weights_is_known(config):
    config.load_from = "a.pth"
    config.model.pretrained = "b.pth"
    config.model.decode_head.init_cfg = [dict(type="Pretrained", checkpoint="c.pth")]
    assert sources(config) == {
        "load_from": "a.pth",
        "model.backbone.init_cfg.checkpoint": "open-mmlab://resnet50_v1c",
        "model.pretrained": "b.pth",
        "model.decode_head.init_cfg.0.checkpoint": "c.pth",
    }


def test_only_the_attention_and_its_rates_leave_the_setting_as_it_is(config):
    plain = setting(load_config(str(ROOT / "configs/baseline_deeplabv3plus_cityscapes.py")))
    rate = {"optim_wrapper.paramwise_cfg.custom_keys.attention.lr_mult": 10.0}
    config.start = {}
    for options in ({}, rate, OTHER["attention"], OTHER["its start"], SAME["label"]):
        assert setting(changed(config, options)) == plain
    for what in ("learning rate", "dropout", "start of a head", "another checkpoint"):
        assert setting(changed(config, OTHER[what])) != plain, what


def test_what_python_calls_a_value_is_no_part_of_it(config):
    """No address in memory: the digest is the same in every process."""

    class Opaque:
        pass

    found = set()
    for value in (Opaque(), Opaque()):
        config.model.test_cfg = dict(value=value, function=digest)
        found.add(fingerprint(config))
    assert len(found) == 1
