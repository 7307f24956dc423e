"""One run: what a command line and a config file become, and what is refused on the way."""

from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS

from psa_seg.engine import prepare
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_sizes
from psa_seg.errors import UserError
from psa_seg.records import read
from tests.conftest import ROOT, train
from tests.quick import CROPS

NAME = "psa_deeplabv3plus_r18_cityscapes"
BASELINE = "baseline_deeplabv3plus_r18_cityscapes"
SHORT = {
    "train_cfg.max_iters": 2,
    "train_cfg.val_interval": 2,
    "custom_hooks.0.samples": 1,
    **CROPS,
}


def test_nothing_writes_to_a_config_once_it_is_prepared(tiny, tmp_path, monkeypatch):
    given = tiny(NAME, **SHORT)
    before, runs = given.pretty_text, []
    training = prepare.training

    def note(*args, **kwargs):
        run = training(*args, **kwargs)
        runs.append((run, run.config.pretty_text))
        return run

    monkeypatch.setattr(prepare, "training", note)
    train(given)
    ((run, prepared),) = runs
    assert run.config.pretty_text == prepared
    assert given.pretty_text == before, "nor to the caller's"
    assert (run.work_dir, run.checkpoint, run.resumed) == (tmp_path / "work", None, False)


def test_how_weights_start_is_part_of_a_run_that_goes_on(tiny, tmp_path):
    """Tried: a head that began with std 0.01 went on as one that began with std 1.0."""
    init = {"model.decode_head.init_cfg": dict(type="Normal", std=0.01, layer="Conv2d")}
    train(tiny(NAME, **SHORT, **init))
    other = {"model.decode_head.init_cfg": dict(type="Normal", std=1.0, layer="Conv2d")}
    for options, message in ((other, "init_cfg.std is 0.01 there, and 1 here"), ({}, "init_cfg")):
        with pytest.raises(UserError, match=message):
            train(tiny(NAME, **SHORT, **options, resume=True))
    train(tiny(NAME, **SHORT, **init, resume=True))


def test_a_run_goes_on_from_weights_of_the_same_content_wherever_they_lie(tiny, tmp_path):
    """Moved: the same. Gone: they are not needed any more. Replaced: another run."""
    first, second = tmp_path / "a.pth", tmp_path / "other/b.pth"
    torch.save({"state_dict": MODELS.build(tiny(BASELINE).model).state_dict()}, first)
    train(tiny(NAME, **SHORT, load_from=str(first)))
    record = read(tmp_path / "work/record.json")
    assert record.start.keys() == {"load_from"}
    second.parent.mkdir()
    first.rename(second)
    longer = SHORT | {"train_cfg.max_iters": 3, "param_scheduler.0.end": 2}
    train(tiny(NAME, **longer, load_from=str(second), resume=True))
    second.unlink()
    train(tiny(NAME, **longer, load_from=str(second), resume=True))
    again = read(tmp_path / "work/record.json")
    assert again.start == record.start
    torch.save({"state_dict": {}}, second)
    with pytest.raises(UserError, match=r"load_from is 'sha256:.* there, and 'sha256:.* here"):
        train(tiny(NAME, **longer, load_from=str(second), resume=True))


CROP = "train_dataloader.dataset.pipeline.3.crop_size"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({CROP: (64, 64)}, "cut to 64x64, and batches padded to 128x256: 88 % of a batch"),
        ({CROP: 64}, "cut to 64x64"),
        ({CROP: (256, 512)}, "cut to 256x512, and batches padded to 128x256: the record would"),
        ({"model.data_preprocessor.size": (128, 128)}, "padded to 128x128: the record would"),
    ],
    ids=["smaller", "one number", "larger", "preprocessor"],
)
def test_a_crop_that_is_not_what_the_network_sees_is_refused(tiny, options, message):
    with pytest.raises(UserError, match=message) as error:
        train(tiny(NAME, **options))
    assert CROP in str(error.value)
    assert "model.data_preprocessor.size" in str(error.value)


def test_the_last_step_that_fixes_a_size_counts(tiny):
    config = tiny(NAME)
    pipeline = config.train_dataloader.dataset.pipeline
    pipeline.insert(4, dict(type="Pad", size=(512, 256)))  # width, height
    assert "cut to 256x512" in check_sizes(config)[0]
    config.model.data_preprocessor.size = (256, 512)
    assert check_sizes(config) == []
    config.train_dataloader.dataset = dict(
        type="RepeatDataset",
        times=2,
        dataset=dict(
            type="ConcatDataset", datasets=[dict(pipeline=pipeline), dict(pipeline=pipeline[:4])]
        ),
    )
    (finding,) = check_sizes(config)
    assert "train_dataloader.dataset.dataset.datasets.1.pipeline.3.crop_size" in finding


def test_what_a_wrapping_set_does_comes_last(tiny):
    config = tiny(NAME)
    inner = config.train_dataloader.dataset
    wrapper = dict(type="MultiImageMixDataset", dataset=inner)
    config.train_dataloader.dataset = dict(**wrapper, pipeline=[])
    assert check_sizes(config) == []
    config.train_dataloader.dataset.pipeline = [dict(type="RandomCrop", crop_size=(64, 64))]
    (finding,) = check_sizes(config)
    assert "train_dataloader.dataset.pipeline.0.crop_size" in finding
    inner.pipeline[3].crop_size = (512, 512)
    config.train_dataloader.dataset.pipeline[0].crop_size = (128, 256)
    assert check_sizes(config) == []


