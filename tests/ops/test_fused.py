"""The Triton kernels against the oracle: on a GPU where there is one, else interpreted."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from psa_seg.ops import eager, gate, implementation, pool, values
from tests.parity import (
    DEVICE,
    FORMATS,
    assert_errs_like_plain_pytorch,
    both_branches,
    build,
    exact_twin,
    fitting,
    relative_error,
    run,
    run_module,
    run_naive,
    variants,
)

pytest.importorskip("triton")
from benchmarks import tiles as sweep
from psa_seg.ops import fused
from psa_seg.ops.fused import tiles

SIZES = [(1, 2, 1, 1), (2, 6, 1, 7), (3, 10, 5, 3), (2, 70, 3, 51)]
formats = pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)


@pytest.fixture(autouse=True)
def triton():
    with implementation("triton"):
        yield


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Memory that nothing wrote is NaN, so that a kernel that forgets a corner is seen."""
    # Whatever was run before may have turned it off.
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def assert_parity(module, x, upstream):
    """Of the output and every gradient, by the rule for low precision, whatever the dtype."""
    module = module.to(DEVICE)
    reference = run_naive(exact_twin(module), x.double().cpu(), upstream.double().cpu())
    plain = run_naive(module, x.to(DEVICE), upstream.to(DEVICE))
    actual = run_module(module, x.to(DEVICE), upstream.to(DEVICE))
    on_cpu = [{name: value.cpu() for name, value in result.items()} for result in (actual, plain)]
    assert_errs_like_plain_pytorch(*on_cpu, reference)
    return actual


@variants
@formats
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_the_textbook_with_every_gradient(size, memory_format, variant):
    module = build(size[1], variant, torch.float32)
    x, upstream = torch.randn(2, *fitting(size, module))
    x = x.contiguous(memory_format=memory_format)
    actual = assert_parity(module, x, upstream)
    assert actual["out"].is_contiguous(memory_format=memory_format)
    assert actual["x"].is_contiguous(memory_format=memory_format)


def test_all_the_channels_there_may_be():
    """Of the passes alone: a module of 4,096 channels is slow for its own matrices."""
    x, dout = torch.randn(2, 1, 4096, 1, 3, device=DEVICE)
    # Smaller values, or the logits are so far apart that q is 0 or 1.
    w_q, u = torch.randn(2, 4096, device=DEVICE) / 64
    a, dg, dmean = torch.randn(3, 1, 4096, device=DEVICE)
    b_q, beta = torch.zeros(2, 1, device=DEVICE)
    inputs = (x, w_q, a, u[None], beta)

    def both(which, dtype):
        leaves = [value.to(dtype).requires_grad_() for value in inputs]
        x, w_q, a, u, beta = leaves
        g, mean, pooled = pool(x, w_q, b_q.to(dtype), impl=which)
        out = g, mean, gate(pooled, a, u=u, beta=beta, impl=which)
        upstream = [value.to(dtype) for value in (dg, dmean, dout)]
        return *out, *torch.autograd.grad(out, leaves, upstream)

    exact, actual = both("eager", torch.float64), both("triton", torch.float32)
    for value, expected in zip(actual, exact, strict=True):
        assert relative_error(value.cpu(), expected.cpu()) < 2e-5


@variants
def test_an_offset_costs_no_digits(variant):
    """Differences of sums over x would: after a ReLU, its mean is not 0."""
    module = build(34, variant, torch.float32)
    x, upstream = torch.randn(2, *fitting((2, 34, 7, 19), module))
    with torch.no_grad():  # small logits: the softmax over pixels is not all in one
        for parameter in module.parameters():
            parameter.mul_(0.2)
    assert_parity(module, x + 10, upstream)


@variants
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_errs_no_more_than_plain_pytorch(dtype, variant):
    x, upstream = torch.randn(2, 2, 34, 7, 19).to(dtype)
    assert_parity(build(34, variant, dtype), x, upstream)


