"""Oracle and module against the equations written out, pixel by pixel and channel by channel.

In scalars of float64 that PyTorch differentiates: all that is taken from it is +, *, exp and sqrt.
"""

import pytest
import torch

from tests.parity import build, relative_error, run, run_module, run_naive, variant_of

LAYOUTS = [
    (form, layout) for form in ("paper", "official") for layout in ("parallel", "sequential")
]


def sigmoid(t):
    return 1 / (1 + (-t).exp())


def softmax(values):
    exps = [v.exp() for v in values]
    return [e / sum(exps) for e in exps]


def dot(a, b):
    return sum(multiply(a, b))


def multiply(a, b):
    return [p * q for p, q in zip(a, b, strict=True)]


def linear(p, name, vector):
    """A 1x1 convolution of one pixel, a list of numbers."""
    weight, bias = p[f"{name}.weight"].flatten(1), p.get(f"{name}.bias")
    biases = [0] * len(weight) if bias is None else bias
    return [dot(row, vector) + b for row, b in zip(weight, biases, strict=True)]


def layer_norm(p, name, values, eps=1e-5):
    weight, bias = p[f"{name}.weight"].flatten(), p[f"{name}.bias"].flatten()
    mean = sum(values) / len(values)
    deviation = (sum((v - mean) ** 2 for v in values) / len(values) + eps).sqrt()
    return [(v - mean) / deviation * w + b for v, w, b in zip(values, weight, bias, strict=True)]


def mean_of(vectors):
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def paper_channel_gates(pixels, p):
    q = softmax([linear(p, "ch_wq", x)[0] for x in pixels])
    values = [linear(p, "ch_wv", x) for x in pixels]
    z = [dot(q, column) for column in zip(*values, strict=True)]
    return [sigmoid(v) for v in layer_norm(p, "ln", linear(p, "ch_wz", z))]


def paper_spatial_gates(pixels, p):
    s = softmax(mean_of([linear(p, "sp_wq", x) for x in pixels]))
    return [sigmoid(dot(s, linear(p, "sp_wv", x))) for x in pixels]


def official_channel_gates(pixels, p):
    q = softmax([linear(p, "conv_q_right", x)[0] for x in pixels])
    values = [linear(p, "conv_v_right", x) for x in pixels]
    z = [dot(q, column) for column in zip(*values, strict=True)]
    if "conv_up.weight" in p:
        return [sigmoid(v) for v in linear(p, "conv_up", z)]
    hidden = layer_norm(p, "conv_up.1", linear(p, "conv_up.0", z))
    return [sigmoid(v) for v in linear(p, "conv_up.3", [h * (h > 0) for h in hidden])]


def parallel_spatial_gates(pixels, p):
    query = mean_of([linear(p, "conv_q_left", x) for x in pixels])
    logits = [dot(query, linear(p, "conv_v_left", x)) for x in pixels]
    return [sigmoid(t) for t in softmax(logits)]


def sequential_spatial_gates(pixels, p):
    query = mean_of([linear(p, "conv_q_left", x) for x in pixels])
    values = zip(*[linear(p, "conv_v_left", x) for x in pixels], strict=True)
    theta = [softmax(channel) for channel in values]
    return [sigmoid(dot(query, column)) for column in zip(*theta, strict=True)]


def gated(pixels, p, form, layout):
    if form == "paper":
        channel, spatial = paper_channel_gates, paper_spatial_gates
    else:
        channel = official_channel_gates
        spatial = parallel_spatial_gates if layout == "parallel" else sequential_spatial_gates
    a = channel(pixels, p)
    if layout == "parallel":
        m = spatial(pixels, p)
        gates = [[ac + mn for ac in a] for mn in m]
        return [multiply(x, gate) for x, gate in zip(pixels, gates, strict=True)]
    y = [multiply(x, a) for x in pixels]
    return [[v * mn for v in yn] for yn, mn in zip(y, spatial(y, p), strict=True)]


@pytest.mark.parametrize("form_and_layout", LAYOUTS, ids="-".join)
def test_oracle_and_module_are_the_equations_with_every_gradient(form_and_layout):
    module = build(6, (*form_and_layout, "both"))
    assert variant_of(module)[:2] == form_and_layout
    channels = module.in_channels
    x, upstream = torch.randn(2, 2, channels, 2, 3, dtype=torch.float64)
    parameters = dict(module.named_parameters())

    def equations(t):
        images = [gated(list(image.flatten(1).T), parameters, *form_and_layout) for image in t]
        stacked = torch.stack([torch.stack([torch.stack(x) for x in pixels]) for pixels in images])
        return stacked.transpose(1, 2).unflatten(2, (2, 3))

    expected = run(equations, x, parameters, upstream)
    for actual in (run_naive(module, x, upstream), run_module(module, x, upstream)):
        for name, value in expected.items():
            if name == "ch_wq.bias":  # a softmax ignores it: the true gradient is 0
                assert actual[name].abs().max() < 1e-12
            else:
                assert relative_error(actual[name], value) < 1e-11, name
