"""A checkpoint with the same keys and another function is refused, wherever it is given."""

import copy

import pytest
import torch
from mmseg.registry import MODELS

from psa_seg.attention.base import Attention
from psa_seg.checkpoints.convert import Order
from psa_seg.checkpoints.reading import load_checkpoint
from psa_seg.engine.doctor import check_checkpoint
from psa_seg.errors import UserError
from psa_seg.models.function import differences
from tests.checkpoints.foreign import convert
from tests.conftest import evaluate, train

NAME = "psa_deeplabv3plus_cityscapes"
BASELINE = "baseline_deeplabv3plus_cityscapes"
OTHERS = {
    "model.decode_head.attention.layout": "sequential",
    "model.decode_head.align_corners": True,
    "model.decode_head.dilations": (1, 6, 12, 18),
    "model.backbone.dilations": (1, 1, 1, 1),
    "model.backbone.strides": (1, 2, 2, 1),
    "model.backbone.style": "caffe",
    "model.backbone.norm_cfg.eps": 0.1,
    "model.data_preprocessor.mean": [0.0, 0.0, 0.0],
    "model.data_preprocessor.bgr_to_rgb": False,
}
ALIKE = {
    "lean or not": {"model.type": "EncoderDecoder"},
    "with the name of its library": {"model.type": "mmseg.EncoderDecoder"},
    "losses": {"model.decode_head.loss_decode.loss_weight": 3.0},
    "dropout": {"model.decode_head.dropout_ratio": 0.5},
    "start": {"model.decode_head.init_cfg": dict(type="Normal", std=1.0)},
    "start of the attention": {"model.decode_head.attention.init": "identity"},
    "a default, written down": {"model.decode_head.attention.layout": "parallel"},
    "how it is tested": {"model.test_cfg": dict(mode="slide", crop_size=(64, 64), stride=(32, 32))},
    "norm of one GPU": {"model.backbone.norm_cfg.type": "BN"},
    "crop": {"model.data_preprocessor.size": (64, 64)},
    "written out": {"model.decode_head.out_channels": 19, "model.backbone.plugins": []},
    "in place": {"model.decode_head.act_cfg": dict(type="ReLU", inplace=True)},
    "frozen": {"model.backbone.frozen_stages": 1},
}


class Doubling(Attention):
    """Without a weight."""

    def attend(self, x):
        return 2 * x


@pytest.fixture
def doubling():
    MODELS.register_module(module=Doubling)
    yield
    MODELS.module_dict.pop("Doubling")  # other tests try all that there are


def saved(config, path, with_config=True):
    """A checkpoint of this config's model, as mmengine writes it."""
    meta = {"meta": {"cfg": config.pretty_text, "seed": 0}} if with_config else {}
    torch.save({"state_dict": MODELS.build(config.model).state_dict(), **meta}, path)
    return str(path)


@pytest.mark.parametrize("key", OTHERS)
def test_another_function_is_told(tiny, key):
    there, here = tiny(NAME), tiny(NAME)
    there.merge_from_dict({key: OTHERS[key]})
    (found,) = differences(there.model, here.model)
    value = list(OTHERS[key]) if isinstance(OTHERS[key], tuple) else OTHERS[key]
    assert found.startswith(f"{key} is {value!r} there")


@pytest.mark.parametrize("what", ALIKE)
def test_what_may_differ(tiny, what):
    other = tiny(NAME)
    other.merge_from_dict(ALIKE[what])
    assert differences(other.model, tiny(NAME).model) == []
    assert differences(tiny(NAME).model, other.model) == []


def test_an_attention_that_is_new_is_no_difference(tiny):
    """Starting from the plain network; the other way round, it would be lost."""
    plain, ours = tiny(BASELINE).model, tiny(NAME).model
    assert differences(plain, ours, new_attention=True) == []
    assert differences(plain, ours), "nothing is new in a test"
    assert differences(ours, plain, new_attention=True)
    both = copy.deepcopy(ours)
    both.neck = dict(type="PolarizedNeck", in_channels=[32, 64, 128, 256])
    assert differences(ours, both, new_attention=True) == []


def test_testing_and_starting_refuse_it(tiny, tmp_path):
    """Parallel scored under sequential gave 30.3 for 40.3 mIoU without a word."""
    path = saved(tiny(NAME, **{"model.decode_head.attention.layout": "sequential"}), tmp_path / "s")
    for start in (
        lambda: evaluate(tiny(NAME), path),
        lambda: train(tiny(NAME, load_from=path)),
    ):
        with pytest.raises(UserError, match="is of another function") as error:
            start()
        assert "attention.layout is 'sequential' there, and 'parallel' here" in str(error.value)
    assert not (tmp_path / "work").exists()


def test_a_file_that_does_not_tell_its_config_is_taken_with_a_line(tiny, tmp_path, capsys):
    path = saved(tiny(BASELINE), tmp_path / "plain.pth", with_config=False)
    evaluate(tiny(BASELINE), path)
    assert f"{path} does not tell the config it was trained with" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    ["import os\nos.system('touch sprung')", "model = open('sprung', 'w')", "model = 1", "", 7],
)
def test_a_config_in_a_checkpoint_is_read_as_data(tiny, tmp_path, monkeypatch, text, capsys):
    """What is no config is no config: the file then tells of none."""
    monkeypatch.chdir(tmp_path)
    config = tiny(BASELINE)
    state = MODELS.build(config.model).state_dict()
    torch.save({"state_dict": state, "meta": {"cfg": text}}, "a.pth")
    evaluate(config, "a.pth")
    assert "a.pth does not tell" in capsys.readouterr().out
    assert not (tmp_path / "sprung").exists()


def test_a_converted_checkpoint_is_held_to_the_config_it_came_with(tiny, tmp_path):
    """An attention was added that does nothing; nothing else may be new."""
    saved(tiny(BASELINE), tmp_path / "plain.pth")
    identity = {"model.decode_head.attention.init": "identity"}
    tiny(NAME, **identity).dump(tmp_path / "config.py")
    order = Order("deeplabv3plus", tmp_path / "plain.pth", tmp_path / "ours.pth")
    order.config = str(tmp_path / "config.py")
    convert(order)
    found = load_checkpoint(str(order.out))
    assert check_checkpoint(tiny(NAME, **identity).model, found, "ours.pth") == []
    other = tiny(NAME, **identity, **{"model.decode_head.dilations": (1, 6, 12, 18)})
    (finding,) = check_checkpoint(other.model, found, "ours.pth")
    assert "decode_head.dilations is [1, 12, 24, 36] there" in finding


def test_a_converted_checkpoint_is_held_to_its_layout(tiny):
    model = tiny(NAME).model
    meta = {"converted": {"kind": "port", "layout": "sequential"}}
    found = {"state_dict": MODELS.build(model).state_dict(), "meta": meta}
    (finding,) = check_checkpoint(model, found, "ours.pth")
    assert "attention.layout is 'sequential' there" in finding
    model.decode_head.attention.layout = "sequential"
    assert check_checkpoint(model, found, "ours.pth") == []


def test_an_attention_without_weights_is_another_function(tiny, doubling):
    """It has no key by which it could be missed: in a test it counts, in a start it is new."""
    plain, ours = tiny(BASELINE), tiny(NAME, **{"model.decode_head.attention.type": "Doubling"})
    meta = {"cfg": plain.pretty_text}
    found = {"state_dict": MODELS.build(plain.model).state_dict(), "meta": meta}
    assert "another function" in check_checkpoint(ours.model, found, "plain.pth")[0]
    assert check_checkpoint(ours.model, found, "plain.pth", new_attention=True) == []