@pytest.mark.parametrize("shared", [99 << 10, 163 << 10, 227 << 10])  # of an RTX, A100, H100
@pytest.mark.parametrize("channels", [2, 34, 512, 2048, 4096])
@formats
def test_tiles_in_flight_fit_into_shared_memory(memory_format, channels, shared, monkeypatch):
    monkeypatch.setattr(tiles, "gpu", lambda device: (132, shared))
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.empty(8, channels, 128, 256, dtype=dtype, device="meta")
        x = x.contiguous(memory_format=memory_format).flatten(2)
        for kernel in tiles.TILES:
            plan = tiles.launch(kernel, x)
            assert plan.programs * plan.tiles * plan.block_n >= 128 * 256
            assert plan.warps in (1, 2, 4, 8, 16)
            row = plan.block_n * x.itemsize
            assert row >= 16 or x.stride(2) != 1, "a row of pixels is loaded 16 bytes at a time"
            reads = 2 if kernel.endswith("backward") else 1
            waiting = (plan.stages - 1) * reads * plan.block_c * row
            # The largest reduction takes 8 KiB more: see test_compiling.
            assert waiting + (8 << 10) <= shared, (kernel, plan)


def test_every_plan_of_a_sweep_computes_the_same():
    x, u = torch.randn(2, 6, 40, device=DEVICE), torch.randn(2, 6, device=DEVICE)
    usual = tiles.launch("dot", x)
    plans = sweep.plans("dot", x)
    assert plans[0] == usual
    assert len(set(plans)) == len(plans) > 10
    for plan in plans[::20]:
        with sweep.taking(plan):
            torch.testing.assert_close(fused.dot(x, u), torch.einsum("bcn,bc->bn", x, u))
    assert fused.launch("dot", x) == usual


def test_values_are_multiplied_in_the_units_of_a_gpu(monkeypatch):
    """Here on a CPU: bfloat16 factors, float32 sums; and they are counted."""
    module = build(16, ("official", "sequential", "both"), torch.bfloat16)
    x, upstream = torch.randn(2, *fitting((2, 16, 7, 19), module)).bfloat16()
    counted = []
    for has_units in (False, True):
        monkeypatch.setattr(values, "_has_units", lambda x, has_units=has_units: has_units)
        assert_parity(module, x, upstream)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(x.to(DEVICE))
        counted.append(counter.get_total_flops())
    assert counted[0] == counted[1] > 0


@pytest.mark.parametrize(
    "variant",  # between them all that is summed over programs
    [("paper", "sequential", "both"), ("official", "parallel", "both")],
    ids="-".join,
)
def test_many_programs_add_up(variant, monkeypatch):
    """More of them than the combining kernel reads at once, the last one with fewer tiles."""
    monkeypatch.setattr(tiles, "PROGRAMS", 80)
    monkeypatch.setattr(tiles, "gpu", lambda device: (1, tiles.SHARED_BYTES))  # on a GPU, too
    module = build(4, variant, torch.float32)
    x, upstream = torch.randn(2, *fitting((1, 4, 25, 27), module))
    plan = tiles.launch("pool_forward", x.flatten(2))
    assert plan.programs > 32
    assert plan.programs * plan.tiles * plan.block_n >= 25 * 27 + plan.block_n
    assert_parity(module, x, upstream)


