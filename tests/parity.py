"""What tests of the attention share: modules with random weights, and runs of them to compare."""

import contextlib
import os

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from psa_seg import PolarizedSelfAttention
from psa_seg.ops import naive

DEVICE = os.environ["PSA_SEG_TEST_DEVICE"]
VARIANTS = [
    ("paper", "parallel", "both"),
    ("paper", "sequential", "both"),
    ("paper", "parallel", "channel"),
    ("paper", "parallel", "spatial"),
    ("official", "parallel", "both"),
    ("official", "sequential", "both"),
    ("official", "parallel", "spatial"),
    ("official", "sequential", "spatial"),
]
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}

variants = pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
# For what costs more: what one branch does alone it does beside the other, too.
both_branches = pytest.mark.parametrize(
    "variant", [variant for variant in VARIANTS if variant[2] == "both"], ids="-".join
)


def build(channels, variant=VARIANTS[0], dtype=torch.float64):
    """A module whose every parameter is random: PyTorch's default leaves `ln` at 1 and 0.

    Of at least as many channels as its form must have.
    """
    form, layout, branches = variant
    if (form, layout) == ("official", "sequential"):
        channels = max(channels, 32)  # the layer norm of one number is a constant, of two a sign
    module = PolarizedSelfAttention(channels, form, layout, branches)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.to(dtype)


def fitting(size, module):
    """`size` `[B, C, H, W]` with the channels of `module`."""
    return size[0], module.in_channels, *size[2:]


def run(function, x, parameters, upstream):
    """Output and gradients, of x first, of `function(x)` under the upstream gradient."""
    x = x.detach().requires_grad_()
    for p in parameters.values():
        p.grad = None
    out = function(x)
    out.backward(upstream.to(out.dtype))
    return {"out": out.detach(), "x": x.grad} | {n: p.grad for n, p in parameters.items()}


def run_naive(module, x, upstream):
    parameters = dict(module.named_parameters())

    def oracle(t):
        return naive.polarized_self_attention(t, parameters, *variant_of(module))

    return run(oracle, x, parameters, upstream)


def variant_of(module):
    return module.form, module.layout, module.branches


def run_module(module, x, upstream):
    return run(module, x, dict(module.named_parameters()), upstream)


def relative_error(actual, reference):
    actual, reference = actual.double(), reference.double()
    return ((actual - reference).norm() / reference.norm().clamp_min(1e-300)).item()


def assert_errs_like_plain_pytorch(actual, plain, reference):
    """At most 2x (gradients 3x) the error of the textbook in the same dtype (flash-attention).

    Or a floor, as `plain` may be right by luck: two last bits, and 2e-5 in float32, where the
    interpreter adds up 4,096 channels one after the other.
    """
    for name, value in reference.items():
        dtype = plain[name].dtype
        assert actual[name].dtype == dtype, name
        assert actual[name].shape == value.shape, name
        if name == "ch_wq.bias":  # a softmax ignores it: the true gradient is 0
            assert actual[name].abs().max() == 0
            continue
        if value.norm() < 1e-10:  # one pixel: the query has nothing to choose from
            assert actual[name].norm() < torch.finfo(dtype).eps
            continue
        factor = 2 if name == "out" else 3
        floor = 2e-5 if dtype == torch.float32 else 2 * torch.finfo(dtype).eps
        bound = max(factor * relative_error(plain[name], value), floor)
        error = relative_error(actual[name], value)
        assert error <= bound, f"{name}: {error:.1e} > {bound:.1e}"


def exact_twin(module):
    """The same module in float64, on the CPU: for the reference."""
    twin = build(module.in_channels, variant_of(module))
    twin.load_state_dict(module.state_dict())
    return twin


@contextlib.contextmanager
def sizes_made(*known):
    """Fills the list that it yields with the size of each new memory of half of the first or more.

    What is made in the memory of the tensors `known` is not new.
    """
    least = known[0].numel() / 2
    made, known = [], {tensor.untyped_storage().data_ptr() for tensor in known}

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(tensor, torch.Tensor) and tensor.numel() >= least:
                    memory = tensor.untyped_storage()
                    if memory.data_ptr() not in known and memory.nbytes() >= tensor.nbytes:
                        made.append(tensor.numel())  # nbytes: not a carrier, one number expanded
                    known.add(memory.data_ptr())
            return out

    with Record():
        yield made
