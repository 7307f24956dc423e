"""What people do to a part, and the textbook to which the same is done."""

import itertools

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import remove_weight_norm as remove_old_weight_norm
from torch.nn.utils import weight_norm as old_weight_norm

from tests.parity import build

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
    """A 3x3 convolution, or another norm, instead."""
    if not isinstance(part, nn.Conv2d):
        return nn.LayerNorm(part.normalized_shape, eps=0.1, bias=False).double()
    made = nn.Conv2d(part.in_channels, part.out_channels, 3, padding=1).double()
    made.weight.data.normal_(std=0.1)
    return made


def with_bias(part):
    """One of its own where it had none; another where it had one."""
    shape = part.weight.shape[:1] if isinstance(part, nn.Conv2d) else part.weight.shape
    part.bias = nn.Parameter(torch.randn(shape, dtype=torch.float64))


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
    "parametrized": on(softplus),
    "parametrization removed": on(
        softplus, lambda part: parametrize.remove_parametrizations(part, "weight")
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


def parts_of(module):
    return [name for form, layout, name in PARTS if (form, layout) == (module.form, module.layout)]
