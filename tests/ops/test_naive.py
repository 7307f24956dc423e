"""The oracle against the equations written out with loops over pixels and channels."""

import math

import pytest
import torch

from psa_seg import PolarizedSelfAttention
from psa_seg.ops import naive


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def softmax(values):
    exps = [math.exp(v) for v in values]
    return [e / sum(exps) for e in exps]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def linear(weight, bias, vector):
    return [dot(row, vector) + b for row, b in zip(weight, bias, strict=True)]


def layer_norm(values, weight, bias, eps=1e-5):
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    rows = zip(values, weight, bias, strict=True)
    return [(v - mean) / math.sqrt(variance + eps) * w + b for v, w, b in rows]


def channel_gates(pixels, p):
    q = softmax([linear(p["ch_wq.weight"], p["ch_wq.bias"], x)[0] for x in pixels])
    values = [linear(p["ch_wv.weight"], p["ch_wv.bias"], x) for x in pixels]
    pooled = [dot(q, column) for column in zip(*values, strict=True)]
    logits = linear(p["ch_wz.weight"], p["ch_wz.bias"], pooled)
    return [sigmoid(v) for v in layer_norm(logits, p["ln.weight"], p["ln.bias"])]


def spatial_gates(pixels, p):
    queries = [linear(p["sp_wq.weight"], p["sp_wq.bias"], x) for x in pixels]
    s = softmax([sum(column) / len(pixels) for column in zip(*queries, strict=True)])
    return [sigmoid(dot(s, linear(p["sp_wv.weight"], p["sp_wv.bias"], x))) for x in pixels]


def gated(pixels, p, layout):
    a = channel_gates(pixels, p)
    if layout == "parallel":
        m = spatial_gates(pixels, p)
        return [
            [v * (ac + mn) for v, ac in zip(x, a, strict=True)]
            for x, mn in zip(pixels, m, strict=True)
        ]
    y = [[v * ac for v, ac in zip(x, a, strict=True)] for x in pixels]
    return [[v * mn for v in yn] for yn, mn in zip(y, spatial_gates(y, p), strict=True)]


@pytest.mark.parametrize("layout", ["parallel", "sequential"])
def test_oracle_is_the_equations(layout):
    module = PolarizedSelfAttention(4).double()
    parameters = {n: p.detach().normal_() for n, p in module.named_parameters()}
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    lists = {n: (p.flatten(1) if p.ndim > 1 else p).tolist() for n, p in parameters.items()}
    expected = [gated(sample.flatten(1).T.tolist(), lists, layout) for sample in x]
    expected = torch.tensor(expected, dtype=torch.float64).transpose(1, 2).unflatten(2, (2, 3))
    actual = naive.polarized_self_attention(x, parameters, layout)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
