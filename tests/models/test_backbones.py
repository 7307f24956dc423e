"""An attention in every residual block: one mechanism, whatever the backbone."""

import copy

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict as mmengine_load
from mmseg.registry import MODELS
from torch import nn
from torch.utils.checkpoint import checkpoint

from psa_seg import PolarizedSelfAttention
from psa_seg.attention.blocks import Attends, attend_in_blocks
from psa_seg.models.naming import label

BN = dict(type="BN")
ATTENTION = {"type": "PolarizedSelfAttention"}
NARROW = dict(base_channels=8, stem_channels=8, norm_cfg=BN)
STAGES = {
    "stage1": ("BOTTLENECK", 1, (2,), (8,)),
    "stage2": ("BASIC", 1, (2, 2), (8, 16)),
    "stage3": ("BASIC", 2, (2, 2, 2), (8, 16, 32)),
    "stage4": ("BASIC", 1, (2, 2, 2, 2), (8, 16, 32, 64)),
}
EXTRA = {
    name: dict(
        block=block,
        num_modules=modules,
        num_branches=len(blocks),
        num_blocks=blocks,
        num_channels=channels,
    )
    for name, (block, modules, blocks, channels) in STAGES.items()
}
BASIC, BOTTLENECKS = 2 * (2 + 2 * 3 + 4), 2
# Config of the plain backbone, and how many residual blocks it has.
BACKBONES = {
    "R-18": (dict(type="ResNet", depth=18, **NARROW), 8),
    "R-34": (dict(type="ResNet", depth=34, **NARROW), 16),
    "R-50 v1c": (dict(type="ResNetV1c", depth=50, **NARROW), 16),
    "R-101 v1d": (dict(type="ResNetV1d", depth=101, **NARROW), 33),
    "X-50": (dict(type="ResNeXt", depth=50, groups=4, base_width=4, norm_cfg=BN), 16),
    "HRNet": (dict(type="HRNet", extra=EXTRA, norm_cfg=BN), BASIC + BOTTLENECKS),
    "MobileNetV2": (dict(type="MobileNetV2", widen_factor=0.25, norm_cfg=BN), 17),
}

backbones = pytest.mark.parametrize(("plain", "blocks"), BACKBONES.values(), ids=BACKBONES)


def attending(plain, attention=ATTENTION, **options):
    name = "Polarized" + plain["type"]
    return MODELS.build({**plain, **options, "type": name, "attention": attention})


def outputs(network, size=64):
    """In evaluation: mmseg's backbones return nothing from `eval`."""
    network.eval()
    return network(torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1)))


def attentions(network):
    return [m for m in network.modules() if isinstance(m, PolarizedSelfAttention)]


