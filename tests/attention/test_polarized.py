"""The module against the oracle, and everything it promises to survive."""

import copy
import subprocess
import sys

import pytest
import torch

from psa_seg import PolarizedSelfAttention
from psa_seg.ops import eager, implementation, naive, values
from tests.parity import (
    DEVICE,
    FORMATS,
    assert_errs_like_plain_pytorch,
    both_branches,
    build,
    exact_twin,
    fitting,
    relative_error,
    run_module,
    run_naive,
    sizes_made,
    variants,
)

SIZES = [(1, 2, 1, 1), (2, 6, 1, 7), (3, 10, 5, 3), (1, 64, 17, 31)]


@variants
@pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_the_textbook_with_every_gradient(size, memory_format, variant):
    module = build(size[1], variant)
    x = torch.randn(fitting(size, module), dtype=torch.float64)
    x = x.contiguous(memory_format=memory_format)
    upstream = torch.randn_like(x)
    reference = run_naive(module, x, upstream)
    actual = run_module(module, x, upstream)
    for name, value in reference.items():
        assert actual[name] is not None, f"{name} has no gradient"
        if name == "ch_wq.bias":  # a softmax ignores it: the true gradient is 0
            assert actual[name].abs().max() < 1e-10
        elif value.norm() < 1e-10:  # one pixel: the query has nothing to choose from
            assert actual[name].norm() < 1e-10
        else:
            assert relative_error(actual[name], value) < 1e-10, name


@variants
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_low_precision_errs_no_more_than_plain_pytorch(dtype, variant):
    low = build(32, variant, dtype)
    x, upstream = torch.randn(2, 2, 32, 19, 23).to(dtype)
    reference = run_naive(exact_twin(low), x.double(), upstream.double())
    plain = run_naive(low, x, upstream)
    assert_errs_like_plain_pytorch(run_module(low, x, upstream), plain, reference)


@variants
def test_an_offset_costs_no_digits(variant):
    """Differences of sums over x would: after a ReLU, its mean is not 0."""
    module = build(34, variant, torch.float32)
    with torch.no_grad():  # small logits: the softmax over pixels is not all in one
        for parameter in module.parameters():
            parameter.mul_(0.2)
    x, upstream = torch.randn(2, *fitting((2, 34, 7, 19), module))
    reference = run_naive(exact_twin(module), (x + 10).double(), upstream.double())
    plain = run_naive(module, x + 10, upstream)
    assert_errs_like_plain_pytorch(run_module(module, x + 10, upstream), plain, reference)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_keeps_the_sums_in_float32(dtype):
    module = build(32, dtype=torch.float32)
    x = torch.randn(1, 32, 40, 40)
    with torch.autocast("cpu", dtype=dtype):
        full, low = module(x), module(x.to(dtype))
    torch.testing.assert_close(full, module(x), rtol=0, atol=0)
    assert low.dtype == dtype
    ulp = torch.finfo(dtype).eps  # processors sum float32 in orders of their own
    torch.testing.assert_close(low, module(x.to(dtype).float()).to(dtype), rtol=ulp, atol=0)


def test_mean_of_a_large_half_precision_map():
    """1/N is subnormal in float16 for a 128x256 map, and a float16 sum would overflow."""
    module = build(4, dtype=torch.float16)
    x = torch.full((1, 4, 128, 256), 100.0, dtype=torch.float16)
    expected = naive.polarized_self_attention(
        x.double(), {n: p.double() for n, p in module.named_parameters()}
    )
    torch.testing.assert_close(module(x).double(), expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_huge_logits_stay_finite(scale):
    module = build(8, dtype=torch.float32)
    x = scale * torch.randn(1, 8, 9, 9)
    result = run_module(module, x, torch.ones_like(x))
    assert all(value.isfinite().all() for value in result.values())


@variants
@pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)
def test_nothing_of_the_size_of_x_is_made_or_kept(memory_format, variant, monkeypatch):
    """But the output and the gradient, in the memory format of x; in blocks of four rows.

    The values of `PSA_s` have a gradient of x to themselves, which is then added.
    """
    monkeypatch.setattr(eager, "CPU_BLOCK", 64 // torch.get_num_threads())
    monkeypatch.setattr(values, "KEPT", 0)
    module = build(32, variant, torch.float32)
    x = torch.randn(2, 32, 8, 9).contiguous(memory_format=memory_format).requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), sizes_made(x) as forward:
        out = module(x)
    upstream = torch.randn_like(x)
    with sizes_made(x, upstream) as backward:
        out.backward(upstream)
    assert forward == [x.numel()]
    assert backward == [x.numel()] * (3 if variant[:2] == ("official", "sequential") else 1)
    assert {t.data_ptr() for t in kept if t.numel() >= x.numel() / 2} == {x.data_ptr()}
    assert out.is_contiguous(memory_format=memory_format)
    assert x.grad.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("kept", [0, 2**24])
