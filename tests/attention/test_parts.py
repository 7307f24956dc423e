"""Whatever is done to a part acts, as in the textbook to which the same was done."""

import copy
import itertools
import warnings

import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import remove_weight_norm as remove_old_weight_norm
from torch.nn.utils import weight_norm as old_weight_norm

from psa_seg import PolarizedSelfAttention
from tests.parity import assert_errs_like_plain_pytorch, build, exact_twin, run, run_naive

pytestmark = pytest.mark.filterwarnings(
    "ignore:PolarizedSelfAttention runs as its textbook", "ignore:.*weight_norm.*deprecated"
)
FORMS = list(itertools.product(("paper", "official"), ("parallel", "sequential")))
BEHIND = {
    ("paper", "parallel"): ("ch_wz", "ln"),
    ("paper", "sequential"): ("ch_wz", "ln"),
    ("official", "parallel"): ("conv_up",),
    ("official", "sequential"): ("conv_up.0", "conv_up.1", "conv_up.3"),
}
PIXEL = {
    "paper": ("ch_wv", "ch_wq", "sp_wv", "sp_wq"),
    "official": ("conv_v_right", "conv_q_right", "conv_v_left", "conv_q_left"),
}
PARTS = [(*form, part) for form in FORMS for part in (*PIXEL[form[0]], *BEHIND[form])]


def textbook(m, x):
    """The paper's equations and the released classes, calling their layers as they do."""
    if m.form == "paper":

        def channel(x):
            q = m.ch_wq(x).flatten(1).softmax(1)[:, :, None]
            z = (m.ch_wv(x).flatten(2) @ q).unsqueeze(3)
            return m.ln(m.ch_wz(z).flatten(1)).sigmoid()[:, :, None, None]

        def spatial(x):
            s = m.sp_wq(x).mean((2, 3)).softmax(1)[:, None]
            return (s @ m.sp_wv(x).flatten(2)).sigmoid().view(len(x), 1, *x.shape[2:])
    else:

        def channel(x):
            q = m.conv_q_right(x).flatten(1).softmax(1)[:, :, None]
            return m.conv_up((m.conv_v_right(x).flatten(2) @ q).unsqueeze(3)).sigmoid()

        def spatial(x):
            query, value = m.conv_q_left(x).mean((2, 3))[:, None], m.conv_v_left(x).flatten(2)
            if m.layout == "parallel":
                logits = (query @ value).softmax(2)
            else:
                logits = query @ value.softmax(2)
            return logits.sigmoid().view(len(x), 1, *x.shape[2:])

    if m.layout == "parallel":
        return channel(x) * x + spatial(x) * x
    y = channel(x) * x
    return spatial(y) * y


class Adapter(nn.Module):
    """As of LoRA: what is learnt stands beside the layer."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        if isinstance(base, nn.Conv2d):
            self.down = nn.Conv2d(base.in_channels, 2, 1, bias=False)
            self.up = nn.Conv2d(2, base.out_channels, 1, bias=False)
        else:
            self.down, self.up = nn.Identity(), nn.LayerNorm(base.normalized_shape)
        self.double()

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class DoubledNorm(nn.LayerNorm):
    def forward(self, x):
        return 2 * super().forward(x)


class FakeQuantized(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base

    def forward(self, x):
        return torch.fake_quantize_per_tensor_affine(self.base(x), 0.1, 3, 0, 255)


class Softplus(nn.Module):
    def forward(self, weight):
        return nn.functional.softplus(weight)


def softplus(part):
    parametrize.register_parametrization(part, "weight", Softplus())


def in_place(module, name, change):
    """Replace a part by what `change` makes of it."""
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, change(module.get_submodule(name)))


def on(change, *undo):
    """A surgery that acts on a part, and perhaps is undone."""

    def operate(module, name):
        part = module.get_submodule(name)
        for step in (change, *undo):
            step(part)

    return operate


def of_class(conv, norm):
    def operate(module, name):
        module.get_submodule(name).__class__ = (
            conv if isinstance(module.get_submodule(name), nn.Conv2d) else norm
        )

    return operate


def wider(part):
    """A 3x3 convolution instead."""
    if not isinstance(part, nn.Conv2d):
        return part
    made = nn.Conv2d(part.in_channels, part.out_channels, 3, padding=1).double()
    made.weight.data.normal_(std=0.1)
    return made


def with_bias(part):
    bias = nn.Parameter(torch.randn(part.weight.shape[0], dtype=torch.float64))
    if isinstance(part, nn.Conv2d):
        part.bias = bias


def patched(part):
    plain = part.forward
    part.forward = lambda x: plain(x) * 1.5


SURGERY = {
    "nothing": on(lambda part: None),
    "pruned": on(lambda part: prune.l1_unstructured(part, "weight", 0.5)),
    "pruned for good": on(
        lambda part: prune.l1_unstructured(part, "weight", 0.5),
        lambda part: prune.remove(part, "weight"),
    ),
    "weight norm, old": on(lambda part: old_weight_norm(part)),
    "weight norm, old, removed": on(lambda part: old_weight_norm(part), remove_old_weight_norm),
    "weight norm": on(lambda part: parametrizations.weight_norm(part)),
    "spectral norm, old": on(lambda part: nn.utils.spectral_norm(part)),
    "spectral norm": on(lambda part: parametrizations.spectral_norm(part)),
    "parametrized": on(
        lambda part: parametrize.register_parametrization(part, "weight", Softplus())
    ),
    "parametrization removed": on(
        lambda part: parametrize.register_parametrization(part, "weight", Softplus()),
        lambda part: parametrize.remove_parametrizations(part, "weight"),
    ),
    "LoRA": lambda module, name: in_place(module, name, Adapter),
    "hook that changes": on(
        lambda part: part.register_forward_hook(lambda part, inputs, out: out.relu())
    ),
    "pre-hook that changes": on(
        lambda part: part.register_forward_pre_hook(lambda part, inputs: (inputs[0].sin(),))
    ),
    "backward hook that changes": on(
        lambda part: part.register_full_backward_hook(lambda part, grads, _: (grads[0] * 2,))
    ),
    "subclass": of_class(Doubled, DoubledNorm),
    "another layer": lambda module, name: in_place(module, name, wider),
    "with a bias": on(with_bias),
    "fake-quantized": lambda module, name: in_place(module, name, FakeQuantized),
    "frozen": on(lambda part: part.requires_grad_(False)),
    "forward replaced": on(patched),
}


def operated(form, layout, name, surgery, channels=16):
    """An attention whose part `name` has undergone it."""
    torch.manual_seed(3)
    module = build(channels, (form, layout, "both"))
    SURGERY[surgery](module, name)
    return module


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


def parts_of(module):
    return [name for form, layout, name in PARTS if (form, layout) == (module.form, module.layout)]


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