@backbones
def test_every_block_attends_and_plain_weights_fit(plain, blocks):
    network, plain = attending(plain), MODELS.build(plain)
    network.init_weights()
    assert len(attentions(network)) == blocks
    keys = network.load_state_dict(plain.state_dict(), strict=False)
    assert keys.unexpected_keys == []
    parameters = len(attentions(network)[0].state_dict())
    assert len(keys.missing_keys) == blocks * parameters
    assert all(".attention." in key for key in keys.missing_keys)
    sum(out.mean() for out in network(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None for p in network.parameters())


@backbones
def test_identity_starts_change_nothing_whatever_initialises_them(plain, blocks):
    network = attending(plain, {**ATTENTION, "init": "identity"})
    network.init_weights()
    plain = MODELS.build(plain)
    plain.load_state_dict(
        {name: t for name, t in network.state_dict().items() if ".attention." not in name}
    )
    for ours, theirs in zip(outputs(network), outputs(plain), strict=True):
        assert torch.equal(ours, theirs)


def test_without_attention_it_is_the_plain_backbone():
    plain, _ = BACKBONES["R-18"]
    assert attending(plain, None).state_dict().keys() == MODELS.build(plain).state_dict().keys()


def test_a_basic_block_attends_between_its_convolutions():
    """As the official code: after the first one's norm and ReLU."""
    network = attending(BACKBONES["R-18"][0])
    block = network.layer2[0].eval()
    x = torch.randn(2, 8, 9, 9)
    y = block.conv2.attention(block.bn1(block.conv1(x)).relu())
    y = block.bn2(nn.functional.conv2d(y, block.conv2.weight, padding=1))
    expected = (y + block.downsample(x)).relu()
    torch.testing.assert_close(block(x), expected)


def test_in_bottlenecks_it_is_mmsegmentations_plugin():
    """Same function; and their checkpoints, as ours of earlier versions, are read strictly."""
    plain, _ = BACKBONES["R-50 v1c"]
    ours = attending(plain)
    plugin = dict(cfg=ATTENTION, stages=(True,) * 4, position="after_conv2")
    theirs = MODELS.build({**plain, "plugins": [plugin]})
    ours.load_state_dict(theirs.state_dict())
    mmengine_load(ours, theirs.state_dict(), strict=True)
    for one, other in zip(outputs(ours), outputs(theirs), strict=True):
        assert torch.equal(one, other)


def test_resnext_attends_at_the_width_of_its_grouped_convolution():
    network = attending(BACKBONES["X-50"][0])
    assert (
        network.layer1[0].conv3.attention.in_channels == network.layer1[0].conv2.out_channels == 16
    )


def test_a_mobilenet_attends_on_the_narrow_map_at_the_end_of_its_blocks():
    plain, blocks = BACKBONES["MobileNetV2"]
    network = attending(plain, at_end=True)
    assert len(attentions(network)) == blocks
    keys = network.load_state_dict(MODELS.build(plain).state_dict(), strict=False)
    assert keys.unexpected_keys == []
    assert all(".attention." in key for key in keys.missing_keys)
    twin, block = copy.deepcopy(network), network.layer3[1].eval()
    *body, attention = block.conv
    x = torch.randn(2, attention.in_channels, 9, 9)
    torch.testing.assert_close(block(x), x + attention(nn.Sequential(*body)(x)))
    before = outputs(network)
    for attention in attentions(twin):
        nn.init.constant_(attention.sp_wv.bias, 5.0)
    assert torch.equal(outputs(network)[-1], before[-1]), "a copy has attentions of its own"
    assert not torch.allclose(outputs(twin)[-1], before[-1])
    wide, narrow = (dict(plain, attention=ATTENTION, at_end=at_end) for at_end in (False, True))
    labels = [label(dict(backbone=backbone)) for backbone in (wide, narrow)]
    assert labels[1] == f"{labels[0]}, at the end of blocks"
    with pytest.raises(ValueError, match=r"layer1\.0 has no part with all its convolutions"):
        attending(BACKBONES["R-18"][0], at_end=True)


def test_hrnet_attends_in_basic_blocks_alone_where_the_official_code_does():
    network = attending(BACKBONES["HRNet"][0], blocks=("BasicBlock",))
    assert len(attentions(network)) == BASIC
    assert not attentions(network.layer1)
    assert len(attentions(network.stage2)) == 4


def test_a_copy_attends_with_its_own_attention():
    network = attending(BACKBONES["R-18"][0])
    twin, before = copy.deepcopy(network), outputs(network)
    for attention in attentions(twin):
        nn.init.constant_(attention.sp_wv.bias, 5.0)
    assert torch.equal(outputs(network)[-1], before[-1])
    assert not torch.allclose(outputs(twin)[-1], before[-1])


def test_it_comes_to_the_networks_device_and_dtype_and_says_where():
    network = nn.ModuleDict({"a": Squeezed(), "b": Squeezed()}).to("meta", torch.float16).eval()
    assert attend_in_blocks(network, PolarizedSelfAttention, ("Squeezed",)) == ["a", "b"]
    tensors = network.state_dict().values()
    assert {(t.device.type, t.dtype) for t in tensors} == {("meta", torch.float16)}
    assert not any(module.training for module in network.modules())


def test_what_stands_in_an_attentions_place_acts():
    network = attending(BACKBONES["R-18"][0])
    before = outputs(network)
    for module in network.modules():
        if isinstance(module, Attends):
            module.attention = nn.Identity()
    assert not torch.allclose(outputs(network)[-1], before[-1])


@pytest.mark.parametrize("name", ["R-18", "HRNet", "MobileNetV2"])
def test_frozen_stages_attend_frozen_from_the_beginning(name):
    """DistributedDataParallel looks once, before training begins."""
    network = attending(BACKBONES[name][0], frozen_stages=1)
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert any(".attention." in name for name in frozen)
    network.train()
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == frozen


class Squeezed(nn.Module):
    """A Bottleneck with a squeeze-and-excite between its last convolutions, as in a RegNetY."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.se = nn.Sequential(nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid())
        self.conv3 = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        y = self.conv2(self.conv1(x))
        return self.conv3(y * self.se(y.mean((2, 3), keepdim=True)))


def test_a_squeeze_and_excite_is_not_what_follows():
    block, seen = Squeezed(), []
    attend_in_blocks(block, PolarizedSelfAttention, "Squeezed")
    block.conv3.attention.register_forward_hook(lambda module, inputs, out: seen.append(out.shape))
    block(torch.randn(1, 8, 5, 6))
    assert seen == [(1, 8, 5, 6)]


def test_blocks_compile_into_one_graph_and_can_be_computed_twice():
    torch._dynamo.reset()
    block = attending(BACKBONES["R-18"][0]).layer1[0].eval()
    x = torch.randn(1, 8, 9, 10, requires_grad=True)
    expected = torch.autograd.grad(block(x).sum(), x)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    for run in (compiled, lambda t: checkpoint(block, t, use_reentrant=False)):
        torch.testing.assert_close(torch.autograd.grad(run(x).sum(), x), expected)


def test_what_has_no_place_for_an_attention_is_named():
    plain, _ = BACKBONES["R-18"]
    with pytest.raises(ValueError, match=r"PolarizedResNet has no residual blocks named Bottle"):
        attending(plain, blocks=("Bottle",))
    network = attending(plain)
    with pytest.raises(ValueError, match=r"layer1\.0 has an attention already"):
        attend_in_blocks(network, PolarizedSelfAttention)

    class BasicBlock(nn.Sequential):
        pass

    fine, lone = (nn.Conv2d(4, 4, size) for size in (3, 1)), (nn.Conv2d(4, 4, 3),)
    network = nn.Sequential(BasicBlock(*fine), BasicBlock(*lone))
    with pytest.raises(ValueError, match="block 1 has no convolution that takes what a 3x3 one"):
        attend_in_blocks(network, PolarizedSelfAttention)
    assert not attentions(network), "all or nothing"