@pytest.mark.parametrize("branches", ["both", "spatial"])
def test_images_and_pixels_in_blocks_are_the_same_function(branches, kept, monkeypatch):
    monkeypatch.setattr(eager, "CPU_BLOCK", 600 // torch.get_num_threads())
    monkeypatch.setattr(values, "KEPT", kept)
    module = build(32, ("official", "sequential", branches))
    x, upstream = torch.randn(2, 3, 32, 8, 9, dtype=torch.float64)
    expected = run_naive(module, x, upstream)
    for name, value in run_module(module, x, upstream).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("which", ["eager", "triton"])
def test_no_images_are_no_error(which):
    module = build(6, dtype=torch.float32)
    x = torch.randn(0, 6, 4, 5)
    with implementation(which):
        result = run_module(module, x, torch.randn_like(x))
    assert result["out"].shape == result["x"].shape == x.shape
    assert all(result[name].norm() == 0 for name, _ in module.named_parameters())


def test_twice_differentiated_is_an_error_and_not_a_wrong_number():
    x = torch.randn(1, 6, 4, 5, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"differentiable once: .* PSA_SEG_IMPL=naive"):
        torch.autograd.grad(build(6)(x).sum(), x, create_graph=True)


def test_views_and_slices():
    module = build(6)
    wide = torch.randn(2, 12, 5, 9, dtype=torch.float64)
    x = wide[:, ::2, :, 1:8]
    torch.testing.assert_close(module(x), module(x.contiguous()))


@both_branches
def test_exports_with_dynamic_sizes(variant):
    module = build(32, variant, torch.float32).eval()
    dynamic = {
        0: torch.export.Dim.DYNAMIC,
        2: torch.export.Dim.DYNAMIC,
        3: torch.export.Dim.DYNAMIC,
    }
    program = torch.export.export(module, (torch.randn(2, 32, 6, 5),), dynamic_shapes=(dynamic,))
    x = torch.randn(3, 32, 4, 9)
    torch.testing.assert_close(program.module()(x), module(x))


@variants
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:torch.jit.TracerWarning")
def test_a_saved_trace_holds_for_any_size(variant, tmp_path):
    module = build(32, variant, torch.float32).eval()
    torch.jit.trace(module, torch.randn(2, 32, 6, 5)).save(tmp_path / "trace.pt")
    x = torch.randn(3, 32, 4, 9)
    torch.testing.assert_close(torch.jit.load(tmp_path / "trace.pt")(x), module(x))


def test_identity_start_changes_nothing_and_learns():
    module = PolarizedSelfAttention(16, init="identity")
    x = torch.randn(2, 16, 9, 11)
    assert torch.equal(module(x), x)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    initial = {n: p.detach().clone() for n, p in module.named_parameters()}
    for _ in range(3):  # the layers behind a zeroed one move a step later
        optimizer.zero_grad()
        (module(x) - x.flip(0)).square().mean().backward()
        optimizer.step()
    still = [n for n, p in module.named_parameters() if torch.equal(p, initial[n])]
    assert still in ([], ["ch_wq.bias"])


@pytest.mark.parametrize("which", ["naive", "eager", "triton"])
@variants
def test_a_residual_starts_as_the_identity_and_has_the_textbooks_gradients(variant, which):
    form, layout, branches = variant
    channels = build(8, variant).in_channels
    module = PolarizedSelfAttention(channels, form, layout, branches, residual=True)
    x, upstream = torch.randn(2, 2, channels, 5, 6, device=DEVICE if which == "triton" else "cpu")
    module.to(x.device)
    upstream += x  # the gradient of γ is a sum of products of both: it should not cancel out
    with implementation(which):
        for dtype in (torch.float32, torch.bfloat16):
            assert torch.equal(module(x.to(dtype)), x.to(dtype))
        for gamma in (0.0, -1.5):
            for parameter in module.parameters():
                torch.nn.init.normal_(parameter, std=0.5)
            torch.nn.init.constant_(module.gamma, gamma)
            exact = copy.deepcopy(module).double()
            reference = run_naive(exact, x.double(), upstream.double())
            if which == "naive":
                reference.pop("ch_wq.bias", None)  # 0, but for its rounding
            plain, actual = run_naive(module, x, upstream), run_module(module, x, upstream)
            assert_errs_like_plain_pytorch(actual, plain, reference)
            assert actual["gamma"].abs() > 0


def test_a_residual_learns_and_begins_again():
    module = PolarizedSelfAttention(16, "official", "sequential", residual=True)
    x = torch.randn(2, 16, 5, 7)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    initial = {n: p.detach().clone() for n, p in module.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        (module(x) - x.flip(0)).square().mean().backward()
        optimizer.step()
    assert not [n for n, p in module.named_parameters() if torch.equal(p, initial[n])]
    assert "residual=True" in repr(module)
    assert "residual" not in repr(PolarizedSelfAttention(16))
    module.init_weights()
    assert torch.equal(module(x), x)
    with pytest.raises(ValueError, match="starts as the identity by itself"):
        PolarizedSelfAttention(16, init="identity", residual=True)


def test_init_weights_restores_the_start_that_a_parent_overwrote():
    module = PolarizedSelfAttention(8, init="identity")
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    module.init_weights()
    x = torch.randn(1, 8, 3, 3)
    assert torch.equal(module(x), x)


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_state_dict_is_the_popular_ports():
    c = 8
    convs = {"ch_wv": (4, c), "ch_wq": (1, c), "ch_wz": (c, 4), "sp_wv": (4, c), "sp_wq": (4, c)}
    expected = {f"{n}.weight": (*s, 1, 1) for n, s in convs.items()}
    expected |= {f"{n}.bias": s[:1] for n, s in convs.items()}
    expected |= {"ln.weight": (c,), "ln.bias": (c,)}
    assert shapes(PolarizedSelfAttention(c)) == expected


def test_state_dict_and_start_are_the_released_classes():
    c, inner, hidden = 64, 32, 8
    convs = {"q_right": (1, c), "v_right": (inner, c), "q_left": (inner, c), "v_left": (inner, c)}
    shared = {f"conv_{n}.weight": (*s, 1, 1) for n, s in convs.items()}
    parallel = PolarizedSelfAttention(c, form="official")
    assert shapes(parallel) == shared | {"conv_up.weight": (c, inner, 1, 1)}
    sequential = PolarizedSelfAttention(c, form="official", layout="sequential")
    assert shapes(sequential) == shared | {
        "conv_up.0.weight": (hidden, inner, 1, 1),
        "conv_up.0.bias": (hidden,),
        "conv_up.1.weight": (hidden, 1, 1),
        "conv_up.1.bias": (hidden, 1, 1),
        "conv_up.3.weight": (c, hidden, 1, 1),
        "conv_up.3.bias": (c,),
    }
    for module in (parallel, sequential):  # He's start for `fan_in` and ReLU: variance 2 / C
        for name in ("v_right", "q_left", "v_left"):
            weight = module.get_parameter(f"conv_{name}.weight")
            assert 0.85 < weight.std() / (2 / c) ** 0.5 < 1.15, name
            assert weight.abs().max() > 2.5 * weight.std(), "normal, and not uniform"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 7}, "even"),
        ({"in_channels": 0}, "at least 2"),
        ({"in_channels": 6, "form": "official", "layout": "sequential"}, "at least 8"),
        ({"in_channels": 8, "form": "PSA"}, "form must be one of 'paper', 'official'"),
        ({"in_channels": 8, "layout": "serial"}, "layout must be one of 'parallel', 'sequential'"),
        ({"in_channels": 8, "branches": "none"}, "branches must be one of"),
        ({"in_channels": 8, "init": "zero"}, "init must be one of"),
        ({"in_channels": 8, "init": "identity", "form": "official"}, "identity.*paper"),
        ({"in_channels": 8, "init": "identity", "layout": "sequential"}, "identity.*parallel"),
        ({"in_channels": 8, "init": "identity", "branches": "spatial"}, "identity.*both"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PolarizedSelfAttention(**arguments)


@pytest.mark.parametrize("shape", [(8, 4, 4), (1, 6, 4, 4), (2, 8), (1, 8, 0, 4)], ids=str)
def test_wrong_inputs_are_named(shape):
    with pytest.raises(ValueError, match=r"expected an input \[B, 8, H, W\]"):
        PolarizedSelfAttention(8)(torch.zeros(shape))


def test_whole_numbers_are_no_input():
    with pytest.raises(ValueError, match=r"floating-point numbers, not torch.int64"):
        PolarizedSelfAttention(2)(torch.ones(1, 2, 3, 3, dtype=torch.int64))


def test_importing_the_package_needs_torch_alone():
    code = "import sys, psa_seg; print(*{'mmengine', 'mmcv', 'mmseg', 'cv2'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_the_ports_name_for_the_width():
    named, placed = PolarizedSelfAttention(channel=16, layout="sequential"), build(16)
    assert (named.in_channels, named.layout) == (16, "sequential")
    named.load_state_dict(placed.state_dict())
    with pytest.raises(TypeError, match="in_channels=16 and channel=16 are the same number"):
        PolarizedSelfAttention(16, channel=16)
    with pytest.raises(TypeError, match="needs the channels of the map"):
        PolarizedSelfAttention()
