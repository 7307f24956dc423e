"""Numbers that are none: a step that has them is left out, five in a row end the run."""

import copy
import itertools
import math
import re
import signal
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from mmseg.registry import MODELS

from psa_seg.checkpoints.reading import load_checkpoint, not_finite
from psa_seg.engine import tool
from psa_seg.engine.guard import Guard
from psa_seg.engine.hooks import ReportHook
from psa_seg.engine.runner import PairedRunner
from psa_seg.engine.signals import Interrupted
from psa_seg.errors import DivergedError, UserError
from psa_seg.models.segmentors import LeanEncoderDecoder
from psa_seg.records import read
from tests.conftest import answering_signals, evaluate, train
from tests.leaderboard.invented import record
from tests.quick import CROPS, NO_VALIDATION

NAME = "psa_deeplabv3plus_r18_cityscapes"
OPTIONS = {
    "train_cfg.max_iters": 8,
    "default_hooks.checkpoint.interval": 1,
    **CROPS,
    "model.decode_head.dropout_ratio": 0,
    "model.auxiliary_head.dropout_ratio": 0,
    **NO_VALIDATION,
}
LOSS = LeanEncoderDecoder.loss


@pytest.fixture
def ill(tiny, monkeypatch):
    """A function: train, with a loss or a gradient that is no number in some passes.

    It returns the runner, and weights and buffers after each step.
    """

    def ill(steps, what="loss", value=float("nan"), **options):
        passes, states, runners, hooked = iter(range(100)), [], [], []

        def loss(model, *args):
            found = LOSS(model, *args)
            while hooked:
                hooked.pop().remove()
            if next(passes) not in steps:
                return found
            if what == "loss":
                found["decode.loss_ce"] = found["decode.loss_ce"] * value
            else:
                weight = next(model.parameters())
                hooked.append(weight.register_hook(lambda gradient: gradient * value))
            return found

        trained, step = PairedRunner.train, Runner.call_hook

        def call_hook(runner, name, **kwargs):
            if name == "after_train_iter":
                states.append(copy.deepcopy(runner.model.state_dict()))
            step(runner, name, **kwargs)

        monkeypatch.setattr(LeanEncoderDecoder, "loss", loss)
        monkeypatch.setattr(Runner, "call_hook", call_hook)
        monkeypatch.setattr(PairedRunner, "train", lambda r: (runners.append(r), trained(r)))
        train(tiny(NAME, **OPTIONS | options))
        return runners[0], states

    return ill


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("what", "value"), [("loss", float("nan")), ("loss", float("-inf")), ("gradient", float("nan"))]
)
def test_a_bad_step_is_left_out_and_the_next_is_as_ever(ill, capsys, what, value):
    options = {"train_cfg.max_iters": 3, "optim_wrapper.clip_grad": dict(max_norm=1.0)}
    runner, states = ill({1}, what, value, **options)
    assert same(states[0], states[1]), "BatchNorm's statistics, too"
    assert not same(states[1], states[2])
    assert not not_finite(states[2])
    assert runner.message_hub.get_info("bad_steps") == 1
    assert runner.message_hub.get_info("bad_steps_in_a_row") == 0
    told = f"its loss is {value}" if what == "loss" else "its gradients are not finite"
    assert f"step 2 is left out: {told} (1 in a row; 5 end the run)" in capsys.readouterr().out


def test_of_a_step_of_several_passes_one_bad_one_is_enough(ill):
    options = {"train_dataloader.batch_size": 4, "train_cfg.micro_batch_size": 2}
    _, states = ill({2}, **options, **{"train_cfg.max_iters": 3})  # of steps 0 0 1 1 2 2
    assert [same(*pair) for pair in itertools.pairwise(states)] == [True, False]


def test_five_in_a_row_end_the_run_and_say_where(ill, tmp_path, capsys):
    with pytest.raises(SystemExit) as status:
        tool.run(lambda: ill({1, 3, 4, 5, 6, 7}))
    assert status.value.code == DivergedError.status == 3
    told = capsys.readouterr().err
    assert told.startswith("error: 5 steps in a row whose loss or gradients are not finite: the ")
    assert "stops at step 8\n  losses     nan, nan, nan, nan, nan\n" in told
    assert len(re.findall(r"leftImg8bit/train/\S+\.png", told)) == 2
    assert re.search(r"of the largest sums in the last good step: (\S+ [\d.e+-]+(, )?){3}\n", told)
    assert f"last good  {tmp_path}/work/iter_1.pth\n" in told, "a good step followed it"
    names = sorted(path.name for path in (tmp_path / "work").glob("*.pth"))
    assert names == ["iter_1.pth", "iter_3.pth"], "and none is of a bad step"


def test_an_interruption_does_not_start_the_count_anew(ill, tmp_path):
    ill({1, 2, 3}, **{"train_cfg.max_iters": 4, "param_scheduler.0.end": 8})
    held = torch.load(tmp_path / "work/iter_4.pth", weights_only=False)
    assert held["message_hub"]["runtime_info"]["bad_steps_in_a_row"] == 3
    with pytest.raises(DivergedError, match="stops at step 6"):
        ill({0, 1}, resume=True, **{"param_scheduler.0.end": 8})


