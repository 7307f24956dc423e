"""What a user can get wrong before a run, and the one message it gets."""

import copy
import errno
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS

from psa_seg import files
from psa_seg.engine import tool, weights
from psa_seg.engine.config import load_config, override
from psa_seg.engine.work_dir import checkpoints_in, claim, find
from psa_seg.errors import UserError
from tests.conftest import ROOT, evaluate, train

MAIN = str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py")


@pytest.fixture
def config(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CITYSCAPES_ROOT", str(tmp_path / "cs"))
    monkeypatch.delenv("RESNET50_V1C_WEIGHTS", raising=False)
    return load_config(MAIN)


def test_weights_that_cannot_be_reached(config, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(UserError) as error:
        weights.fetch(config)
    file = "resnet50_v1c-2cccc1ad.pth"
    for part in ("no route to host", "https://", str(tmp_path / "cache"), file, "init_cfg"):
        assert part in str(error.value)


def test_weights_in_the_cache_are_taken(config, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub/checkpoints/resnet50_v1c-2cccc1ad.pth"
    cached.parent.mkdir(parents=True)
    torch.save({}, cached)
    weights.fetch(config)


@pytest.mark.parametrize(
    ("source", "message"),
    [("gone.pth", "weights not found: /.*/gone.pth"), ("mmcls://resnet999", "no model named")],
)
def test_weights_with_a_wrong_name(config, source, message):
    override(config, {"model.backbone.init_cfg.checkpoint": source})
    with pytest.raises(UserError, match=message):
        weights.fetch(config)


def test_checkpoint_of_another_model(tiny, tmp_path):
    plain = MODELS.build(tiny("baseline_deeplabv3plus_cityscapes").model)
    torch.save({"state_dict": plain.state_dict()}, tmp_path / "plain.pth")
    config = tiny("psa_deeplabv3plus_cityscapes")
    with pytest.raises(UserError, match="another model") as error:
        evaluate(config, str(tmp_path / "plain.pth"))
    assert "missing" in str(error.value)
    assert "decode_head.attention." in str(error.value)


def test_checkpoint_that_is_none(tiny, tmp_path):
    config = tiny("psa_deeplabv3plus_cityscapes")
    with pytest.raises(UserError, match="checkpoint not found"):
        evaluate(config, str(tmp_path / "none.pth"))
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="cannot be read"):
        evaluate(config, str(tmp_path / "broken.pth"))


@pytest.mark.parametrize("name", ["psa_deeplabv3plus_cityscapes", "psa_hrnet48_ocr_cityscapes"])
def test_augmentation_that_wants_logits(tiny, tmp_path, name):
    config = tiny(name, **{"tta_model.type": "SegTTAModel"})
    torch.save(MODELS.build(config.model).state_dict(), tmp_path / "model.pth")
    with pytest.raises(UserError, match=rf"reads logits that {config.model.type} leaves out"):
        evaluate(config, str(tmp_path / "model.pth"), tta=True)


def test_start_from_another_model(tiny, tmp_path):
    """`load_from` may lack the attention, and nothing else: no silent random start."""
    plain = MODELS.build(tiny("baseline_deeplabv3plus_cityscapes").model).state_dict()
    del plain["decode_head.conv_seg.weight"]
    torch.save({"state_dict": plain}, tmp_path / "plain.pth")
    config = tiny("psa_deeplabv3plus_cityscapes", load_from=str(tmp_path / "plain.pth"))
    with pytest.raises(UserError, match=r"missing +1: decode_head\.conv_seg\.weight"):
        train(config)


def test_config_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="config not found"):
        load_config("configs/nonsense.py")
    (tmp_path / "broken.py").write_text("model = dict(")
    with pytest.raises(UserError, match="config cannot be read"):
        load_config(str(tmp_path / "broken.py"))


def test_config_that_is_half_of_one(tmp_path):
    (tmp_path / "half.py").write_text("model = dict(type='EncoderDecoder')")
    with pytest.raises(UserError, match="config has no custom_imports, train_dataloader"):
        load_config(str(tmp_path / "half.py"))


def test_schedule_follows_the_number_of_iterations(config):
    override(config, {"train_cfg.max_iters": 300})
    assert [s.end for s in config.param_scheduler] == [300]
    override(config, {"train_cfg.max_iters": 400, "param_scheduler.0.end": 300})
    assert [s.end for s in config.param_scheduler] == [300]


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        (
            "head",
            dict(layuot="parallel"),
            "head.attention, .* no option 'layuot'; did you mean 'layout'",
        ),
        ("head", dict(layout="diagonal"), "layout must be one of 'parallel', 'sequential'"),
        ("head", dict(layout=3), "layout must be one of"),
        ("head", dict(in_channels="many"), "cannot be built"),
        ("plugin", dict(form="authors"), r"(?s)plugins.0.cfg, .*form must be one of"),
        ("neck", dict(levels=[7]), "neck, PolarizedNeck cannot be built"),
        ("neck", dict(level=[3]), "did you mean 'levels'"),
        (
            "neck",
            dict(attention="PolarizedSelfAttention"),
            "model.neck, PolarizedNeck cannot be built",
        ),
        (
            "neck",
            dict(attention=dict(type="PolarisedSelfAttention")),
            "PolarisedSelfAttention is not in",
        ),
    ],
)
def test_an_attention_that_does_not_exist(tiny, place, options, message):
    config = tiny("psa_deeplabv3plus_cityscapes")
    attention = config.model.decode_head.attention
    if place == "head":
        attention.update(options)
    elif place == "plugin":
        plugin = dict(cfg=dict(attention, **options), stages=(True,) * 4, position="after_conv2")
        config.model.backbone.plugins = [plugin]
    else:
        config.model.neck = dict(type="PolarizedNeck", in_channels=[8, 16, 32, 64], **options)
    with pytest.raises(UserError, match=message) as error:
        train(config)
    assert "options " in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"train_cfg.max_iter": 5},
        {"model.backbone.depht": 50},
        {"model.auxiliary_head.loss_decode.type": "CrossEntropy"},
        {"train_dataloader.dataset.root": "here"},
        {"default_hooks.logger.type": "LogerHook"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_key_or_a_type_that_does_not_exist(tiny, options):
    with pytest.raises(UserError, match="names what does not exist"):
        train(tiny("psa_deeplabv3plus_cityscapes", **options))


def test_work_dir_never_holds_another_run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert find("a", None) is None
    assert [str(claim("a", None).path) for _ in range(3)] == [
        "work_dirs/a",
        "work_dirs/a_2",
        "work_dirs/a_3",
    ], "starts at once get one each"
    shutil.rmtree("work_dirs/a_2")
    assert str(find("a", None)) == "work_dirs/a_3", "a gap is no end"
    Path("work_dirs/a/iter_2.pth").touch()
    assert str(find("a", None)) == "work_dirs/a", "a start that came to nothing is no latest run"
    assert str(find("a", "work_dirs/a_3")) == "work_dirs/a_3"
    for taken in ("work_dirs/a", __file__):
        with pytest.raises(UserError, match="is not empty"):
            claim("a", taken)


def test_of_two_starts_in_one_directory_one_goes_on(tmp_path):
    (tmp_path / "mine").mkdir()
    claims = []

    def start():
        with suppress(UserError):
            claims.append(claim("", str(tmp_path / "mine")))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) == 1


