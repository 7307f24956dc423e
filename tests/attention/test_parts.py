"""Whatever is done to a part acts, as in the textbook to which the same was done."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.ao import quantization

from psa_seg import PolarizedSelfAttention
from tests.attention.surgery import (
    BEHIND,
    FORMS,
    PARTS,
    SURGERY,
    Adapter,
    in_place,
    operated,
    parts_of,
    textbook,
)
from tests.parity import assert_errs_like_plain_pytorch, build, exact_twin, run, run_naive

pytestmark = pytest.mark.filterwarnings(
    "ignore:PolarizedSelfAttention runs as its textbook", "ignore:.*weight_norm.*deprecated"
)


def trained(module, function, x, target):
    """Outputs, gradients and weights of three steps."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    seen = []
    for _ in range(3):
        leaf = x.clone().requires_grad_()
        optimizer.zero_grad()
        out = function(leaf)
        (out - target).square().mean().backward()
        # A parameter that the textbook does not use has none; the cheap form may give 0.
        seen += [
            out,
            leaf.grad,
            *(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters),
        ]
        optimizer.step()
    return [*seen, *module.state_dict().values()]


@pytest.mark.parametrize("surgery", SURGERY)
@pytest.mark.parametrize(("form", "layout", "name"), PARTS, ids=map("-".join, PARTS))
def test_surgery_acts(form, layout, name, surgery):
    ours, theirs = (operated(form, layout, name, surgery) for _ in range(2))
    x, target = torch.randn(2, 2, ours.in_channels, 4, 5, dtype=torch.float64)
    actual = trained(ours, ours, x, target)
    expected = trained(theirs, lambda x: textbook(theirs, x), x, target)
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("form", "layout"), FORMS, ids=map("-".join, FORMS))
def test_hooks_see_what_the_textbooks_layers_see(form, layout):
    module = build(16, (form, layout, "both"), torch.float32)
    x = torch.randn(2, module.in_channels, 4, 5)
    unseen = module(x)
    seen = []
    for name in parts_of(module):
        part = module.get_submodule(name)
        part.register_forward_hook(
            lambda part, inputs, out, name=name: seen.append((name, inputs[0].shape, out.shape))
        )
        part.register_full_backward_hook(lambda part, *_, name=name: seen.append((name, "back")))
    torch.testing.assert_close(module(x), unseen)
    ours, seen[:] = sorted(seen), []
    textbook(module, x).sum()
    assert ours == sorted(seen)
    seen.clear()
    module(x).sum().backward()
    assert sum(event[1] == "back" for event in seen) == len(parts_of(module))


@pytest.mark.parametrize(("form", "layout"), FORMS, ids=map("-".join, FORMS))
def test_quantization_aware_training_takes_every_convolution(form, layout):
    module = build(16, (form, layout, "both"), torch.float32).train()
    module.qconfig = quantization.get_default_qat_qconfig("x86")
    prepared = quantization.prepare_qat(module)
    x = torch.randn(2, module.in_channels, 4, 5)
    out = prepared(x)
    torch.testing.assert_close(out, textbook(prepared, x), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(out, module(x), rtol=1e-3)
    out.sum().backward()
    for name in parts_of(module):
        part = prepared.get_submodule(name)
        assert part.weight.grad is not None, name
        if not isinstance(part, nn.LayerNorm):
            assert part.weight_fake_quant.scale.numel() >= 1, name
            assert part.activation_post_process.activation_post_process.min_val.isfinite(), name


CONVOLUTIONS = [part for part in PARTS if part[2] not in ("ln", "conv_up.1")]


@pytest.mark.parametrize(("form", "layout", "name"), CONVOLUTIONS, ids=map("-".join, CONVOLUTIONS))
def test_a_merged_adapter_changes_nothing(form, layout, name):
    module = operated(form, layout, name, "LoRA")
    adapter = module.get_submodule(name)
    x = torch.randn(1, module.in_channels, 4, 5, dtype=torch.float64)
    expected = module(x)
    low_rank = adapter.up.weight.flatten(1) @ adapter.down.weight.flatten(1)
    with torch.no_grad():
        adapter.base.weight += low_rank.view_as(adapter.base.weight)
    in_place(module, name, lambda adapter: adapter.base)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("form", "layout"), FORMS, ids=map("-".join, FORMS))
def test_called_parts_err_no_more_than_plain_pytorch(form, layout, dtype):
    """In half precision, with a hook on each part behind the sum, and then on all parts."""
    module = build(34, (form, layout, "both"), dtype)
    x, upstream = torch.randn(2, 2, module.in_channels, 7, 9).to(dtype)
    reference = run_naive(exact_twin(module), x.double(), upstream.double())
    reference.pop("ch_wq.bias", None)  # 0, but for the textbook's rounding
    plain = run_naive(module, x, upstream)
    parameters = dict(module.named_parameters())
    for names in (BEHIND[form, layout], parts_of(module)):
        for name in names:
            module.get_submodule(name).register_forward_hook(lambda *_: None)
        assert_errs_like_plain_pytorch(run(module, x, parameters, upstream), plain, reference)


@pytest.mark.parametrize("hooked", [False, True])
def test_a_perceptron_may_be_of_any_layers(hooked):
    """Of one that occurs twice, too."""
    module, act = build(32, ("official", "sequential", "both")), nn.SiLU()
    layers = (
        nn.Conv2d(16, 8, 1),
        act,
        nn.Conv2d(8, 8, 1),
        act,
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 32, 1),
    )
    module.conv_up = nn.Sequential(*layers).double()
    if hooked:
        module.conv_up.register_forward_hook(lambda part, inputs, out: out / 2)
    x, target = torch.randn(2, 3, 32, 4, 5, dtype=torch.float64)
    twins = []
    for function in (lambda m: m, lambda m: lambda x: textbook(m, x)):
        twin = copy.deepcopy(module)
        twins.append(trained(twin, function(twin), x, target))
    for one, other in zip(*twins, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["ch_wz", "ch_wv"])
def test_adapters_of_another_dtype_run_under_autocast(name):
    """A frozen bfloat16 base, float32 beside it: layers choose their dtypes themselves."""
    module = build(16, dtype=torch.float32)
    in_place(module, name, Adapter)
    module.float()
    module.get_submodule(name).base.bfloat16()
    x = torch.randn(2, 16, 5, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, expected = module(x), textbook(module, x)
    torch.testing.assert_close(out, expected.float(), rtol=3e-2, atol=3e-2)
    out.sum().backward()
    assert module.get_submodule(name).up.weight.grad.abs().sum() > 0


def warned(*modules):
    """How often it is said that they run as textbooks."""
    x = torch.randn(1, 16, 3, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for module in modules:
            module(x)
            module(x)
    return sum("runs as its textbook, slower: its part ch_wv" in str(w.message) for w in caught)


def test_what_is_slower_is_said_once_a_run():
    def hooked():
        module = PolarizedSelfAttention(16)
        module.ch_wv.register_forward_hook(lambda *_: None)
        return module

    assert warned(PolarizedSelfAttention(16)) == 0
    first, second = hooked(), hooked()
    assert warned(first, second, copy.deepcopy(first)) == 1
    assert warned(first) == 0
    del first, second  # and then comes another run
    assert warned(hooked()) == 1
    torch._dynamo.reset()
    assert warned(torch.compile(hooked(), backend="eager", fullgraph=True)) == 0
