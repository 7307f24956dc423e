"""Which code runs, and what is said where it cannot."""

import os
import subprocess
import sys

import pytest
import torch

from psa_seg import PolarizedSelfAttention
from psa_seg.ops import choice, eager, implementation, naive
from psa_seg.ops.choice import passes


def test_a_cpu_gets_plain_pytorch_and_whoever_asks_the_kernels(monkeypatch):
    pytest.importorskip("triton")
    from psa_seg.ops import fused

    monkeypatch.setenv("TRITON_INTERPRET", "1")
    x = torch.zeros(1, 2, 3, 4)
    assert passes(x) is eager
    assert passes(x, "triton") is fused
    with implementation("triton"):
        assert passes(x) is fused
        assert passes(x, "eager") is eager
        with implementation(None):
            assert passes(x) is eager
    assert passes(x) is eager


def test_naive_is_the_textbook():
    module = PolarizedSelfAttention(4)
    x = torch.randn(1, 4, 3, 3)
    expected = naive.polarized_self_attention(x, dict(module.named_parameters()))
    assert not torch.equal(module(x), expected)  # the same up to rounding
    with implementation("naive"):
        assert torch.equal(module(x), expected)
        assert module(x.half()).dtype == torch.float16


@pytest.mark.parametrize(
    ("size", "dtype", "interpret", "message"),
    [
        ((1, 2, 3, 4), torch.float32, "0", "the tensor is on cpu, not on a GPU"),
        ((1, 2, 3, 4), torch.float64, "1", "they do not know torch.float64"),
        ((1, 4098, 1, 1), torch.float32, "1", "4098 channels are more than 4096"),
        ((65536, 2, 1, 1), torch.float32, "1", "65536 images are more than 65535"),
        ((1, 2, 2**15, 2**15), torch.float16, "1", "an image has 2.31 elements or more"),
    ],
)
def test_what_the_kernels_cannot_do_is_said(size, dtype, interpret, message, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", interpret)
    x = torch.zeros((), dtype=dtype).expand(size)
    with pytest.raises(ValueError, match=f"the Triton kernels cannot run: {message}"):
        passes(x, "triton")


def test_without_triton_the_kernels_cannot_run(monkeypatch):
    monkeypatch.setattr(choice, "TRITON", False)
    with pytest.raises(ValueError, match="the package triton is not installed"):
        passes(torch.zeros(1, 2, 3, 4), "triton")


def test_without_a_c_compiler_plain_pytorch_runs_after_a_warning(monkeypatch):
    def fail():
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(choice, "_build_launcher", fail)
    monkeypatch.setattr(choice, "TRITON", True)
    monkeypatch.setattr(choice, "no_launcher", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.warns(UserWarning, match="Triton kernels are not used: .*find C compiler"):
        PolarizedSelfAttention(4)

    class OnGPU(torch.Tensor):
        is_cuda = True

    assert passes(torch.zeros(1, 2, 3, 4).as_subclass(OnGPU)) is eager


def test_an_unknown_word_is_named():
    with pytest.raises(ValueError, match=r"an implementation must be one of .*, not 'cuda'"):
        passes(torch.zeros(1, 2, 3, 4), "cuda")
    with pytest.raises(ValueError, match="not 'cuda'"), implementation("cuda"):
        pass


ENVIRONMENT = """
import os
import torch
from psa_seg import PolarizedSelfAttention, implementation
from psa_seg.ops.choice import chosen

os.environ["PSA_SEG_IMPL"] = "later"  # is too late
print(chosen())
with implementation("eager"):
    print(chosen())
PolarizedSelfAttention(4)
"""


@pytest.mark.parametrize(("word", "said"), [("naive", "naive eager"), ("cuda", "not 'cuda'")])
def test_the_environment_is_the_default_and_read_once(word, said):
    run = subprocess.run(
        [sys.executable, "-c", ENVIRONMENT],
        env={**os.environ, choice.VARIABLE: word},
        capture_output=True,
        text=True,
    )
    assert said in " ".join(run.stdout.split()) + run.stderr
    assert (run.returncode == 0) == (word == "naive")


def test_what_is_compiled_follows_the_choice():
    torch._dynamo.reset()
    module, x = PolarizedSelfAttention(4), torch.randn(1, 4, 3, 3)
    seen = []

    def backend(graph, inputs):
        seen.append("conv" in graph.code)
        return graph

    compiled = torch.compile(module, backend=backend, fullgraph=True)
    compiled(x)
    with implementation("naive"):
        compiled(x)
    compiled(x)
    assert seen == [False, True]
