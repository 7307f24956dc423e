"""Messages are about the building of things; an error in what follows keeps its traceback."""

import re

import pytest
import torch
from mmseg.registry import DATASETS, MODELS

from psa_seg.datasets import RawCityscapesDataset
from psa_seg.engine.hooks import ReportHook
from psa_seg.errors import UserError
from tests.conftest import train

NAME = "psa_deeplabv3plus_cityscapes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model.decode_head.attention.type": "CBMA"}, r"meant +CBAM\?"),
        ({"model.backbone.type": "ResnetV1c"}, r"meant +ResNetV1c\?"),
        ({"train_cfg.max_iter": 5}, r"meant +max_iters\?"),
        ({"default_hooks.logger.intervall": 5}, r"meant +interval\?"),
        ({"default_hooks.checkpoint.intervall": 5}, r"meant +interval\?"),
        ({"randomness.sed": 5}, r"where +randomness\.sed"),
        ({"optim_wrapper.optimizer.type": "AdmaW"}, r"meant +AdamW\?"),
        ({"model.decode_head.init_cfg": dict(type="Nrmal")}, r"meant +Normal\?"),
        ({"param_scheduler.0.type": "PolyLr"}, r"meant +PolyLR\?"),
        ({"train_dataloader.dataset.type": "RawCityscapes"}, r"meant +RawCityscapesDataset\?"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_misspelt_names_what_is_near(tiny, options, message):
    with pytest.raises(UserError, match=message):
        train(tiny(NAME, **options))


def test_parts_that_do_not_fit_are_a_message_before_the_first_step(tiny):
    """README's lines for a ResNet-50 below a ResNet-18, say."""
    config = tiny("baseline_deeplabv3plus_r18_cityscapes")
    config.model.backbone.depth = 50
    with pytest.raises(UserError, match=r"do not fit each other.*\n.*to have 64 channels"):
        train(config)


def test_what_needs_a_package_that_is_not_here(tiny, monkeypatch):
    monkeypatch.setattr("mmseg.datasets.transforms.transforms.ALBU_INSTALLED", False)
    config = tiny(NAME)
    config.train_dataloader.dataset.pipeline.insert(2, dict(type="ReplayableAlbu", transforms=[]))
    with pytest.raises(
        UserError, match=r"that is not installed\n +albumentations is not installed\n"
    ):
        train(config)


PLUGIN = dict(cfg=dict(type="CBAM"), stages=(True,) * 4, position="after_conv2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model.backbone.depth": 51}, r"invalid depth 51 for resnet\n.*what \w+ is built of"),
        ({"optim_wrapper.optimizer.lr": "abc"}, "lr='abc' is no number"),
        ({"model.backbone.depth": 18, "model.backbone.plugins": [PLUGIN]}, "BasicBlock"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_that_is_refused_is_a_message(tiny, options, message):
    with pytest.raises(UserError, match=message):
        train(tiny(NAME, **options))


@DATASETS.register_module()
class Faulty(RawCityscapesDataset):
    """A user's own, with a fault of its author's."""

    fault = staticmethod(lambda: {}["my_bug"])

    def load_data_list(self):
        type(self).fault()
        return super().load_data_list()


class Helper:
    """A user's own."""


@pytest.mark.parametrize(
    "fault",
    [
        lambda: {}["my_bug"],
        lambda: Helper(foo=1),
        lambda: Helper(channels=3),
        lambda: torch.optim.SGD([torch.zeros(1)], lr=-1),
        lambda: MODELS.build(dict(type="Nothing")),
        lambda: int("x"),
    ],
    ids=["a key", "an option", "one that a config has", "its own", "a type", "a value"],
)
def test_a_fault_in_a_users_module_keeps_its_traceback(tiny, monkeypatch, fault):
    monkeypatch.setattr(Faulty, "fault", staticmethod(fault))
    config = tiny(NAME)
    config.train_dataloader.dataset.type = "Faulty"
    with pytest.raises((KeyError, TypeError, ValueError)) as raised:
        train(config)
    assert any(entry.name == "load_data_list" for entry in raised.traceback)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x is not in the mmseg::model registry"),
        ImportError("no module"),
        TypeError("f.__init__() got an unexpected keyword argument 'max_iter'"),
    ],
    ids=["KeyError", "ImportError", "TypeError"],
)
def test_an_error_in_training_is_no_message_about_the_config(tiny, monkeypatch, error):
    def fail(self, runner, *args, **kwargs):
        if runner.iter == 1:
            raise error

    monkeypatch.setattr(ReportHook, "after_train_iter", fail)
    with pytest.raises(type(error), match=re.escape(str(error.args[0]))):
        train(tiny(NAME, **{"train_cfg.max_iters": 2}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_at_all", r"ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("x = 1\nprint(undefined)", r"NameError: name 'undefined' is not defined"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_users_module_that_fails_says_what_failed_inside_it(
    tiny, tmp_path, monkeypatch, text, message
):
    (tmp_path / "their_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny(NAME, **{"custom_imports.imports": ["their_module"]})
    with pytest.raises(UserError, match=message) as error:
        train(config)
    assert "their_module of custom_imports cannot be imported" in str(error.value)
    assert "SyntaxError" in message or f"{tmp_path}/their_module.py:" in str(error.value)
