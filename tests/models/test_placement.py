"""One rule of where attentions sit: found in a config and in the model, or refused."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from torch import nn

from psa_seg import PolarizedSelfAttention
from psa_seg.engine.describe import begin
from psa_seg.engine.doctor import check_checkpoint
from psa_seg.engine.runner import PairedRunner
from psa_seg.engine.summary import summarize
from psa_seg.errors import UserError
from psa_seg.models import PolarizedASPPHead
from psa_seg.models.naming import label
from psa_seg.models.placement import attentions, find, placed, settled, without_attention
from tests.conftest import ROOT, train
from tests.engine.test_loop import built

BASELINE = "baseline_deeplabv3plus_cityscapes"
CASCADE = "baseline_hrnet48_ocr_cityscapes"
PSA = {"type": "PolarizedSelfAttention"}
CHANNELS = [32, 64, 128, 256]


@MODELS.register_module()
class Halved(nn.Module):
    """An attention of another library: no `Attention` of ours, but in a place for one."""

    def __init__(self, in_channels):
        super().__init__()
        self.scale = nn.Parameter(torch.full((in_channels, 1, 1), 0.5))

    def forward(self, x):
        return x * self.scale


@MODELS.register_module()
class Wrapping(nn.Module):
    """A neck of a user's own with an attention inside."""

    def __init__(self, attention=None, inner=None):
        super().__init__()
        config = attention or inner
        self.own = MODELS.build({**config, "in_channels": 256}) if config else nn.Identity()

    def forward(self, inputs):
        return (*inputs[:-1], self.own(inputs[-1]))


@MODELS.register_module()
class Secretive(Wrapping):
    """One whose config tells of no attention."""

    def __init__(self):
        super().__init__(attention=PSA)