def test_inputs_and_gradients_of_any_strides():
    wide = torch.randn(2, 12, 9, 10, device=DEVICE)
    last = wide.contiguous(memory_format=torch.channels_last)
    views = [wide[:, ::2, :, 1:8], wide[:, 3:9], wide.transpose(2, 3)[:, :6], last[:, ::2]]
    for x in views:
        upstream = torch.randn_like(x).contiguous(memory_format=torch.channels_last)
        actual = assert_parity(build(6, dtype=torch.float32), x, upstream)
        assert_parity(build(6, dtype=torch.float32), x, torch.ones(1).expand_as(x))
    assert actual["out"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_huge_logits_stay_finite(scale):
    module = build(8, dtype=torch.float32).to(DEVICE)
    x = scale * torch.randn(1, 8, 9, 9, device=DEVICE)
    result = run_module(module, x, torch.ones_like(x))
    assert all(value.isfinite().all() for value in result.values())
    plain = run_naive(module, x, torch.ones_like(x))
    torch.testing.assert_close(result["out"], plain["out"], rtol=1e-4, atol=1e-4 * abs(scale))


def test_float16_is_finite_wherever_the_exact_result_is():
    """Sums over the pixels and products with the upstream gradient overflow float16 by far."""
    module = build(8, dtype=torch.float16)
    x = torch.full((1, 8, 20, 20), 3e4, dtype=torch.float16)
    upstream = torch.full_like(x, 10)
    reference = run_naive(exact_twin(module), x.double(), upstream.double())
    actual = run_module(module.to(DEVICE), x.to(DEVICE), upstream.to(DEVICE))
    for name, value in reference.items():
        representable = value.abs() <= torch.finfo(torch.float16).max
        assert actual[name].cpu()[representable].isfinite().all(), name


@both_branches
def test_two_runs_give_the_same_bits(variant):
    module = build(34, variant, torch.float32).to(DEVICE)
    x, upstream = torch.randn(2, 2, 34, 15, 17, device=DEVICE)
    first, second = (run_module(module, x, upstream) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)
def test_every_operator_equals_the_eager_function(memory_format):
    """On its own, with each argument that may be None, and with p and r both at work."""
    x, dout = torch.randn(2, 2, 6, 5, 4, device=DEVICE).flatten(3)
    x = x.unflatten(2, (5, 4)).contiguous(memory_format=memory_format).flatten(2)
    p, r, u, dg, dmean = torch.randn(5, 2, 6, device=DEVICE)
    beta, w_q = torch.randn(2, device=DEVICE), torch.randn(6, device=DEVICE)
    dt = torch.randn(2, 20, device=DEVICE)
    _, (g, q) = eager.pool_forward(x, w_q)
    _, (_, *kept) = fused.pool_forward(x, w_q)
    torch.testing.assert_close((kept[0] - kept[1][:, :1]).exp() / kept[1][:, 1:], q)
    _, m = eager.gate_forward(x, p, r, u, beta)
    t = eager.dot(x, u).softmax(1)
    queries = {eager: (w_q, dg, g, q), fused: (w_q, dg, g, *kept)}
    all_, du = (True, True, True), (False, False, True)
    calls = [
        ("pool_forward", (x, None)),
        ("dot", (x, u)),
        *(("gate_forward", (x, p, r, *s)) for s in ((u, beta), (None, None), (None, None, m))),
        *(("gate_backward", (x, dout, r, m, *rest)) for rest in ((None, all_), (t, all_), (t, du))),
        ("gate_backward", (x, dout, r, m, None, (True, False, False))),
        ("gate_backward", (x, dout, r, None, None, all_)),
        *(("pool_backward", (x, dout, p, r, u, m, dt, dmean, given)) for given in (queries, None)),
    ]
    for name, arguments in calls:
        expected, actual = (
            getattr(module, name)(*(queries[module] if a is queries else a for a in arguments))
            for module in (eager, fused)
        )
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    (mean, (g, _)), (fused_mean, (fused_g, *_)) = (m.pool_forward(x, w_q) for m in (eager, fused))
    torch.testing.assert_close((fused_mean, fused_g), (mean, g), rtol=1e-4, atol=1e-5)


def test_operators_are_registered_properly():
    """Schemas, fakes and aliasing as `torch.compile` and `torch.export` rely on them."""
    x, dout = torch.randn(2, 2, 6, 20, device=DEVICE)
    vector, pixels, w_q = torch.randn(2, 6), torch.randn(2, 20), torch.randn(6)
    vector, pixels, w_q = vector.to(DEVICE), pixels.to(DEVICE), w_q.to(DEVICE)
    query = (w_q, vector, vector, pixels, vector[:, :2].contiguous())
    namespace = torch.ops.psa_seg
    for given in (w_q, None):
        torch.library.opcheck(namespace.pool_forward, (x, given))
    torch.library.opcheck(namespace.dot, (x, vector))
    for u, beta, m in ((vector, vector[:, 0], None), (None, None, pixels), (None, None, None)):
        torch.library.opcheck(namespace.gate_forward, (x, vector, vector, u, beta, m))
    for m, t in ((pixels, None), (pixels, pixels), (None, None)):
        needs = (True, False, m is not None)
        torch.library.opcheck(namespace.gate_backward, (x, dout, vector, m, t, *needs))
    for rest in (query, (None,) * 5):
        vectors = (vector,) * 3 + (pixels,) * 2 + (vector,)
        torch.library.opcheck(namespace.pool_backward, (x, dout, *vectors, *rest))


@both_branches
def test_compiles_into_one_graph(variant):
    torch._dynamo.reset()
    module = build(32, variant, torch.float32).to(DEVICE)
    x, upstream = torch.randn(2, 2, 32, 6, 5, device=DEVICE)
    parameters = dict(module.named_parameters())
    expected = run_module(module, x, upstream)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    actual = run(compiled, x, parameters, upstream)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-5)


