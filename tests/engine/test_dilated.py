"""Dilated convolutions in groups, in bfloat16 on a CPU: the library's own gradients are garbage."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from psa_seg.engine.autocast import CPUAmpOptimWrapper
from psa_seg.engine.dilated import mend_dilated

BFLOAT16 = 2 * 2**-8  # of the largest value


def both(conv, size, layout=torch.channels_last, batch=2):
    """Output and gradients of `conv` in bfloat16, and the same in float64."""
    x = torch.randn(batch, conv.in_channels, *size).to(memory_format=layout).requires_grad_()
    wanted = [x, *conv.parameters()]
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    grad = torch.randn(y.shape).to(memory_format=layout).bfloat16().to(y.dtype)
    exact = [tensor.detach().bfloat16().double().requires_grad_() for tensor in wanted]
    bias = exact[2] if len(exact) > 2 else None
    where = (conv.stride, conv.padding, conv.dilation, conv.groups)
    truth = F.conv2d(exact[0], exact[1], bias, *where)
    return [
        (y, truth),
        *zip(
            torch.autograd.grad(y, wanted, grad),
            torch.autograd.grad(truth, exact, grad.double()),
            strict=True,
        ),
    ]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((16, 32), dict(padding=2, dilation=2)),  # these two are where the library's
        ((65, 65), dict(padding=6, dilation=6)),  # own was seen to read beyond its memory
        ((16, 32), dict(padding=24, dilation=24)),  # beyond the rows
        ((5, 4), dict(padding=36, dilation=36)),  # beyond rows and columns
        ((33, 24), dict(padding=(3, 4), dilation=(3, 4), bias=False)),
        ((17, 20), dict(kernel_size=5, padding=4, dilation=2)),
        ((17, 20), dict(kernel_size=(3, 5), padding=(1, 12), dilation=(1, 6))),
        ((17, 20), dict(padding=0, dilation=3)),
        ((17, 20), dict(padding=1, dilation=3)),
        ((6, 7), dict(padding=7, dilation=3)),  # more than the taps reach
        ((2, 3), dict(kernel_size=2, padding=3, dilation=6)),  # no tap ever meets the map
        ((17, 20), dict(kernel_size=2, padding=1, dilation=2)),
        ((17, 20), dict(padding=2, dilation=2, stride=2)),
        ((17, 20), dict(padding="same", dilation=2)),
        ((16, 32), dict(padding=2, dilation=2, out_channels=32)),
        ((16, 32), dict(padding=4, dilation=4, groups=4)),
    ],
)
def test_gradients_are_those_of_float64(size, options, layout):
    options = dict(in_channels=16, out_channels=16, kernel_size=3, groups=16) | options
    conv = nn.Conv2d(**options)
    mend_dilated(conv)
    for found, exact in both(conv, size, layout):
        assert found.shape == exact.shape
        assert (found - exact).abs().max() <= BFLOAT16 * exact.abs().max()


def test_padding_of_another_kind():
    conv = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16, padding_mode="reflect")
    exact = copy.deepcopy(conv).double()
    mend_dilated(conv)
    x = torch.randn(2, 16, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(conv(x).double(), exact(x.double()), atol=1e-5)


def test_a_weights_gradient_is_summed_in_float32():
    conv = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False)
    mend_dilated(conv)
    with torch.no_grad():
        conv.weight.fill_(1)
    x = torch.ones(4, 8, 64, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        conv(x).backward(torch.ones(4, 8, 64, 64))
    assert (conv.weight.grad[:, 0, 1, 1] == 4 * 64 * 64).all()
    assert (conv.weight.grad[:, 0, 0, 1] == 4 * 62 * 64).all()
    assert x.grad[0, 0, 0, 0] == 4, "two taps a side reach a corner"


@pytest.mark.parametrize("stride", [1, 2])
def test_one_image_without_a_batch_and_other_dtypes(stride):
    conv = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, stride=stride)
    stock, x = copy.deepcopy(conv), torch.randn(8, 9, 9)
    mend_dilated(conv)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(conv(x), conv(x[None])[0])
        exact = stock(x)
        assert (conv.bfloat16()(x) - exact).abs().max() <= 2 * BFLOAT16 * exact.abs().max()
        double = x.double()
        assert torch.equal(conv.double()(double), stock.bfloat16().double()(double))
        with pytest.raises(RuntimeError, match="can't be greater than actual input"):
            conv.float()(torch.randn(1, 8, 1, 1)[:, :, :, :0])


class Doubling(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, 2 * weight, bias)


def test_elsewhere_nothing_changes():
    dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
    own = Doubling(8, 8, 3, dilation=2, groups=8)
    model = nn.Sequential(
        dilated, nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, dilation=2), own
    )
    x = torch.randn(2, 8, 20, 20)
    before = model(x)
    mend_dilated(model)
    mend_dilated(model)
    assert torch.equal(model(x), before), "without autocast"
    assert ["_conv_forward" in vars(layer) for layer in model] == [True, False, False, False]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_is_whole(clone):
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8))
    mend_dilated(model)
    copied = clone(model)
    with torch.no_grad():
        copied[0].weight.zero_()
        copied[0].bias.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        assert not copied(torch.randn(1, 8, 9, 9)).any()
        assert model(torch.randn(1, 8, 9, 9)).any()
    assert copied[0]._conv_forward.args[0] is copied[0]


def test_the_optimizer_wrapper_sees_to_it():
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8))
    wrapper = CPUAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1))
    with wrapper.optim_context(model):
        loss = model(torch.randn(1, 8, 16, 32)).float().sum()
    assert "_conv_forward" in vars(model[0])
    wrapper.update_params(loss)
