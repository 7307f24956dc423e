"""Each attention of the field against its paper, pixel by pixel and head by head, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from psa_seg.attention import (
    CBAM,
    EfficientMultiScaleAttention,
    FocusedLinearAttention,
    InvertedResidualMobileBlock,
    MultiHeadSelfAttention,
    TripletAttention,
)
from psa_seg.models import GlobalContext, SqueezeExcitation
from tests.parity import relative_error, run, run_module


def random(module):
    """The module in float64 with nothing at its start, running statistics included."""
    module.double().eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.normal_(std=0.5)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.uniform_(0.5, 2)
    return module


def assert_same(module, paper, shape, rtol=1e-10):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(shape, dtype=torch.float64)
    results = []
    for function in (module, paper):
        out = function(x)
        results.append((out, *torch.autograd.grad(out, x, upstream)))
    for actual, expected in zip(*results, strict=True):
        assert (actual - expected).norm() <= rtol * expected.norm()


def test_cbam():
    module = random(CBAM(32))
    (w0, b0), (w1, b1) = (module.mlp[i].parameters() for i in (0, 2))
    assert w0.shape[0] == 2, "r = 16"

    def mlp(vector):
        return w1[:, :, 0, 0] @ (w0[:, :, 0, 0] @ vector + b0).relu() + b1

    def paper(x):
        out = torch.empty_like(x)
        for i, image in enumerate(x):
            pixels = image.flatten(1).unbind(1)
            largest = torch.stack(pixels).max(0).values
            gate = torch.sigmoid(mlp(sum(pixels) / len(pixels)) + mlp(largest))
            image = gate[:, None, None] * image
            stacked = torch.stack([sum(image) / len(image), image.max(0).values])
            logits = F.conv2d(stacked[None], module.conv.weight, module.conv.bias, padding=3)
            out[i] = torch.sigmoid(logits[0]) * image
        return out

    assert_same(module, paper, (2, 32, 5, 9))


def test_cbam_takes_official_weights_with_two_channels_swapped_and_starts_as_linear_layers():
    module, official = CBAM(32), nn.Sequential(nn.Linear(32, 2), nn.ReLU(), nn.Linear(2, 32))
    for layer, linear in zip(module.mlp[::2], official[::2], strict=True):
        for start in (layer, linear):
            torch.manual_seed(1)
            start.reset_parameters()
        assert torch.equal(layer.weight.flatten(1), linear.weight)
        assert torch.equal(layer.bias, linear.bias)
    x, weight = torch.randn(2, 32, 5, 9), torch.randn(1, 2, 7, 7)  # weight: on maximum, average
    module.conv.weight.data.copy_(weight.flip(1))
    module.conv.bias.data.zero_()  # theirs has none
    pooled = official(x.mean((2, 3))) + official(x.amax((2, 3)))
    y = x * pooled.sigmoid()[:, :, None, None]
    maps = torch.cat((torch.max(y, 1)[0].unsqueeze(1), torch.mean(y, 1).unsqueeze(1)), dim=1)
    torch.testing.assert_close(module(x), y * F.conv2d(maps, weight, padding=3).sigmoid())


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
def test_triplet(training):
    module = random(TripletAttention(6)).train(training)

    def branch(x, gate, transpose):
        conv, norm = gate
        weight = conv.weight.mT if transpose else conv.weight
        pooled = torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)
        y = F.conv2d(pooled, weight, padding=3)
        mean, var = norm.running_mean, norm.running_var
        if training:
            mean, var = y.mean(), y.var(correction=0)
        y = (y - mean) / (var + 1e-5).sqrt() * norm.weight + norm.bias
        return x * y.sigmoid()

    def paper(x):  # rotated, gated, rotated back: the last one lies (W, H, C)
        channels, rows, columns = module.gates
        spatial = branch(x, channels, False)
        over_rows = branch(x.permute(0, 2, 1, 3), rows, False).permute(0, 2, 1, 3)
        over_columns = branch(x.permute(0, 3, 2, 1), columns, True).permute(0, 3, 2, 1)
        return (spatial + over_rows + over_columns) / 3

    assert_same(module, paper, (2, 6, 5, 9))


def test_efficient_multi_scale_attention():
    module = random(EfficientMultiScaleAttention(12, groups=4))
    w1, w3 = module.conv1x1.weight[:, :, 0, 0], module.conv3x3.weight
    softmax = torch.softmax

    def group(x):  # [3, H, W]
        rows = torch.sigmoid(w1 @ x.mean(2) + module.conv1x1.bias[:, None])
        columns = torch.sigmoid(w1 @ x.mean(1) + module.conv1x1.bias[:, None])
        y = torch.einsum("chw,ch,cw->chw", x, rows, columns)
        var, mean = torch.var_mean(y, (1, 2), correction=0, keepdim=True)
        y = (y - mean) / (var + 1e-5).sqrt()
        y = y * module.norm.weight[:, None, None] + module.norm.bias[:, None, None]
        z = F.conv2d(x[None], w3, module.conv3x3.bias, padding=1)[0]
        # The norm leaves each map with its bias as the mean: so says the module's head.
        a = torch.einsum("c,chw->hw", softmax(module.norm.bias, 0), z)
        b = torch.einsum("c,chw->hw", softmax(z.mean((1, 2)), 0), y)
        return x * torch.sigmoid(a + b)

    def paper(x):
        return torch.stack([torch.cat([group(g) for g in image.split(3)]) for image in x])

    assert_same(module, paper, (2, 12, 5, 9))


def test_multi_head_self_attention():
    module = random(MultiHeadSelfAttention(24, num_heads=4))
    reference = nn.MultiheadAttention(24, 4, batch_first=True).double()
    renamed = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias"}
    renamed |= {f"out_proj.{kind}": f"proj.{kind}" for kind in ("weight", "bias")}
    own = module.state_dict()
    reference.load_state_dict({name: own[ours] for name, ours in renamed.items()})

    def paper(x):
        tokens = module.norm(x.movedim(1, 3).flatten(1, 2))
        out, _ = reference(tokens, tokens, tokens)
        return x + out.unflatten(1, x.shape[2:]).movedim(3, 1)

    assert_same(module, paper, (2, 24, 5, 9))


def focused(module, x, eps, floor):
    """Section 4 of the paper, in the quadratic order that it avoids; `floor`: the divisor's ε."""
    heads, power = module.num_heads, module.focusing_factor
    tokens = module.norm(x.movedim(1, 3).flatten(1, 2))  # [B, N, C]
    query, key, value = F.linear(tokens, module.qkv.weight, module.qkv.bias).chunk(3, 2)
    scale = torch.log(1 + module.scale.exp()) if eps else 1

    def phi(t):
        t = (t.clamp_min(0) + eps) / scale
        return t.norm(dim=2, keepdim=True) / (t**power).norm(dim=2, keepdim=True) * t**power

    out = []
    per_head = (t.chunk(heads, 2) for t in (phi(query), phi(key), value))
    for q, k, v in zip(*per_head, strict=True):
        similarity = torch.einsum("bid,bjd->bij", q, k)
        mixed = similarity @ v / x[0, 0].numel() / (similarity.mean(2, keepdim=True) + floor)
        maps = v.unflatten(1, x.shape[2:]).movedim(3, 1)
        local = F.conv2d(maps, module.dwc.weight, module.dwc.bias, padding=2, groups=maps.shape[1])
        out.append(mixed.unflatten(1, x.shape[2:]).movedim(3, 1) + local)
    out = torch.einsum("oc,bchw->bohw", module.proj.weight, torch.cat(out, 1))
    return x + out + module.proj.bias[:, None, None]


