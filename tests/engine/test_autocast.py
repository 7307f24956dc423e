"""Mixed precision on a CPU: what computes in bfloat16, what does not, and where it is refused."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn

from psa_seg.engine import demo, options
from psa_seg.engine.autocast import CPUAmpOptimWrapper, has_bfloat16, precision
from psa_seg.engine.doctor import environment
from psa_seg.engine.doctor.environment import check_precision
from psa_seg.engine.runner import PairedRunner
from psa_seg.errors import UserError
from psa_seg.records import read
from tests.conftest import train
from tests.quick import CROPS

BASELINE = "baseline_deeplabv3plus_cityscapes"
BFLOAT16 = {"optim_wrapper.type": "CPUAmpOptimWrapper", "optim_wrapper.dtype": "bfloat16"}
SHORT = {
    "train_cfg.max_iters": 2,
    "train_cfg.val_interval": 2,
    "custom_hooks.0.samples": 1,
    **CROPS,
}
IDENTITY = {
    "model.decode_head.type": "PolarizedASPPHead",
    "model.decode_head.attention": {"type": "PolarizedSelfAttention", "init": "identity"},
}


def units(monkeypatch, **found):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)


@pytest.mark.parametrize("unit", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_amp_is_bfloat16_on_a_processor_that_has_it(tiny, monkeypatch, unit):
    units(monkeypatch, avx2=True, **{unit: True})
    config = tiny(BASELINE)
    options.use_amp(config)
    assert (config.optim_wrapper.type, config.optim_wrapper.dtype) == (
        "CPUAmpOptimWrapper",
        "bfloat16",
    )
    assert config.channels_last


@pytest.mark.parametrize(
    ("dtype", "message"),
    [(None, "units for bfloat16"), ("bfloat16", "units for bfloat16"), ("float16", "needs a GPU")],
)
def test_elsewhere_it_is_one_message(tiny, monkeypatch, dtype, message):
    units(monkeypatch, avx2=True, avx512_bf16=False)
    config = tiny(BASELINE)
    with pytest.raises(UserError, match=message) as raised:
        options.use_amp(config, dtype)
    assert "  do         " in str(raised.value)
    assert config.optim_wrapper.type == "OptimWrapper"


@pytest.mark.parametrize("gpu", [True, False])
def test_a_wrapper_for_other_hardware_is_a_message(tiny, monkeypatch, gpu):
    """On a GPU, autocast of the CPU would be none, and the record would say bfloat16."""
    units(monkeypatch, bf16=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    kinds = ["AmpOptimWrapper", "CPUAmpOptimWrapper"]
    found = [check_precision(tiny(BASELINE, **{"optim_wrapper.type": kind})) for kind in kinds]
    assert [bool(wrong) for wrong in found] == [not gpu, gpu]
    if not gpu:
        with pytest.raises(UserError, match="AmpOptimWrapper is for a GPU"):
            train(tiny(BASELINE, **{"optim_wrapper.type": "AmpOptimWrapper"}))


def test_a_processor_without_units_is_told_of_whoever_names_the_wrapper(tiny, monkeypatch):
    units(monkeypatch, avx2=True)
    (message,) = check_precision(tiny(BASELINE, **BFLOAT16))
    assert "for processors with units for bfloat16" in message


def test_a_wrapper_of_ones_own_is_not_displaced(tiny):
    config = tiny(BASELINE, **{"optim_wrapper.type": "ApexOptimWrapper"})
    with pytest.raises(UserError, match=r"--amp(.|\n)*optim_wrapper\.type is ApexOptimWrapper"):
        options.use_amp(config)


@pytest.mark.parametrize(
    ("wrapper", "dtype"),
    [
        (dict(type="OptimWrapper"), "float32"),
        (dict(type="CPUAmpOptimWrapper"), "bfloat16"),
        (dict(type=CPUAmpOptimWrapper), "bfloat16"),
        (dict(type="AmpOptimWrapper"), "float16"),
        (dict(type="AmpOptimWrapper", dtype="bfloat16"), "bfloat16"),
    ],
)
def test_a_record_tells_the_precision_that_a_wrapper_has(wrapper, dtype):
    assert precision(Config(dict(optim_wrapper=wrapper))) == dtype


def test_only_bfloat16():
    parameter = nn.Parameter(torch.ones(1))
    wanted = dict(type="CPUAmpOptimWrapper", optimizer=torch.optim.SGD([parameter]))
    assert isinstance(OPTIM_WRAPPERS.build(wanted), CPUAmpOptimWrapper)
    with pytest.raises(ValueError, match="not in float16"):
        OPTIM_WRAPPERS.build({**wanted, "dtype": "float16"})


def test_steps_compute_in_bfloat16_and_all_that_is_kept_is_float32(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "has_bfloat16", lambda: True)  # slow without, and the same
    seen, runners = set(), []

    def watch(runner):
        runners.append(runner)
        runner.bare_model.backbone.layer1[0].conv1.register_forward_hook(
            lambda layer, inputs, out: seen.add((layer.training, out.dtype))
        )
        return after(runner)

    after = PairedRunner.train
    monkeypatch.setattr(PairedRunner, "train", watch)
    train(tiny(BASELINE, **SHORT, **BFLOAT16))
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}, "and scores are in float32"
    states = runners[0].optim_wrapper.optimizer.state.values()
    kept = [*runners[0].model.state_dict().values()]
    kept += [moment for state in states for moment in (state["exp_avg"], state["exp_avg_sq"])]
    assert {t.dtype for t in kept if t.is_floating_point()} == {torch.float32}
    assert read(tmp_path / "work/record.json").precision == "bfloat16"


def test_paired_starts_hold_in_it(tiny, tmp_path):
    """The first loss of an identity start is the plain network's, bit for bit; float32's nearly."""
    first = {}
    for name, changed in {
        "float32": {},
        "plain": BFLOAT16,
        "identity": BFLOAT16 | IDENTITY,
    }.items():
        once = SHORT | {"train_cfg.max_iters": 1, "val_dataloader.dataset.indices": 1}
        config = tiny(BASELINE, **once, **changed, custom_hooks=[])
        config.work_dir = config.visualizer.name = str(tmp_path / name)
        runner = PairedRunner.from_cfg(config)
        runner.train()
        losses, _ = runner.message_hub.get_scalar("train/loss").data
        first[name] = float(losses[0])
    assert first["identity"] == first["plain"] != first["float32"]
    assert first["plain"] == pytest.approx(first["float32"], rel=0.02)


@pytest.mark.parametrize("has_units", [True, False])
def test_the_demo_takes_it_where_it_can(tiny, streets, monkeypatch, has_units):
    units(monkeypatch, avx512_bf16=has_units)
    assert has_bfloat16() == has_units
    monkeypatch.setattr(demo, "prepare", lambda root: streets)
    config = tiny(BASELINE)
    demo.make_demo(config)
    demo.quicken(config, ["optim_wrapper.type"])
    assert config.optim_wrapper.type == "OptimWrapper", "as somebody has chosen"
    config.optim_wrapper.type = "ApexOptimWrapper"
    demo.quicken(config, [])
    assert config.optim_wrapper.type == "ApexOptimWrapper", "as the config has it"
    config.optim_wrapper.type = "OptimWrapper"
    demo.quicken(config, [])
    wrapper = "CPUAmpOptimWrapper" if has_units else "OptimWrapper"
    assert config.optim_wrapper.type == wrapper
    assert config.optim_wrapper.optimizer.fused
    config.optim_wrapper.optimizer = dict(type="RMSprop", lr=0.1)
    demo.quicken(config, [])
    assert "fused" not in config.optim_wrapper.optimizer
