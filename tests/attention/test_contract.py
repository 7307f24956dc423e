"""What every attention keeps to. To join, add a line to `FIELD`."""

import copy
from functools import partial

import mmengine.registry
import mmseg.registry
import pytest
import torch
from torch import nn

from psa_seg.attention import (
    CBAM,
    EfficientMultiScaleAttention,
    FocusedLinearAttention,
    InvertedResidualMobileBlock,
    MultiHeadSelfAttention,
    PolarizedSelfAttention,
    TripletAttention,
)
from psa_seg.attention.base import Attention
from psa_seg.models import GlobalContext, NonLocal, SqueezeExcitation
from tests.parity import relative_error, run_module

C = 16  # `PSA_s` has a layer norm of C / 8 numbers, and that of one is a constant
FIELD = {
    "PSA": PolarizedSelfAttention,
    "PSA sequential": partial(PolarizedSelfAttention, layout="sequential"),
    "PSA_p": partial(PolarizedSelfAttention, form="official"),
    "PSA_s": partial(PolarizedSelfAttention, form="official", layout="sequential"),
    "PSA channel": partial(PolarizedSelfAttention, branches="channel"),
    "PSA spatial": partial(PolarizedSelfAttention, branches="spatial"),
    "CBAM": CBAM,
    "triplet": TripletAttention,
    "EMA": partial(EfficientMultiScaleAttention, groups=4),
    "iRMB": partial(InvertedResidualMobileBlock, head_channels=8),
    "focused linear": FocusedLinearAttention,
    "MHSA": MultiHeadSelfAttention,
    "SE": SqueezeExcitation,
    "GC": GlobalContext,
    "Non-local": NonLocal,
}
IDENTITIES = {
    "PSA": partial(PolarizedSelfAttention, init="identity"),
    "GC": GlobalContext,
    "Non-local": NonLocal,
}
SIZES = [(2, C, 1, 1), (1, C, 5, 7), (2, C, 8, 16), (1, C, 15, 1)]

field = pytest.mark.parametrize("make", FIELD.values(), ids=FIELD)


def trained(make):
    """Nothing is at its start any more: of an identity there would be nothing to see."""
    module = make(C)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def test_the_field_is_what_is_registered():
    registries = (mmengine.registry.MODELS, mmseg.registry.MODELS)
    found = {t for r in registries for t in r.module_dict.values() if issubclass(t, Attention)}
    assert {type(make(C)) for make in FIELD.values()} == found


@field
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_with_every_gradient(make, size):
    module = trained(make)
    x = torch.randn(size)
    result = run_module(module, x, torch.randn(size))
    assert result["out"].shape == x.shape
    assert result["out"].dtype == x.dtype
    for name, value in result.items():
        assert value is not None, name
        assert value.isfinite().all(), name


@field
def test_compiles_into_one_graph(make):
    torch._dynamo.reset()
    module = trained(make)
    x, upstream = torch.randn(2, 2, C, 6, 5)
    expected = run_module(module, x, upstream)
    # Of the others' layers, the rest of the compiler is PyTorch's own matter.
    ours = isinstance(module, PolarizedSelfAttention)
    module.compile(fullgraph=True, backend="aot_eager" if ours else "eager")
    for name, value in run_module(module, x, upstream).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-4)


@field
def test_exports_strictly(make):
    module, x = trained(make).eval(), torch.randn(2, C, 6, 5)
    program = torch.export.export(module, (x,), strict=True)
    torch.testing.assert_close(program.module()(x), module(x))


@field
def test_state_dict_is_all_there_is(make):
    module, other = trained(make), make(C)
    x = torch.randn(2, C, 5, 6)
    module(x)  # a BatchNorm counts
    other.load_state_dict(module.state_dict(), strict=True)
    assert torch.equal(other.eval()(x), module.eval()(x))


@field
def test_low_precision_stays_close(make):
    module = trained(make)
    x, upstream = torch.randn(2, 2, C, 9, 10)
    exact = run_module(module, x, upstream)["out"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = run_module(module, x, upstream)
        half = module(x.bfloat16())
    assert low["out"].dtype == torch.float32
    assert half.dtype == torch.bfloat16
    assert relative_error(low["out"], exact) < 3e-2
    assert relative_error(half, exact) < 3e-2
    assert relative_error(copy.deepcopy(module).bfloat16()(x.bfloat16()), exact) < 3e-2
    assert all(value.isfinite().all() for value in low.values())


@field
def test_images_are_on_their_own_in_any_memory_format(make):
    module = trained(make).eval()
    x = torch.randn(3, C, 6, 9)
    out = module(x)
    assert torch.equal(module(x), out)
    torch.testing.assert_close(module(x[1:2]), out[1:2])
    torch.testing.assert_close(module(x.contiguous(memory_format=torch.channels_last)), out)


def ks_distance(a, b):
    """Kolmogorov and Smirnov's: the widest gap between two distribution functions."""
    a, b = a.flatten().sort().values, b.flatten().sort().values
    at = torch.cat([a, b])
    shares = [torch.searchsorted(s, at, right=True) / len(s) for s in (a, b)]
    return (shares[0] - shares[1]).abs().max()


@field
def test_init_weights_draws_the_start_that_a_parent_overwrote(make):
    fresh, again = [], []
    for _ in range(20):
        fresh.append(make(64))
        module = make(64)
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):  # what mmseg's ResNet does
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        for parameter in module.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter)
        module.init_weights()
        again.append(module)
    for name, _ in fresh[0].named_parameters():
        first, second = (torch.stack([m.get_parameter(name) for m in s]) for s in (fresh, again))
        limit = 2.3 * (2 / first.numel()) ** 0.5  # exceeded by chance once in 20,000 times
        assert ks_distance(first.detach(), second.detach()) <= limit, name


@pytest.mark.parametrize("make", IDENTITIES.values(), ids=IDENTITIES)
def test_identity_starts_come_back(make):
    module, x = trained(make), torch.randn(2, C, 5, 7)
    assert torch.equal(make(C)(x), x)
    assert not torch.allclose(module(x), x)
    module.init_weights()
    assert torch.equal(module(x), x)


@field
def test_wrong_inputs_are_named(make):
    with pytest.raises(ValueError, match=r"expected an input \[B, 16, H, W\]"):
        make(C)(torch.zeros(1, C + 1, 4, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (EfficientMultiScaleAttention, "groups=32 does not divide in_channels=100"),
        (MultiHeadSelfAttention, "num_heads=8 does not divide in_channels=100"),
        (FocusedLinearAttention, "num_heads=8 does not divide in_channels=100"),
        (InvertedResidualMobileBlock, "head_channels=32 does not divide in_channels=100"),
    ],
)
def test_channels_that_do_not_split_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(100)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (CBAM, {"kernel_size": 4}),
        (CBAM, {"reduction": 0}),
        (TripletAttention, {"kernel_size": 2}),
        (FocusedLinearAttention, {"kernel_size": 0}),
        (InvertedResidualMobileBlock, {"kernel_size": 6}),
        (InvertedResidualMobileBlock, {"expansion": 0}),
        (InvertedResidualMobileBlock, {"window_size": 0}),
        (SqueezeExcitation, {"reduction": 0}),
        (GlobalContext, {"reduction": 0}),
        (NonLocal, {"reduction": 0}),
    ],
)
def test_an_option_that_cannot_be_is_named(make, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}={value} is not"):
        make(64, **options)
