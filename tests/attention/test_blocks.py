"""An attention in a block is part of the network: of copies, traces, pickles and fused layers."""

import copy
import io
import pickle

import pytest
import torch
from torch import fx, nn
from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx
from torch.fx.experimental.optimization import fuse
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.fusion import fuse_conv_bn_eval

from psa_seg import PolarizedSelfAttention, attend_in_blocks
from psa_seg.attention.blocks import Attends
from tests.attention.test_anywhere import replicas


class Bottleneck(nn.Module):
    """As of torchvision's ResNets."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + x)


class InvertedResidual(nn.Module):
    """As of torchvision's MobileNets."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(16, 32, 1), nn.ReLU6(), nn.Conv2d(32, 32, 3, padding=1, groups=32),
            nn.ReLU6(), nn.Conv2d(32, 16, 1), nn.BatchNorm2d(16),
        )  # fmt: skip

    def forward(self, x):
        return x + self.conv(x)


class ConvNeXtBlock(nn.Module):
    """As of timm's ConvNeXts."""

    def __init__(self):
        super().__init__()
        self.conv_dw = nn.Conv2d(16, 16, 7, padding=3, groups=16)
        self.norm, self.mlp = nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, x):
        y = self.conv_dw(x).permute(0, 2, 3, 1)
        return x + self.mlp(self.norm(y)).permute(0, 3, 1, 2)


KINDS = {
    "in between": (Bottleneck, {}, "conv3"),
    "at the end": (InvertedResidual, {"at_end": True}, "conv"),
    "after a layer": (ConvNeXtBlock, {"after": "conv_dw"}, "conv_dw"),
}
kinds = pytest.mark.parametrize(("block", "where", "inside"), KINDS.values(), ids=KINDS)
X = torch.randn(2, 16, 6, 5, generator=torch.Generator().manual_seed(2))


def plain(block=Bottleneck):
    """Two blocks, whose norms have counted."""
    torch.manual_seed(1)
    network = nn.Sequential(block(), block())
    for _ in range(3):
        network(X + torch.randn_like(X))
    return network.eval()


def attended(block=Bottleneck, where=None):
    network = plain(block)
    attend_in_blocks(network, PolarizedSelfAttention, (block.__name__,), **(where or {}))
    for name, parameter in network.named_parameters():
        if ".attention." in name:
            nn.init.normal_(parameter, std=0.5)
    return network