def test_focused_linear_attention():
    module = random(FocusedLinearAttention(24, num_heads=4))
    assert_same(module, lambda x: focused(module, x, 1e-6, 1e-6), (2, 24, 5, 9))


def test_focused_linear_attention_starts_as_the_papers_equations():
    """Its scale, which the paper does not have, changes nothing as long as it is constant."""
    module = random(FocusedLinearAttention(24, num_heads=1))  # of more, one may see zeros: 0/0
    nn.init.zeros_(module.scale)
    assert_same(module, lambda x: focused(module, x, 0, 0), (2, 24, 5, 9), rtol=1e-4)


def test_focused_linear_attention_has_its_epsilon_beside_the_mean():
    """At the start, where keys are small, beside the sum is another function: theirs before."""
    module = FocusedLinearAttention(16, num_heads=8).double()
    x, upstream = torch.randn(2, 2, 16, 4, 6, dtype=torch.float64)
    parameters = dict(module.named_parameters())

    def gradients(function):
        return run(lambda t: function(t) - t, x, parameters, upstream)  # what is added to x

    ours = gradients(module)
    theirs = gradients(lambda t: focused(module, t, 1e-6, 1e-6))
    before = gradients(lambda t: focused(module, t, 1e-6, 1e-6 / 24))
    assert max(relative_error(ours[name], theirs[name]) for name in theirs) < 1e-10
    assert relative_error(ours["out"], before["out"]) > 0.02
    assert relative_error(ours["qkv.weight"], before["qkv.weight"]) > 0.2