def test_activation_checkpointing_gives_the_same_gradients():
    module = build(8, dtype=torch.float32).to(DEVICE)
    x, upstream = torch.randn(2, 2, 8, 6, 5, device=DEVICE)

    def recomputed(t):
        return torch.utils.checkpoint.checkpoint(module, t, use_reentrant=False)

    expected = run_module(module, x, upstream)
    actual = run(recomputed, x, dict(module.named_parameters()), upstream)
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_pool_alone_and_gate_alone_have_right_gradients():
    """`gate` hands its gradient of x to `pool`: what only one of them is used for is right, too."""
    x = torch.randn(2, 6, 3, 4, device=DEVICE)
    a, w_q, b_q = torch.rand(2, 6, device=DEVICE), torch.randn(6, device=DEVICE), torch.zeros(1)
    for which in ("eager", "triton"):
        leaf = x.clone().requires_grad_()
        g, mean, _ = pool(leaf, w_q, b_q.to(DEVICE), impl=which)
        (gradient,) = torch.autograd.grad((g + mean).sum(), leaf)
        plain = x.clone().requires_grad_()
        pixels = plain.flatten(2)
        query = (w_q @ pixels).softmax(1)
        total = (pixels * query[:, None]).sum() + pixels.mean(2).sum()
        torch.testing.assert_close(gradient, torch.autograd.grad(total, plain)[0])
        *_, pooled = pool(leaf, impl=which)
        out = gate(pooled, a, impl=which)
        (gradient,) = torch.autograd.grad(out.sum(), leaf)
        torch.testing.assert_close(gradient, a[:, :, None, None].expand_as(x))
        with pytest.raises(RuntimeError, match="for one `gate`"):
            gate(pooled, a, impl=which)


@pytest.mark.parametrize("which", ["eager", "triton"])
def test_autocast_does_not_reach_the_passes(which):
    x, a, w_q = torch.randn(1, 6, 5, 7), torch.rand(1, 6), torch.randn(6)
    x, a, w_q = x.to(DEVICE), a.to(DEVICE), w_q.to(DEVICE)

    def both():
        g, mean, pooled = pool(x, w_q, impl=which)
        return g, mean, gate(pooled, a, u=a, beta=a[:, 0], impl=which)

    expected = both()
    with torch.autocast(DEVICE, torch.bfloat16):
        actual = both()
    assert all(torch.equal(*pair) for pair in zip(actual, expected, strict=True))
