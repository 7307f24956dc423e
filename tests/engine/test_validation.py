"""What a validation would stumble over is found before the first step."""

import pytest
from mmseg.registry import HOOKS

from psa_seg.errors import UserError
from tests.conftest import train

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
        ({"model.test_cfg.mode": "slide"}, "crop_size is None"),
    ],
)
def test_what_a_validation_would_stumble_over_is_a_message(tiny, options, message):
    with pytest.raises(UserError, match=message):
        train(tiny(BASE, **options))


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