def moved(network):
    """With attentions that do something else."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("sp_wv.bias"):
                parameter.add_(3)
    return network


def in_a_pickle(network):
    return pickle.loads(pickle.dumps(network))


def in_a_file(network):
    torch.save(network, file := io.BytesIO())
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": in_a_pickle,
    "torch.save": in_a_file,
    "fx": fx.symbolic_trace,
    "copy of fx": lambda network: copy.deepcopy(fx.symbolic_trace(network)),
    "replica": lambda network: replicas(network)[0],
}


@kinds
@pytest.mark.parametrize("made", COPIES.values(), ids=COPIES)
def test_copies_have_attentions_of_their_own(block, where, inside, made):
    network = attended(block, where)
    expected = network(X)
    assert not torch.allclose(expected, plain(block)(X))
    twin = made(network)
    torch.testing.assert_close(twin(X), expected)
    if made in (fx.symbolic_trace, COPIES["replica"]):
        return  # the one shares its modules, the other has no parameters of its own
    assert list(twin.state_dict()) == list(network.state_dict())
    assert not torch.allclose(moved(twin)(X), expected)
    torch.testing.assert_close(network(X), expected)


def test_a_copy_of_the_convolution_alone_holds_no_block():
    network = attended()
    layer = copy.deepcopy(network[0].conv3)
    assert {type(part).__name__ for part in layer.modules()} == {
        "AttendingConv2d", "PolarizedSelfAttention", "Conv2d", "LayerNorm",
    }  # fmt: skip
    torch.testing.assert_close(layer(X[:, :8]), network[0].conv3(X[:, :8]))


@kinds
def test_a_trace_trains_and_saves_the_attention(block, where, inside):
    traced = fx.symbolic_trace(attended(block, where))
    nodes = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    names = [str(target) for target in nodes if str(target).endswith("attention")]
    assert len(names) == 2
    traced(X).sum().backward()
    for name in names:
        assert all(p.grad is not None for p in traced.get_submodule(name).parameters())


def test_fused_layers_attend_once():
    network = attended()
    expected = network(X)
    by_hand = copy.deepcopy(network)
    for block in by_hand:
        block.conv3, block.bn3 = fuse_conv_bn_eval(block.conv3, block.bn3), nn.Identity()
    torch.testing.assert_close(by_hand(X), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fuse(network)(X), expected, rtol=1e-4, atol=1e-5)
    others = copy.deepcopy(network)
    pairs = [[f"{i}.conv{n}", f"{i}.bn{n}"] for i in (0, 1) for n in (1, 2)]
    others = torch.ao.quantization.fuse_modules(others, pairs)
    torch.testing.assert_close(others(X), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(AssertionError, match="AttendingConv2d"):  # and not twice, in silence
        torch.ao.quantization.fuse_modules(others, [["0.conv3", "0.bn3"]])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_fx_quantizes_around_the_attention():
    network = moved(attended())
    prepared = quantize_fx.prepare_fx(network, get_default_qconfig_mapping("x86"), (X,))
    prepared(X)
    quantized = quantize_fx.convert_fx(prepared)
    assert sum(isinstance(part, PolarizedSelfAttention) for part in quantized.modules()) == 2
    error, without = ((other(X) - network(X)).norm() for other in (quantized, plain()))
    assert error < without / 3


def test_surgery_on_the_convolution_acts():
    network = attended()
    expected = network(X)
    layer = network[0].conv3
    prune.l1_unstructured(layer, "weight", 0.5)
    pruned = network(X)
    assert not torch.allclose(pruned, expected)
    prune.remove(layer, "weight")
    torch.testing.assert_close(network(X), pruned)
    seen = []
    handle = layer.register_forward_hook(lambda layer, inputs, out: seen.append(out.shape))
    network(X)
    handle.remove()
    assert seen == [(2, 16, 6, 5)]
    parametrizations.weight_norm(layer)
    torch.testing.assert_close(network(X), pruned)
    torch.testing.assert_close(copy.deepcopy(network)(X), pruned)
    nn.utils.parametrize.remove_parametrizations(layer, "weight")
    torch.testing.assert_close(network(X), pruned)
    assert isinstance(layer, Attends)


def test_a_replaced_forward_attends():
    """As mmcv's `efficient_conv_bn_eval` replaces it."""
    network = attended()
    expected = network(X)
    layer = network[0].conv3
    layer.forward = lambda x: nn.functional.conv2d(x, layer.weight)
    torch.testing.assert_close(network(X), expected)


@kinds
def test_weights_of_every_spelling_are_read_and_one_is_written(block, where, inside):
    network = attended(block, where)
    expected, state = network(X), network.state_dict()
    own = [name for name in state if ".attention." not in name]
    assert own == list(plain(block).state_dict())
    assert {name.split(".")[1] for name in state if ".attention." in name} == {inside}
    former = {name.replace(f".{inside}.attention.", ".attention."): t for name, t in state.items()}
    assert former.keys() != state.keys()
    for given in (state, former):
        other = moved(attended(block, where))
        other.load_state_dict(given)
        torch.testing.assert_close(other(X), expected)
        assert list(other.state_dict()) == list(state)
    keys = moved(attended(block, where)).load_state_dict(plain(block).state_dict(), strict=False)
    assert keys.unexpected_keys == []
    assert all(".attention." in name for name in keys.missing_keys)
    both = {**former, **state}
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"0\.attention\.'):
        network.load_state_dict(both)
    wrong = {**former, "0.attention.other": torch.zeros(1)}
    with pytest.raises(RuntimeError, match=f'Unexpected key.*"0.{inside}.attention.other"'):
        network.load_state_dict(wrong)


def test_what_cannot_attend_is_refused_and_left_as_it_was():
    network = plain()
    parametrizations.weight_norm(network[1].conv3)
    before = list(network.state_dict())
    with pytest.raises(ValueError, match="at_end and after name two places: take one"):
        attend_in_blocks(network, PolarizedSelfAttention, at_end=True, after="conv2")
    with pytest.raises(ValueError, match="block 0 has no convolution named bn9, after which to"):
        attend_in_blocks(network, PolarizedSelfAttention, after="bn9")
    with pytest.raises(ValueError, match="block 1: attend before its layers are parametrized"):
        attend_in_blocks(network, PolarizedSelfAttention)
    assert list(network.state_dict()) == before
    assert type(network[0].conv3) is nn.Conv2d
    with pytest.raises(TypeError, match="trace the network around it"):
        fx.symbolic_trace(PolarizedSelfAttention(8))