@MODELS.register_module()
class OneMore(PolarizedASPPHead):
    """A head whose config tells of one attention, and that has two."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.second = PolarizedSelfAttention(self.channels)


def plugin(kind, position, **options):
    return dict(cfg=dict(type=kind, **options), stages=(True,) * 4, position=position)


TWO_PLUGINS = [
    plugin("PolarizedSelfAttention", "after_conv2"),
    plugin("ContextBlock", "after_conv3", ratio=0.25),
]
CASES = {
    "head": (BASELINE, {"decode_head": dict(attention=PSA)}, {"head": "decode_head.attention"}),
    "neck": (
        BASELINE,
        {"neck": dict(type="PolarizedNeck", in_channels=CHANNELS)},
        {"neck": "neck.attentions.3"},
    ),
    "backbone": (
        BASELINE,
        {"backbone": dict(attention=PSA)},
        {"backbone": "backbone.layer1.0.conv3.attention"},
    ),
    "backbone, of another library": (
        BASELINE,
        {"backbone": dict(attention=dict(type="Halved"))},
        {"backbone": "backbone.layer1.0.conv3.attention"},
    ),
    "two plugins": (
        BASELINE,
        {"backbone": dict(plugins=TWO_PLUGINS)},
        {
            "backbone": "backbone.layer1.0.attention",
            "backbone 2": "backbone.layer1.0.context_block",
        },
    ),
    "of another library": (
        BASELINE,
        {"decode_head": dict(attention=dict(type="Halved"))},
        {"head": "decode_head.attention"},
    ),
    "in a module of a user's": (
        BASELINE,
        {"neck": dict(type="Wrapping", attention=PSA)},
        {"neck": "neck.own"},
    ),
    "all at once": (
        BASELINE,
        {
            "backbone": dict(attention=dict(type="SqueezeExcitation")),
            "neck": dict(type="PolarizedNeck", in_channels=CHANNELS, levels=[0, 3]),
            "decode_head": dict(attention=PSA),
        },
        {
            "backbone": "backbone.layer1.0.conv3.attention",
            "neck": "neck.attentions.0",
            "head": "decode_head.attention",
        },
    ),
}


def changed(tiny, name, parts):
    config = tiny(name)
    config.merge_from_dict({"model": copy.deepcopy(parts)})
    config.model = settled(config.model)
    return config


@pytest.mark.parametrize("case", CASES)
def test_the_config_and_the_model_tell_the_same(tiny, case):
    name, parts, expected = CASES[case]
    config = changed(tiny, name, parts)
    assert attentions(config.model).keys() == expected.keys()
    found = find(MODELS.build(config.model))
    assert set(expected.values()) <= set(found)
    assert sum(name.startswith("backbone.") for name in found) in (0, 16, 32), "in every block"
    assert {name.partition(".")[0] for name in found} == set(parts)
    plain = settled(tiny(name).model)
    if case == "in a module of a user's":
        plain.neck = dict(type="Wrapping")
    assert without_attention(config.model) == plain
    assert find(MODELS.build(without_attention(config.model))) == {}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.stem)
def test_of_each_of_ours(tiny, path):
    config = tiny(path.stem)
    found = {name.partition(".")[0] for name in find(MODELS.build(config.model))}
    parts = {where.partition(".")[0] for _, where, _ in placed(config.model)}
    assert found == parts
    assert bool(found) == path.stem.startswith("psa_")
    assert settled(config.model) == config.model, "its types are those that its attentions need"


def test_each_head_of_a_cascade_is_looked_at(tiny):
    config = tiny(CASCADE)
    config.model.decode_head[0].attention = PSA
    config.model.decode_head[1].attention = {"type": "CBAM"}
    assert attentions(config.model) == {"head": PSA, "head 2": {"type": "CBAM"}}
    assert label(config.model) == "PolarizedSelfAttention, head + CBAM, head 2"
    assert without_attention(config.model) == tiny(CASCADE).model


def test_types_follow_from_attentions():
    """A plain type that is given one attends; one of ours without is the plain type to the bit."""
    plain = ConfigDict(type="E", backbone=dict(type="ResNet"), decode_head=dict(type="FCNHead"))
    assert settled(plain) == plain
    plain.backbone.attention = PSA
    assert settled(plain).backbone.type == "PolarizedResNet"
    plain.backbone = dict(type="mmseg.ResNet", attention=PSA)
    assert settled(plain).backbone.type == "PolarizedResNet"
    plain.backbone = dict(type="mmseg.PolarizedHRNet", attention=None, blocks=("BasicBlock",))
    assert settled(plain).backbone == dict(type="HRNet")


def test_what_cannot_be_taken_out_is_refused(tiny):
    """A part that is nothing without its attention has no plain twin to be compared with."""
    config = changed(tiny, BASELINE, {"neck": dict(type="Wrapping", inner=PSA)})
    assert attentions(config.model) == {"neck": PSA}
    with pytest.raises(UserError, match=r"without model\.neck\.inner cannot be derived"):
        train(config)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"neck": dict(type="Secretive")}, "neck.own"),
        ({"decode_head": dict(type="OneMore", attention=PSA)}, "decode_head.second"),
    ],
)
def test_an_attention_that_the_config_does_not_tell_of_is_refused(tiny, parts, name):
    with pytest.raises(UserError, match=f"{name} is an attention that the model's config"):
        train(changed(tiny, BASELINE, parts))


def test_several_necks_in_a_row_are_looked_at(tiny):
    necks = [dict(type="PolarizedNeck", in_channels=CHANNELS), dict(type="Wrapping")]
    config = changed(tiny, BASELINE, {"neck": dict(_delete_=True, type="Wrapping")})
    config.model.neck = necks
    assert attentions(config.model) == {"neck": PSA}
    assert set(find(MODELS.build(config.model))) == {"neck.0.attentions.3"}
    assert without_attention(config.model).neck == necks[1:]
    config.model.neck = necks[:1]
    assert "neck" not in without_attention(config.model)


@pytest.mark.parametrize("case", ["two plugins", "of another library", "all at once"])
def test_summary_record_and_rates_go_by_it(tiny, case):
    name, parts, _ = CASES[case]
    config = changed(tiny, name, parts)
    config.optim_wrapper.paramwise_cfg.custom_keys.attention.lr_mult = 3.0
    runner = built(config)
    screen, record = summarize(runner), begin(runner)
    assert screen.count("attention  ") == len({key.split()[0] for key in record.attentions})
    assert record.attentions == attentions(config.model)
    inside = tuple(f"{name}." for name in find(runner.model))
    base = config.optim_wrapper.optimizer.lr
    groups = runner.build_optim_wrapper(runner.optim_wrapper).optimizer.param_groups
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in runner.model.named_parameters():
        expected = 3 * base if name.startswith(inside) else base
        assert rate[id(parameter)] == pytest.approx(expected), name


def test_a_start_from_the_plain_network_may_lack_just_the_attentions(tiny):
    """mmcv's own, which has no `attention` in its name, too."""
    name, parts, _ = CASES["two plugins"]
    found = {"state_dict": MODELS.build(tiny(name).model).state_dict()}
    model = changed(tiny, name, parts).model
    assert check_checkpoint(model, found, "plain.pth", new_attention=True) == []
    (finding,) = check_checkpoint(model, found, "plain.pth")
    assert "context_block" in finding or "attention" in finding
    del found["state_dict"]["decode_head.conv_seg.bias"]
    (finding,) = check_checkpoint(model, found, "plain.pth", new_attention=True)
    assert "missing           1: decode_head.conv_seg.bias" in finding


def test_rates_of_attentions_are_of_no_others_by_their_name(tiny):
    """`attention` in a name is not an attention's, unless one sits there."""
    config = changed(tiny, BASELINE, {"decode_head": dict(attention=PSA)})
    config.optim_wrapper.paramwise_cfg.custom_keys.attention.lr_mult = 3.0
    runner = PairedRunner.from_cfg(config)
    keys = runner._placed(config.optim_wrapper.paramwise_cfg)["custom_keys"]
    assert keys.keys() == {"head", "decode_head.attention."}
    assert isinstance(find(runner.model)["decode_head.attention"], PolarizedSelfAttention)