def test_what_is_chosen_and_what_varies_is_looked_at(tiny):
    config = tiny(NAME)
    pipeline = config.train_dataloader.dataset.pipeline
    crop = pipeline[3]
    crop.type, crop.crop_size = "mmseg.RandomCrop", (64, 64)
    assert len(check_sizes(config)) == 1
    pipeline[3] = dict(
        type="RandomChoice",
        transforms=[[dict(type="RandomCrop", crop_size=(128, 256))], [dict(crop)]],
    )
    (finding,) = check_sizes(config)
    assert "pipeline.3.transforms.1.0.crop_size" in finding
    pipeline[3] = dict(crop)
    pipeline.insert(4, dict(type="Resize", scale=(512, 128), keep_ratio=True))
    assert check_sizes(config) == [], "whatever comes of that"
    config.data_preprocessor = config.model.pop("data_preprocessor")
    del pipeline[4]
    assert len(check_sizes(config)) == 1, "mmengine takes it from the top, too"


def written(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(f'_base_ = ["{ROOT}/configs/{BASELINE}.py"]\n{text}\n')
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('decode_head = dict(type="PolarizedASPPHead")', "decode_head stands beside model"),
        ('neck = dict(type="PolarizedNeck", in_channels=[1])', r"model = dict\(neck=dict"),
        ("backbone = dict(depth=101)", "backbone stands beside model"),
        ("optim_wraper = dict()", r"reads 'optim_wraper'.*\n  meant      optim_wrapper\?"),
        ("train_dataloder = dict()", r"meant      train_dataloader\?"),
        ("custom_hook = []", r"meant      custom_hooks\?"),
        ("load_form = 'a.pth'", r"meant      load_from\?"),
        ("costum_hooks = []", r"meant      custom_hooks\?"),
        ("auxilary_head = dict()", r"meant      auxiliary_head\?"),
        ("custom_imports = ['a']", r"custom_imports is .*, and must be a dict"),
        ("default_scope = None", "config has no default_scope"),
        ("model = None", "config has no model"),
    ],
)
def test_what_nothing_reads_at_the_top_of_a_config_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        load_config(written(tmp_path, text))
    assert "mine.py" in str(error.value)


def test_nor_does_it_pass_in_a_base_of_ones_own(tmp_path):
    Path(written(tmp_path, "decode_head = dict(channels=64)")).rename(tmp_path / "base.py")
    (tmp_path / "child.py").write_text('_base_ = ["base.py"]\n')
    with pytest.raises(UserError, match=r"decode_head stands beside model.*base\.py"):
        load_config(str(tmp_path / "child.py"))


@pytest.mark.parametrize("line", ["neck = dict(type='PolarizedNeck')", "optim_wraper = dict()"])
def test_nor_does_it_pass_in_a_file_without_a_base(tiny, tmp_path, line):
    path = tmp_path / "written.py"
    tiny(BASELINE).dump(str(path))
    load_config(str(path))
    path.write_text(f"{path.read_text()}\nbackbone = dict(depth=3)\n")
    load_config(str(path))  # of which a model was made, that was changed since
    path.write_text(f"{path.read_text()}\n{line}\n")
    with pytest.raises(UserError, match="nothing reads"):
        load_config(str(path))


def test_variables_of_its_author_pass(tmp_path, capsys):
    """mmengine's habit; a part of a model, too, of which the model is made."""
    own = tmp_path / "own.py"
    own.write_text(
        f'_base_ = ["{ROOT}/configs/{BASELINE}.py"]\n'
        "backbone = dict(depth=18)\nmodel = dict(backbone=backbone)\n"
    )
    load_config(str(own)).dump(str(tmp_path / "written.py"))  # all in one, variables, too
    assert load_config(str(tmp_path / "written.py")).model.backbone.depth == 18
    child = tmp_path / "child.py"
    child.write_text('_base_ = ["own.py"]\nmodel = dict(backbone=dict(depth=34))\n')
    assert load_config(str(child)).model.backbone.depth == 34
    names = (
        *(
            "norm_cfg",
            "crop_size",
            "img_scale",
            "num_classes",
            "val_pipeline",
            "test_pipeline",
        ),
        *("train_dataset", "labels", "attention", "head", "pretrained", "data_preprocessor"),
        *("dataset_type", "img_norm_cfg", "checkpoint", "optimizer", "albu_train_transforms"),
    )
    text = "\n".join(f"{name} = 1" for name in names)
    text += "\nbackbone = dict(depth=101)\nmodel1 = val_cfg2 = 1"
    text += "\nmodel = dict(backbone=backbone, test_cfg=dict(a=model1, b=val_cfg2))"
    config = load_config(written(tmp_path, text))
    assert config.model.backbone.depth == 101
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NOTE")]
    assert [note.split()[1] for note in notes] == ["norm_cfg", "crop_size", "test_pipeline"]
    assert config.crop_size == 1, "and no crop of that size"


@pytest.mark.parametrize(
    "options", [{"channels_last": "yes"}, {"label": 3}, {"load_from": 3}, {"resume": "no"}]
)
def test_our_own_options_have_types(tiny, options):
    with pytest.raises(UserError, match=f"{next(iter(options))}=.* is not"):
        tiny(NAME, **options)