def test_focused_linear_attention_holds_in_half_precision_on_a_large_map():
    module = FocusedLinearAttention(8, num_heads=2)
    nn.init.normal_(module.qkv.weight, std=3)  # sums over the pixels far beyond float16
    x, upstream = torch.randn(2, 1, 8, 200, 300).half()
    exact = module(x.float())
    actual = run_module(module.half(), x, upstream)
    assert all(value.isfinite().all() for value in actual.values())
    assert relative_error(actual["out"], exact) < 1e-2


@pytest.mark.parametrize("size", [(5, 3), (7, 14), (15, 22)], ids=str)
def test_inverted_residual_mobile_block(size):
    """Windows by striding over the map, each of its own size: without filling there is no mask."""
    module = random(InvertedResidualMobileBlock(12, expansion=2, head_channels=4))

    def window(x):  # [B, C, h, w]
        tokens = x.flatten(2).mT
        query, key = F.linear(tokens, module.qk.weight, module.qk.bias).chunk(2, 2)
        out = [
            torch.softmax(q @ k.mT / 2, 2) @ v  # 2: the root of a head's channels
            for q, k, v in zip(*(t.split(4, 2) for t in (query, key, tokens)), strict=True)
        ]
        return torch.cat(out, 2).mT.unflatten(2, x.shape[2:])

    def paper(x):
        y = F.layer_norm(x.movedim(1, 3), (12,), module.norm.weight, module.norm.bias, 1e-6)
        y, mixed = y.movedim(3, 1), torch.empty_like(x)
        rows, columns = ((n + 6) // 7 for n in x.shape[2:])
        for r in range(rows):
            for c in range(columns):
                part = (..., slice(r, None, rows), slice(c, None, columns))
                mixed[part] = window(y[part])
        y = F.gelu(F.conv2d(mixed, module.value[0].weight, module.value[0].bias))
        conv, norm, _ = module.local
        z = F.conv2d(y, conv.weight, padding=2, groups=24)
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        z = (z - mean) / (var + 1e-6).sqrt() * norm.weight[:, None, None]
        return x + F.conv2d(y + F.silu(z + norm.bias[:, None, None]), module.proj.weight)

    assert_same(module, paper, (2, 12, *size))


def test_adapters_have_the_published_widths():
    assert SqueezeExcitation(256).layer.conv1.out_channels == 16
    assert GlobalContext(256).layer.planes == 16
    assert GlobalContext(8).layer.planes == 2, "a layer norm of one channel is a constant"
