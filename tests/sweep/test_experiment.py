"""What an experiment's file stands for, and what is wrong with one."""

import pytest
import torch
import yaml
from mmseg.registry import TRANSFORMS

from psa_seg.engine.config import load_config
from psa_seg.engine.describe import setting
from psa_seg.errors import UserError
from psa_seg.models.placement import attentions
from psa_seg.records.fingerprint import fingerprint
from psa_seg.sweep import one, read_experiment
from tests.conftest import ROOT

HEAD = {"model.decode_head.attention": "ATTENTION"}
NECK = {"model.neck": dict(type="PolarizedNeck", in_channels=[1, 2], attention="ATTENTION")}
RIGHT = dict(
    config=str(ROOT / "configs/baseline_deeplabv3plus_cityscapes.py"),
    records="records",
    seeds=[0, 1],
    attentions={"none": None, "PSA": dict(type="PolarizedSelfAttention"), "SE": dict(type="SE")},
    placements={"head": HEAD},
)


def experiment(tmp_path, **changes):
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump(RIGHT | changes, sort_keys=False))
    return read_experiment(str(path))


def test_attention_by_placement_by_seed(tmp_path):
    found = experiment(tmp_path, placements={"head": HEAD, "neck": NECK})
    names = [run.name for run in found.runs]
    assert names[:5] == [
        "none_seed0",
        "psa_head_seed0",
        "se_head_seed0",
        "psa_neck_seed0",
        "se_neck_seed0",
    ], "the plain network once, and all of a seed before the next"
    assert len(names) == len(set(names)) == 10
    run = found.find("psa_neck_seed0")
    assert run.label == "PSA, neck"
    assert run.options["model.neck"]["attention"] == RIGHT["attentions"]["PSA"]
    assert found.record_of(run) == tmp_path / "records/psa_neck_seed0.json"
    fewer = experiment(tmp_path, placements={"head": HEAD, "neck": NECK}, leave_out=["SE, neck"])
    assert [run.name for run in fewer.runs[:4]] == names[:4]
    assert fewer.comparisons == ["PSA, head", "SE, head", "PSA, neck"]


def test_options_are_of_every_run_and_variants_of_attentions_alone(tmp_path):
    gates = {"optim_wrapper.paramwise_cfg.custom_keys.attention.lr_mult": 10.0}
    options = {"train_cfg.max_iters": 7}
    variants = {"": {}, "gates x10": gates}
    found = experiment(tmp_path, options=options, variants=variants, seeds=[4])
    labels = {run.label: run.options for run in found.runs}
    assert list(labels) == ["none", "PSA", "SE", "PSA, gates x10", "SE, gates x10"]
    assert labels["none"] == options
    assert labels["SE, gates x10"] == {**options, **gates, **{next(iter(HEAD)): dict(type="SE")}}


def test_settings_are_of_the_plain_network_too(tmp_path):
    settings = {"": {}, "lr x2": {"optim_wrapper.optimizer.lr": 0.02}}
    found = experiment(tmp_path, settings=settings, seeds=[4])
    labels = {run.label: run.options for run in found.runs}
    assert list(labels) == ["none", "PSA", "SE", "none, lr x2", "PSA, lr x2", "SE, lr x2"]
    assert labels["none, lr x2"] == settings["lr x2"]
    runs = (found.find(name) for name in ("none_seed4", "none_lr_x2_seed4"))
    slow, fast = (one.configure(found, run) for run in runs)
    assert fast.optim_wrapper.optimizer.lr == 2 * slow.optim_wrapper.optimizer.lr
    assert setting(slow) != setting(fast)


def test_a_list_takes_a_tuples_place(tmp_path):
    """YAML has no tuples, and mmcv's RandomCrop takes no list."""
    key = "train_dataloader.dataset.pipeline.3.crop_size"
    found = experiment(tmp_path, options={key: [64, 96], "model.backbone.dilations": [1, 1, 2, 2]})
    config = one.configure(found, found.runs[0])
    assert TRANSFORMS.build(config.train_dataloader.dataset.pipeline[3]).crop_size == (64, 96)
    assert config.model.backbone.dilations == (1, 1, 2, 2)


