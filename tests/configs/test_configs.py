"""Every config is complete, self-contained, and takes a step at full depth and small width."""

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from benchmarks.tables import baseline_of
from psa_seg.engine import variables
from psa_seg.engine.config import load_config, override
from psa_seg.engine.demo import CROP_SIZE
from psa_seg.engine.doctor import check_sizes, has_batch_norm
from psa_seg.engine.doctor.data import leaves
from psa_seg.engine.runner import PairedRunner
from psa_seg.errors import UserError
from psa_seg.models.placement import decode_heads, without_attention
from tests.conftest import ROOT

BASES = sorted((ROOT / "configs").rglob("*.py"))
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))


@pytest.mark.parametrize("name", CONFIGS)
def test_one_training_step_and_one_prediction(tiny, name):
    runner = Runner.from_cfg(tiny(name))
    model = runner.model
    batch = model.data_preprocessor(next(iter(runner.train_dataloader)), training=True)
    assert batch["inputs"].shape[2:] == CROP_SIZE
    loss, _ = model.parse_losses(model(**batch, mode="loss"))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in model.parameters())
    (prediction,) = model.eval().val_step(next(iter(runner.val_dataloader)))
    assert prediction.pred_sem_seg.shape == (128, 256), "scored at the images' own size"


def test_a_path_of_windows_in_a_variable_is_taken_as_it_is(monkeypatch, tmp_path):
    """And told once, though a config's bases are read more than once."""
    found = {path: variables.PLACE.findall(path.read_text()) for path in BASES}
    places = {path: {name for _, name, _ in each} for path, each in found.items() if each}
    names = set.union(*places.values())
    assert len(names) > 8
    given = {name: rf"C:\Users\new\{tmp_path.name}\1's \"{name}\"" for name in names}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    said = []
    monkeypatch.setattr(variables, "print_log", lambda text, logger: said.append(text))
    for path in [*places, *places]:
        config = repr(variables.read(str(path)).to_dict())
        assert all(repr(given[name])[1:-1] in config for name in places[path]), path
    assert sorted(text.partition("=")[0] for text in said) == sorted(names)


def test_variables_in_files_of_every_kind(monkeypatch, tmp_path):
    """Values as they are; defaults, which are text of the file, too; an empty one is told."""
    value = 'C:\\new\n"x"'
    monkeypatch.setenv("SET", value)
    monkeypatch.delenv("UNSET", raising=False)
    (tmp_path / "a.py").write_text('a = "{{$SET:x}}"\nb = "{{$UNSET:C:\\\\new}}"\n')
    (tmp_path / "a.json").write_text('{"a": "{{$SET:x}}", "b": "{{$UNSET:C:\\\\new}}"}')
    for kind in ("py", "json"):
        config = variables.read(str(tmp_path / f"a.{kind}"))
        assert (config.a, config.b) == (value, "C:\\new"), kind
    (tmp_path / "code.py").write_text("a = {{'$SET:1'}}\n")
    monkeypatch.setenv("SET", "[1, 2]")
    assert variables.read(str(tmp_path / "code.py")).a == [1, 2]
    monkeypatch.setenv("SET", "")
    with pytest.raises(UserError, match=r"SET of the environment is empty(.|\n)*where .*a.py"):
        load_config(str(tmp_path / "a.py"))


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("psa_")])
def test_differs_from_its_baseline_in_the_attention_alone(name):
    config = load_config(str(ROOT / f"configs/{name}.py"))
    baseline = load_config(str(ROOT / f"configs/{baseline_of(name)}.py"))
    assert config.model != baseline.model
    config.model = without_attention(config.model)
    for key in baseline.to_dict():
        assert config[key] == baseline[key], key


@pytest.mark.parametrize("name", CONFIGS)
def test_classes_are_those_of_the_data(name):
    config = load_config(str(ROOT / f"configs/{name}.py"))
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        for _, dataset in leaves(loader.dataset):
            classes = DATASETS.get(dataset.type).METAINFO["classes"]
            for head in [*decode_heads(config.model), config.model.get("auxiliary_head")]:
                assert head is None or head.num_classes == len(classes)
            assert dataset.pipeline[0].type == "LoadImageFromFile"
    assert check_sizes(config) == []
    assert has_batch_norm(config), "what a doctor builds, it can build"


def test_a_warm_up_keeps_its_share_of_a_short_training(tiny):
    config = load_config(str(ROOT / "configs/psa_upernet_swin_ade20k.py"))
    for iterations, bounds in ((80000, (1500, 80000)), (800, (15, 800))):
        override(config, {"train_cfg.max_iters": iterations})
        first, second = config.param_scheduler
        assert (first.begin, first.end, second.begin, second.end) == (0, bounds[0], *bounds)
    first, second = tiny("psa_upernet_swin_ade20k").param_scheduler
    assert (first.end, second.begin, second.end) == (6, 6, 700)


def test_the_main_config_is_mmsegmentations_baseline():
    """Recipe of deeplabv3plus_r50-d8_4xb2-80k_cityscapes-512x1024."""
    config = load_config(str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py"))
    assert (config.train_dataloader.batch_size, config.train_cfg.max_iters) == (8, 80000)
    assert config.train_pipeline[3].crop_size == config.model.data_preprocessor.size == (512, 1024)
    optimizer = dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4)
    assert config.optim_wrapper.optimizer == optimizer
    assert config.model.backbone.depth == 50
    assert config.model.decode_head.attention == {"type": "PolarizedSelfAttention"}


def test_gates_have_a_setting_of_their_own(tiny):
    """`attention` in the one `paramwise_cfg` reaches the gates, though they lie in the head."""
    config = tiny("psa_deeplabv3plus_camvid")
    config.optim_wrapper.paramwise_cfg.custom_keys.attention.lr_mult = 3.0
    runner = PairedRunner.from_cfg(config)
    groups = runner.build_optim_wrapper(runner.optim_wrapper).optimizer.param_groups
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    base = config.optim_wrapper.optimizer.lr
    for name, parameter in runner.model.named_parameters():
        expected = 3 * base if ".attention." in name else base
        assert torch.tensor(rate[id(parameter)]).isclose(torch.tensor(expected)), name