@pytest.fixture
def held(tiny, tmp_path):
    """The config of a run of two iterations, of which the work directory holds the end."""
    config = tiny("psa_deeplabv3plus_cityscapes", **{"train_cfg.max_iters": 2, "resume": True})
    train(config)
    return config


@pytest.mark.parametrize("key", ["model.backbone.depht", "train_cfg.max_iter"])
def test_a_start_that_failed_leaves_nothing(tiny, tmp_path, key):
    with pytest.raises(UserError, match=f"where      {key}"):
        train(tiny("psa_deeplabv3plus_cityscapes", **{key: 5}))
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optim_wraper.optimizer.lr": 1},
            r"nothing reads 'optim_wraper'\n  meant      optim_wrapper\?",
        ),
        ({"crop_size": (64, 64)}, "nothing reads 'crop_size'"),
        ({"train_cfg.max_iters": "many"}, "train_cfg.max_iters='many' is no whole number"),
        ({"train_dataloader.batch_size": 0}, "batch_size=0 is no whole number of at least 1"),
        ({"optim_wrapper.optimizer": "SGD"}, "optim_wrapper.optimizer='SGD' is not a dict"),
        ({"train_cfg": 300}, "train_cfg=300 is not a dict"),
        ({"resume": "iter_4.pth"}, "resume='iter_4.pth' is not True or False"),
    ],
)
def test_an_override_that_would_do_nothing_or_harm(config, options, message):
    with pytest.raises(UserError, match=message):
        override(config, options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optim_wrapper.optimizer.lr": -1}, "Invalid learning rate: -1"),
        ({"model.neck": dict(type="PolarizedNeck", in_channels=[8, 8, 8, 8])}, "expected an input"),
        ({"custom_imports.imports": ["nonsense"]}, "nonsense"),
    ],
)
def test_a_value_that_does_not_fit(tiny, options, message):
    with pytest.raises(UserError, match=message):
        train(tiny("psa_deeplabv3plus_cityscapes", **options))


def test_a_config_that_lies_in_the_work_dir_stays_as_it_is(tiny, tmp_path):
    own = tmp_path / "work/mine.py"
    tiny("psa_deeplabv3plus_cityscapes", **{"train_cfg.max_iters": 1}).dump(tmp_path / "all.py")
    own.parent.mkdir()
    own.write_text('_base_ = ["../all.py"]  # a note to myself\n')
    config = load_config(str(own))
    config.resume = True  # or a directory that holds anything would be refused
    train(config)
    assert own.read_text().endswith("# a note to myself\n")