def test_a_plan_is_every_seed_and_what_is_tested_together(tmp_path):
    found = experiment(tmp_path, score="road IoU", seeds=[0, 3])
    config = one.configure(found, found.runs[0])
    assert (config.score, config.plan) == (
        "road IoU",
        {"seeds": [0, 3], "comparisons": ["PSA", "SE"]},
    )
    fewer = experiment(tmp_path, comparisons=["SE"])
    assert one.configure(fewer, fewer.runs[1]).plan.comparisons == ["SE"]
    assert fingerprint(config) == fingerprint(one.configure(fewer, fewer.runs[0]))


def test_runs_work_where_they_are_told_to(tmp_path):
    path = experiment(tmp_path).path
    found = read_experiment(str(path), str(tmp_path / "scratch"))
    run = found.find("none_seed0")
    assert one.configure(found, run).work_dir == str(tmp_path / "scratch/trial/none_seed0")
    assert found.command()[2:] == [str(path), "--work-dirs", str(tmp_path / "scratch")]


def test_a_run_is_its_config(tmp_path):
    found = experiment(tmp_path, exploratory=True, options={"train_cfg.max_iters": 7})
    plain, psa = (one.configure(found, run) for run in found.runs[3:5])
    assert (psa.randomness.seed, psa.train_cfg.max_iters, psa.label) == (1, 7, "PSA")
    assert psa.exploratory
    assert setting(plain) == setting(psa)
    assert fingerprint(plain) != fingerprint(psa)


def test_an_experiment_starts_from_a_plain_config(tmp_path):
    found = experiment(tmp_path, config=str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py"))
    with pytest.raises(UserError, match="has an attention of its own"):
        one.configure(found, found.runs[0])


def test_a_run_in_mixed_precision_is_known_by_it(tmp_path, monkeypatch):
    found, plain = experiment(tmp_path, amp="bfloat16"), experiment(tmp_path)
    pretend_units(monkeypatch)
    config = one.configure(found, found.runs[0])
    assert (config.optim_wrapper.type, config.optim_wrapper.dtype) == (
        "CPUAmpOptimWrapper",
        "bfloat16",
    )
    assert fingerprint(config) != fingerprint(one.configure(plain, plain.runs[0]))
    pretend_a_gpu(monkeypatch)
    wrapper = one.configure(found, found.runs[0]).optim_wrapper
    assert (wrapper.type, wrapper.dtype) == ("AmpOptimWrapper", "bfloat16")


def pretend_units(monkeypatch, *units):
    names = dict.fromkeys(units or ("avx512_bf16",), True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: names)


def pretend_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)


def test_a_run_that_would_leave_no_record_is_refused(tmp_path):
    found = experiment(tmp_path, options={"custom_hooks": []})
    with pytest.raises(UserError, match="leaves no record"):
        one.configure(found, found.runs[0])


