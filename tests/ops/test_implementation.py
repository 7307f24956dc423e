"""Which code runs, and what is said where it cannot."""

import pytest
import torch

from psa_seg import PolarizedSelfAttention
from psa_seg.ops import eager, implementation, naive
from psa_seg.ops.implementation import VARIABLE, passes


def test_a_cpu_gets_plain_pytorch_and_whoever_asks_the_kernels(monkeypatch):
    pytest.importorskip("triton")
    from psa_seg.ops import fused

    x = torch.zeros(1, 2, 3, 4)
    assert passes(x) is eager
    assert passes(x, "triton") is fused
    monkeypatch.setenv(VARIABLE, "triton")
    assert passes(x) is fused
    assert passes(x, "eager") is eager
    monkeypatch.setenv(VARIABLE, "")
    assert passes(x) is eager


def test_naive_is_the_textbook(monkeypatch):
    module = PolarizedSelfAttention(4)
    x = torch.randn(1, 4, 3, 3)
    expected = naive.polarized_self_attention(x, dict(module.named_parameters()))
    assert not torch.equal(module(x), expected)  # the same up to rounding
    monkeypatch.setenv(VARIABLE, "naive")
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize(
    ("size", "dtype", "interpret", "message"),
    [
        ((1, 2, 3, 4), torch.float32, "0", "the tensor is on cpu, not on a GPU"),
        ((1, 2, 3, 4), torch.float64, "1", "they do not know torch.float64"),
        ((1, 4098, 1, 1), torch.float32, "1", "4098 channels are more than 4096"),
        ((1, 2, 2**15, 2**15), torch.float16, "1", "an image has 2.31 elements or more"),
    ],
)
def test_what_the_kernels_cannot_do_is_said(size, dtype, interpret, message, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", interpret)
    x = torch.zeros((), dtype=dtype).expand(size)
    with pytest.raises(ValueError, match=f"the Triton kernels cannot run: {message}"):
        passes(x, "triton")


def test_without_triton_the_kernels_cannot_run(monkeypatch):
    monkeypatch.setattr(implementation, "TRITON", False)
    with pytest.raises(ValueError, match="the package triton is not installed"):
        passes(torch.zeros(1, 2, 3, 4), "triton")


def test_an_unknown_word_is_named(monkeypatch):
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(ValueError, match="PSA_SEG_IMPL must be one of naive, eager, triton"):
        PolarizedSelfAttention(4)
