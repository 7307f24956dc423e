"""What a validation would stumble over is found before the first step."""

import json

import pytest
from mmseg.registry import HOOKS

from psa_seg.engine.options import require_confidence, score_also
from psa_seg.errors import UserError
from psa_seg.records import read
from tests.conftest import evaluate, train

BASE = "psa_deeplabv3plus_r18_cityscapes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"default_hooks.checkpoint.save_best": "miou"}, r"'miou', and no(.|\n)*meant +mIoU\?"),
        ({"default_hooks.checkpoint.save_best": "val_loss"}, "with ValidationLossHook val_loss"),
        (
            {"custom_hooks": [dict(type="EarlyStoppingHook", monitor="IoU")]},
            r"EarlyStoppingHook\.monitor is 'IoU'",
        ),
        ({"default_hooks.checkpoint.save_best": "mF1"}, "'mF1', and no"),
        (
            {"default_hooks.checkpoint.save_best": "ECE", "val_evaluator.also": ["calibration"]},
            "default_hooks.checkpoint.rule=less",
        ),
        (
            {
                "custom_hooks": [dict(type="EarlyStoppingHook", monitor="mF1")],
                "val_evaluator.also": ["f1"],
            },
            "EarlyStoppingHook.rule=greater",
        ),
        ({"plan": {"seeds": ["a"]}}, "plan.seeds.0 must be a whole number"),
        ({"plan": {"foo": 1}}, "plan"),
        ({"plan": {"seeds": [1, 2]}}, "plan.seeds do not have seed 0"),
        ({"val_evaluator.also": 5}, "also is 5, and must be a list"),
        ({"model.test_cfg.mode": "slide"}, "crop_size is None"),
        ({"score": "rode IoU"}, "score 'rode IoU' is none of mIoU, .* nor a class's"),
        ({"score": "road F1"}, r"is not scored\n.*also=\['f1'\]"),
        ({"val_evaluator.also": ["mIoU"]}, "there is no score 'mIoU'"),
    ],
)
def test_what_a_validation_would_stumble_over_is_a_message(tiny, options, message):
    with pytest.raises(UserError, match=message):
        train(tiny(BASE, **options))


def test_further_scores_are_in_the_record_and_those_of_a_test(tiny, tmp_path, capsys):
    also = ["boundary", "f1", "calibration"]
    options = {"train_cfg.max_iters": 2, "custom_hooks.0.samples": 1, "score": "road F1"}
    train(tiny(BASE, **options, **{"val_evaluator.also": also, "test_dataloader.batch_size": 2}))
    assert "road F1 " in capsys.readouterr().out.splitlines()[-1]
    record = read(tmp_path / "work/record.json")
    assert record.score == "road F1"
    last = record.last.scores()
    for name, more in {"once": {}, "augmented": {"tta": True}}.items():
        config = tiny(BASE, **{"test_dataloader.batch_size": 2})
        config.work_dir = str(tmp_path / name)
        evaluate(config, str(tmp_path / "work/iter_2.pth"), also=also, **more)
        (found,) = (tmp_path / name).glob("*/*.json")
        found = json.loads(found.read_text())
        for score in ("mIoU", "mBIoU", "mF1", "ECE"):
            same = found[score] == pytest.approx(float(last[score]), rel=1e-6)
            assert same or name == "augmented", score
            assert 0 <= found[score] <= 100


def test_a_run_goes_on_with_the_score_that_it_began_with(tiny):
    options = {"param_scheduler.0.end": 4, "custom_hooks.0.samples": 1}
    train(tiny(BASE, **options, **{"train_cfg.max_iters": 2}))
    options |= {"score": "mF1", "val_evaluator.also": ["f1"], "resume": True}
    with pytest.raises(UserError, match="began with the score mIoU, and not with mF1"):
        train(tiny(BASE, **options, **{"train_cfg.max_iters": 4}))


def test_an_arm_goes_on_with_the_plan_that_it_began_with(tiny, tmp_path):
    options = {"param_scheduler.0.end": 4, "custom_hooks.0.samples": 1}
    plan = dict(seeds=[0, 1], comparisons=["PSA"])
    train(tiny(BASE, **options, **{"train_cfg.max_iters": 2, "plan": plan}))
    options |= {"resume": True, "train_cfg.max_iters": 4}
    with pytest.raises(UserError, match=r"experiment's plan differs(.|\n)*seeds=\(0, 1\)"):
        train(tiny(BASE, **options, plan=plan | dict(seeds=[0, 1, 2])))
    train(tiny(BASE, **options))
    assert read(tmp_path / "work/record.json").plan.seeds == (0, 1), "resumed by hand"


def test_what_a_test_scores_besides(tiny):
    config = tiny(BASE, **{"test_evaluator.also": ["boundary"]})
    score_also(config, ["f1", "boundary"])
    assert config.test_evaluator.also == ["boundary", "f1"]
    config.test_evaluator.also = "f1"
    with pytest.raises(UserError, match=r"also is 'f1', and must be a list(.|\n)*test_evaluator"):
        score_also(config, ["boundary"])
    config.test_evaluator = dict(type="mmseg.ConfusionMetric")
    score_also(config, ["f1"])
    assert config.test_evaluator.also == ["f1"]
    config.tta_model.type = "SegTTAModel"
    with pytest.raises(UserError, match="SegTTAModel of LeanEncoderDecoder does not give"):
        require_confidence(config)
    config.test_evaluator = dict(type="IoUMetric")
    with pytest.raises(UserError, match="which test_evaluator has not"):
        score_also(config, ["f1"])


def test_scores_of_a_hook_of_ones_own_pass(tiny, monkeypatch):
    """Its names are not known before it has run."""

    class Scorer(HOOKS.get("EMAHook")):
        def after_val_epoch(self, runner, metrics=None):
            super().after_val_epoch(runner, metrics)
            metrics["dice"] = 1.0

    monkeypatch.setitem(HOOKS.module_dict, "Scorer", Scorer)
    options = {"custom_hooks": [dict(type="Scorer")], "train_cfg.max_iters": 1}
    best = {
        "default_hooks.checkpoint.save_best": "dice",
        "default_hooks.checkpoint.rule": "greater",
    }
    train(tiny(BASE, **options, **best))