def test_the_gates_learning_rate_is_no_other_setting():
    config = load_config(RIGHT["config"])
    before = setting(config)
    config.optim_wrapper.paramwise_cfg.custom_keys.attention.lr_mult = 10.0
    assert setting(config) == before != fingerprint(config)
    for there in ({}, None):
        config.optim_wrapper.paramwise_cfg = there
        without = setting(config)
        config.optim_wrapper.paramwise_cfg = dict(custom_keys=dict(attention=dict(lr_mult=10.0)))
        assert setting(config) == without


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": []}, "seeds must be a list that is not empty"),
        ({"seeds": [0, "1"]}, "seeds must be whole numbers from 0 on"),
        ({"seeds": [0, 0]}, "two runs would be called psa_seed0"),
        ({"attentions": ["PSA"]}, "attentions must be a mapping"),
        ({"attentions": {"PSA": {"layout": "parallel"}}}, "an attention must have a type"),
        ({"placements": {"head": {"model.decode_head": 1}}}, "one of them ATTENTION"),
        ({"demo": "yes please"}, "demo must be true or false"),
        ({"records": None, "record": "a"}, "record is not one of config, records"),
        ({"amp": "int8"}, "amp must be bfloat16 or float16"),
        ({"variants": {"x10": 10}}, "'x10' must map options of the config"),
        ({"settings": {"x10": 10}}, "'x10' must map options of the config"),
        (
            {"leave_out": ["SE, head"]},
            "leave_out can have 'none', 'PSA', 'SE', each once, and has 'SE, head'",
        ),
        ({"settings": {"x10": 0}}, "'x10' must map options of the config"),
        (
            {"settings": {"a": {"x": 1}, "b": {"x": 1}}},
            "'none, a' and 'none, b' would train the same",
        ),
        ({"leave_out": [["SE"]]}, r"leave_out can have .* and has \['SE'\]"),
        ({"leave_out": ["none", "PSA", "SE"]}, "leave_out leaves no run"),
        (
            {"comparisons": ["SE", "SE"]},
            "comparisons can have 'PSA', 'SE', each once, and has 'SE'",
        ),
        (
            {"comparisons": ["PSA, neck"]},
            "comparisons can have 'PSA', 'SE', each once, and has 'PSA, neck'",
        ),
        ({"options": {1: 2}}, "'options' must map options of the config"),
        ({"atentions": {}}, "atentions is not one of config, records"),
        ({"attentions": {"P+": {"type": "A"}, "P-": {"type": "A"}}}, "would be called p_seed0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_file_is_a_message(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as raised:
        experiment(tmp_path, **changes)
    assert "trial.yaml" in str(raised.value)


@pytest.mark.parametrize(
    "options", [{"train_cfg": None}, {"no.such": 1}, {"custom_hooks": [{"a": 1}]}], ids=str
)
def test_an_option_that_does_not_fit_is_a_message_that_names_the_file(tmp_path, options):
    found = experiment(tmp_path, options=options)
    with pytest.raises(UserError, match=r"trial\.yaml"):
        one.configure(found, found.runs[0])


def test_an_attention_that_would_not_be_seen_is_no_plain_network(tmp_path):
    found = experiment(tmp_path, placements={"nowhere": {"model.test_cfg.x": "ATTENTION"}})
    with pytest.raises(UserError, match=r"psa_seed0 .* would train a network without attention"):
        one.configure(found, found.find("psa_seed0"))


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "7"])
def test_what_is_no_experiment_is_a_message(tmp_path, text):
    path = tmp_path / "trial.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"trial\.yaml"):
        read_experiment(str(path))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/experiments").glob("*.yaml")), ids=lambda p: p.stem
)
def test_ours_can_be_run(path, streets, monkeypatch):
    monkeypatch.setattr(one, "draw", lambda root: streets)
    monkeypatch.setenv("CAMVID_ROOT", "somewhere")
    monkeypatch.setenv("CRACKFOREST_ROOT", "somewhere")
    (pretend_a_gpu if "gpu" in path.stem else pretend_units)(monkeypatch)
    found = read_experiment(str(path))
    for run in found.runs:
        config = one.configure(found, run)
        placed = attentions(config.model)
        assert bool(placed) == run.attends, "a placement that places nothing"
        assert found.record_of(run).parent.parent == ROOT / "benchmarks/experiments/../results"
        if found.record_of(run).is_file():  # of version 1, it is known by what it tells in words
            assert one.is_finished(found, run, config)
            config.optim_wrapper.optimizer.lr = 5.0
            with pytest.raises(UserError, match=r"there +(lr|fingerprint)"):
                one.is_finished(found, run, config)
