"""The attention wherever PyTorch runs modules: copies, processes, devices, compilers."""

import os
import subprocess
import sys

import pytest
import torch
from torch._dynamo import compiled_autograd

from psa_seg import implementation
from tests.attention.test_contract import FIELD, C
from tests.attention.two_processes import WAYS
from tests.conftest import ROOT
from tests.parity import VARIANTS, both_branches, build, run_module, variants

OURS = {name: make for name, make in FIELD.items() if make(C).__module__.startswith("psa_seg.att")}


def replicas(module):
    """Two copies as `nn.DataParallel` makes them on GPUs: attributes, and no parameters."""

    def replica(of):
        made = of._replicate_for_data_parallel()
        for name, tensor in {**of._parameters, **of._buffers}.items():
            made._parameters.pop(name, None)
            setattr(made, name, None if tensor is None else tensor * 1)
        for name, child in of._modules.items():
            made._modules[name] = None if child is None else replica(child)
        return made

    return replica(module), replica(module)


@pytest.mark.parametrize("make", FIELD.values(), ids=FIELD)
def test_replicas_of_dataparallel(make):
    module = make(C).eval()
    x = torch.randn(4, C, 5, 6)
    parts = [copy(half) for copy, half in zip(replicas(module), x.chunk(2), strict=True)]
    assert list(replicas(module)[0].parameters()) == []
    torch.testing.assert_close(torch.cat(parts), module(x))
    torch.cat(parts).square().sum().backward()
    gradients = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    module(x).square().sum().backward()
    for one, p in zip(gradients, module.parameters(), strict=True):
        torch.testing.assert_close(one, p.grad, rtol=1e-4, atol=1e-5)


def test_two_processes_each_way():
    """Around the network, around attentions, around single parts: the same three steps."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "tests.attention.two_processes"]
    without_gpus = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}  # there may be one for both
    run = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=without_gpus, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    said = [line for line in run.stdout.splitlines() if "Gloo" not in line]
    assert said == list(WAYS)
    assert run.stderr.count("its part conv_v_left has hooks") == 1, "once a run"


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
def test_device_and_dtype_are_arguments(make):
    module = make(C, device="meta", dtype=torch.float64)
    tensors = [t for t in module.state_dict().values() if t.is_floating_point()]
    assert {(t.device.type, t.dtype) for t in tensors} == {("meta", torch.float64)}
    x = torch.empty(2, C, 5, 6, device="meta", dtype=torch.float64, requires_grad=True)
    out = module(x)
    out.sum().backward()
    assert (out.shape, out.device, x.grad.shape) == (x.shape, x.device, x.shape)
    assert {t.dtype for t in make(C).state_dict().values() if t.is_floating_point()} == {
        torch.float
    }


@both_branches
def test_compiled_for_sizes_that_change(variant):
    torch._dynamo.reset()
    module = build(16, variant, torch.float32)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(module, dynamic=True, fullgraph=True, backend=backend)
    for size in ((2, 4, 5), (3, 7, 9), (4, 6, 6)):
        x = torch.randn(size[0], module.in_channels, *size[1:])
        torch.testing.assert_close(compiled(x), module(x))
    assert len(graphs) == 1


@variants
def test_compiled_autograd_gives_the_same_gradients(variant):
    torch._dynamo.reset()
    module = build(16, variant, torch.float32)
    x, upstream = torch.randn(2, 2, module.in_channels, 4, 5)
    expected = run_module(module, x, upstream)
    with compiled_autograd._enable(lambda graph: graph):
        actual = run_module(module, x, upstream)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("variant", [VARIANTS[0], VARIANTS[2], VARIANTS[7]], ids="-".join)
def test_what_is_compiled_is_not_differentiated_twice_either(variant, backend):
    torch._dynamo.reset()
    module = torch.compile(build(16, variant), fullgraph=True, backend=backend)
    x = torch.randn(1, module.in_channels, 3, 4, dtype=torch.float64, requires_grad=True)
    loss = (module(x).sin() + x**3).sum()

    def second_derivative():
        (dx,) = torch.autograd.grad(loss, x, create_graph=True)
        return torch.autograd.grad(dx.square().sum(), x)

    message = {"eager": "differentiable once", "aot_eager": "create_graph|double backward"}
    with pytest.raises(RuntimeError, match=message[backend]):  # ours, or the compiler's own
        second_derivative()


def test_compiled_autograd_does_not_differentiate_twice_either():
    module = build(16)
    x = torch.randn(1, 16, 3, 4, dtype=torch.float64, requires_grad=True)
    torch._dynamo.reset()
    loss = (module(x).sin() + x**3).sum()
    enabled = compiled_autograd._enable(lambda graph: torch.compile(graph, backend="eager"))
    with enabled, pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(loss, x, create_graph=True)


@variants
def test_the_textbook_can_be_differentiated_twice(variant):
    module = build(8, variant)
    x = torch.randn(1, module.in_channels, 3, 2, dtype=torch.float64, requires_grad=True)
    with implementation("naive"):
        assert torch.autograd.gradgradcheck(module, x)