def test_what_loss_scaling_leaves_out_is_its_own_matter():
    """A scaler looks at gradients, and lowers its scale; a loss that is no number is not its."""
    model = torch.nn.Linear(2, 1)
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)  # which is for GPUs
    OptimWrapper.__init__(wrapper, torch.optim.SGD(model.parameters(), 1.0))
    wrapper.loss_scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    wrapper._scale_update_param = None
    guard = Guard(SimpleNamespace(model=model, optim_wrapper=wrapper))

    def step(gradient, loss):
        guard.begin()
        before = model.weight.detach().clone()
        handle = model.weight.register_hook(lambda given: given * gradient)
        wrapper.update_params(model(torch.ones(2)).sum() * loss)
        handle.remove()
        return guard.bad, torch.equal(model.weight, before), wrapper.loss_scaler.get_scale()

    assert step(1.0, 1.0) == (False, False, 4.0)
    assert step(math.inf, 1.0) == (False, True, 2.0)
    assert step(1.0, math.nan) == (True, True, 2.0)


@pytest.mark.parametrize("what", ["weights", "the optimizer's state"])
def test_what_is_no_number_is_not_saved(ill, tmp_path, monkeypatch, what):
    """A step can make it of a gradient that is finite."""
    called = PairedRunner.call_hook

    def spoil(runner, name, **kwargs):
        if name == "before_save_checkpoint" and runner.iter == 1:
            held = kwargs["checkpoint"]
            state = next(iter(held["optimizer"]["state"].values()))
            spoilt = held["state_dict"] if what == "weights" else state
            key = next(key for key, value in spoilt.items() if isinstance(value, torch.Tensor))
            spoilt[key] = spoilt[key] + float("inf")
        called(runner, name, **kwargs)

    monkeypatch.setattr(PairedRunner, "call_hook", spoil)
    said = rf"after step 2(.|\n)*NaN or Inf in 1(.|\n)*last good +{tmp_path}/work/iter_1.pth"
    with pytest.raises(DivergedError, match=said):
        ill(())
    assert [path.name for path in (tmp_path / "work").glob("*.pth")] == ["iter_1.pth"]


def test_a_learning_rate_beyond_all_bounds_leaves_no_score(tiny, tmp_path):
    options = {"optim_wrapper.optimizer.lr": 1e6, "train_cfg.max_iters": 40}
    options |= {"train_cfg.val_interval": 10, "default_hooks.checkpoint": None}
    crop = {key: OPTIONS[key] for key in OPTIONS if "size" in key}
    with pytest.raises(DivergedError, match="there is no checkpoint"):
        train(tiny(NAME, **options, **crop))
    assert not (tmp_path / "work/record.json").exists()


def test_infinities_that_are_meant_are_no_divergence():
    """A mask that is added to scores of attention, as CLIP's text encoders hold it."""
    mask = torch.full((3, 3), -math.inf).triu(1)
    assert not_finite({"attn_mask": mask, "ids": torch.arange(3)}) == []
    assert not_finite({"weight": mask + 1}) == ["weight"]
    assert not_finite({"all": torch.full((3, 3), math.inf)}) == ["all"]
    assert not_finite({"a": [{"b": torch.tensor(math.nan)}]}) == ["a.0.b"]


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e25), (torch.float16, 6e4)])
def test_gradients_whose_squares_or_sums_overflow_are_finite(dtype, scale):
    model = torch.nn.Linear(9, 1, dtype=dtype)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 0.0))
    guard = Guard(SimpleNamespace(model=model, optim_wrapper=wrapper))
    guard.begin()
    wrapper.update_params(model(torch.full((1, 9), scale, dtype=dtype)).sum() * 0.5)
    assert not guard.bad


def test_an_optimizer_that_a_model_steps_by_itself_is_left_alone(tiny, tmp_path, monkeypatch):
    """A signal ends the run none the less."""

    def train_step(model, data, optim_wrapper):
        signal.raise_signal(signal.SIGTERM)
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(LeanEncoderDecoder, "train_step", train_step)
    with answering_signals(), pytest.raises(Interrupted, match="SIGTERM"):
        train(tiny(NAME, **OPTIONS))
    assert (tmp_path / "work/iter_1.pth").exists()


def test_a_record_tells_of_steps_that_were_left_out(tmp_path):
    hook, hub = ReportHook(), SimpleNamespace(runtime_info={"bad_steps": 3})
    hook.path, hook.started, hook.record = tmp_path / "record.json", 0.0, record()
    hook._write(SimpleNamespace(message_hub=hub))
    assert read(hook.path).left_out == 3


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_wherever_they_come(tiny, tmp_path, value):
    config = tiny(NAME)
    state = MODELS.build(config.model).state_dict()
    state["decode_head.conv_seg.bias"][3] = value
    path = str(tmp_path / "iter_1.pth")
    torch.save({"state_dict": state}, path)
    said = r"NaN or Inf in 1 of \d+ tensors, decode_head.conv_seg.bias first"
    for use in (load_checkpoint, lambda path: evaluate(config, path)):
        with pytest.raises(UserError, match=said):
            use(path)
    config.load_from = path
    with pytest.raises(UserError, match=said):
        train(config)