def test_auto_resume_overwrites_nothing_foreign(tiny, tmp_path):
    (tmp_path / "work/20260101_000000").mkdir(parents=True)  # a start that was killed: no matter
    (tmp_path / "work/thesis.txt").touch()
    with pytest.raises(UserError, match="no checkpoint to resume, but other files: thesis"):
        train(tiny("psa_deeplabv3plus_cityscapes", resume=True))


def test_work_dir_of_another_experiment(held, tiny, tmp_path):
    files = {path: path.read_bytes() for path in (tmp_path / "work").glob("*.*")}
    assert tmp_path / "work/iter_2.pth" in files
    others = [
        tiny(
            "psa_deeplabv3plus_cityscapes", **{"model.decode_head.attention.layout": "sequential"}
        ),
        tiny("baseline_deeplabv3plus_cityscapes"),
        tiny("psa_deeplabv3plus_cityscapes", data_name="elsewhere"),
        tiny("psa_deeplabv3plus_cityscapes", **{"train_dataloader.batch_size": 4}),
        tiny("psa_deeplabv3plus_cityscapes", **{"optim_wrapper.optimizer.lr": 5.0}),
        tiny(
            "psa_deeplabv3plus_cityscapes",
            **{"train_cfg.max_iters": 2, "val_evaluator.prefix": "x"},
        ),
        tiny(
            "psa_deeplabv3plus_cityscapes", **{"train_cfg.max_iters": 2, "load_from": "other.pth"}
        ),
    ]
    messages = [
        "layout is None there, and 'sequential' here",
        "model.decode_head.attention",
        "data_name",
        "2 there, and 4 here",
        "lr is 0.01 there",
        "val_evaluator.prefix is",
        "load_from is None there, and 'other.pth' here",
    ]
    for config, message in zip(others, messages, strict=True):
        config.resume = True
        with pytest.raises(UserError, match="holds another experiment, a run of psa_") as error:
            train(config)
        assert message in str(error.value)
    other_seed = tiny("psa_deeplabv3plus_cityscapes", **{"resume": True, "randomness.seed": 1})
    with pytest.raises(UserError, match="resume it with --seed 0"):
        train(other_seed)
    assert {path: path.read_bytes() for path in files} == files, "nothing of it was touched"


def test_checkpoint_of_another_number_of_classes(tiny, tmp_path):
    config = tiny("psa_deeplabv3plus_cityscapes")
    model = copy.deepcopy(config.model)
    model.decode_head.num_classes = model.auxiliary_head.num_classes = 21
    torch.save({"state_dict": MODELS.build(model).state_dict()}, tmp_path / "voc.pth")
    with pytest.raises(UserError, match="checkpoint has 21 classes, and this config 19"):
        evaluate(config, str(tmp_path / "voc.pth"))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, "Read-only file system"),
        (errno.ENOSPC, "make room"),
        (errno.EACCES, "permissions"),
    ],
)
def test_work_dir_that_cannot_be_written(tiny, monkeypatch, number, message):
    def refuse(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(UserError, match=message):
        train(tiny("psa_deeplabv3plus_cityscapes"))


def test_work_dir_below_a_file(tiny, tmp_path):
    (tmp_path / "file").touch()
    config = tiny("psa_deeplabv3plus_cityscapes")
    config.work_dir = str(tmp_path / "file/work")
    with pytest.raises(UserError, match="Not a directory"):
        train(config)


def test_a_disk_too_full_for_the_checkpoints(tiny, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"0.00 GB free, .*0.03 GB"):
        train(tiny("psa_deeplabv3plus_cityscapes"))


def test_a_disk_that_fills_up_names_the_file(tmp_path, monkeypatch):
    """Of a write, the system does not say which."""

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space") as error:
        files.write(tmp_path / "labels.png", b"data")
    assert f"No space left on device: {tmp_path}/labels.png" in str(files.disk_error(error.value))
    with pytest.raises(OSError, match="denied") as error, files.whole(tmp_path / "a.png") as part:
        raise OSError(errno.EACCES, "denied", str(part))
    assert error.value.filename == str(tmp_path / "a.png"), "and not a name that nobody gave"
    assert not [*tmp_path.iterdir()]


def test_a_disk_that_fills_up_in_training_is_a_message(held, tmp_path, monkeypatch, capsys):
    """... and the checkpoint before stays, whole, the one to resume from."""
    before = (tmp_path / "work/iter_2.pth").read_bytes()

    write = Path.write_bytes

    def full(path, data):
        if not path.name.startswith(".iter_4.pth."):
            return write(path, data)
        write(path, data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    held.train_cfg.max_iters, held.resume = 4, True
    with pytest.raises(SystemExit) as status:
        tool.run(lambda: train(held))
    assert status.value.code == 2
    work = tmp_path / "work"
    assert f"error: No space left on device: {work}/iter_4.pth\n" in capsys.readouterr().err
    assert (tmp_path / "work/iter_2.pth").read_bytes() == before
    assert checkpoints_in(work) == [work / "iter_2.pth"]
    assert not [*work.glob(".*.part")]
