"""The three placements: head, neck, and inside the backbone's blocks."""

import mmengine.registry
import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead
from mmseg.registry import MODELS

from psa_seg import PolarizedSelfAttention
from psa_seg.attention.base import Attention
from psa_seg.engine.demo import HEAD_CHANNELS
from psa_seg.engine.explain import explaining
from psa_seg.engine.runner import without_attention
from psa_seg.errors import UserError
from psa_seg.models import PolarizedASPPHead, PolarizedNeck

ATTENTION = {"type": "PolarizedSelfAttention"}
HEAD = dict(
    in_channels=32,
    in_index=-1,
    channels=16,
    dilations=(1, 2, 3, 4),
    c1_in_channels=8,
    c1_channels=4,
    num_classes=5,
    norm_cfg=dict(type="BN"),
    align_corners=False,
)
RESNET = dict(
    type="ResNetV1c", depth=50, base_channels=8, stem_channels=8, norm_cfg=dict(type="BN")
)


@pytest.fixture
def maps():
    return [torch.randn(2, 8, 16, 32), torch.randn(2, 32, 8, 16)]


def all_have_gradients(module):
    return all(p.grad is not None for p in module.parameters() if p.requires_grad)


def test_head_without_attention_is_mmsegmentations(maps):
    ours, theirs = PolarizedASPPHead(**HEAD).eval(), DepthwiseSeparableASPPHead(**HEAD).eval()
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours(maps), theirs(maps))


def test_head_applies_the_attention_to_the_aspp_output(maps):
    plain = PolarizedASPPHead(**HEAD).eval()
    head = PolarizedASPPHead(attention=ATTENTION, **HEAD).eval()
    missing = head.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing
    assert all(name.startswith("attention.") for name in missing)
    assert head.attention.in_channels == HEAD["channels"]
    assert not torch.allclose(head(maps), plain(maps))
    seen = []
    head.attention.register_forward_hook(lambda module, args, out: seen.append(args[0].shape))
    head.train()(maps).sum().backward()
    assert seen == [(2, 16, 8, 16)], "before the decoder's fusion, at the ASPP's resolution"
    assert all_have_gradients(head.attention)


def test_neck_attends_to_the_chosen_maps_only(maps):
    neck = PolarizedNeck([8, 32], levels=[-1])
    out = neck(maps)
    assert out[0] is maps[0]
    assert torch.equal(out[1], neck.attentions["1"](maps[1]))
    out[1].sum().backward()
    assert all_have_gradients(neck)


@pytest.mark.parametrize("levels", [[2], [-3], []], ids=str)
def test_neck_names_a_wrong_level(levels):
    with pytest.raises(ValueError, match="levels must name some of 2 feature maps"):
        PolarizedNeck([8, 32], levels=levels)


def test_neck_names_a_wrong_number_of_maps(maps):
    with pytest.raises(ValueError, match="lists 3 feature maps, but the backbone gives 2"):
        PolarizedNeck([8, 16, 32])(maps)


def test_plugin_in_every_bottleneck():
    plugins = [dict(cfg=ATTENTION, stages=(True,) * 4, position="after_conv2")]
    resnet = MODELS.build(dict(RESNET, plugins=plugins))
    resnet.init_weights()
    names = [n for n, m in resnet.named_modules() if isinstance(m, PolarizedSelfAttention)]
    assert len(names) == 3 + 4 + 6 + 3
    assert all(name.endswith(".attention") for name in names), "one name in every placement"
    sum(out.sum() for out in resnet(torch.randn(2, 3, 32, 32))).backward()
    assert all_have_gradients(resnet)


PLACES = {
    "head": ("psa_deeplabv3plus_camvid", "model.decode_head.attention.type"),
    "neck": ("psa_neck_deeplabv3plus_cityscapes", "model.neck.attention.type"),
    "backbone": ("psa_backbone_deeplabv3plus_cityscapes", "model.backbone.attention.type"),
}
FIELD = sorted(
    name
    for registry in (mmengine.registry.MODELS, MODELS)
    for name, kind in registry.module_dict.items()
    if issubclass(kind, Attention)
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FIELD)
def test_any_attention_in_any_place_by_one_override(tiny, place, name):
    config, key = PLACES[place]
    options = tiny(config, **{key: name}).model
    model = revert_sync_batchnorm(MODELS.build(options))
    plain = MODELS.build(without_attention(options)).state_dict()
    model.init_weights()
    own = [name for name in model.state_dict() if name not in plain]
    assert own
    assert len(model.state_dict()) == len(plain) + len(own)
    assert all("attention" in name for name in own), "one name for the optimizer's settings"
    maps = model.extract_feat(torch.randn(2, 3, 32, 64))
    sum(head(maps).mean() for head in (model.decode_head, model.auxiliary_head)).backward()
    assert all_have_gradients(model)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_options_of_another_attention_are_a_message(tiny):
    key = "model.decode_head.attention"
    config = tiny("psa_sequential_deeplabv3plus_cityscapes", **{f"{key}.type": "CBAM"})
    message = rf"layout(.|\n)*where      {key}\.layout\n(.|\n)* {key}\._delete_=True"
    with pytest.raises(UserError, match=message), explaining(config):
        MODELS.build(config.model)
    options = {f"{key}._delete_": True, f"{key}.type": "CBAM"}
    config = tiny("psa_sequential_deeplabv3plus_cityscapes", **options)
    assert MODELS.build(config.model).decode_head.attention.in_channels == HEAD_CHANNELS
