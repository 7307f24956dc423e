"""What a forward pass costs, counted without computing it."""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from psa_seg.ops.implementation import TRITON

CPU_ATTENTION = {  # PyTorch counts this product on a GPU alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)
    )
}


def count_flops(model: nn.Module, size: tuple[int, int]) -> dict[str, int]:
    """FLOPs of one image's forward pass, by module; nothing is computed.

    Those of convolutions and matrix products, two for each multiply-add; the auxiliary head has no
    part in it.

    Args:
        model: an EncoderDecoder.
        size: rows and columns of the image.

    Returns:
        FLOPs by the module's name as in `named_modules`, those of all together as `Global`; nothing
        for a model with operators whose shapes cannot be told without running them.
    """
    weight = next(model.parameters())
    if weight.is_cuda and TRITON:  # to say what they cost, to counters made after that
        import psa_seg.ops.fused  # noqa: F401
    counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
    training = model.training
    model.eval()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), counter:
            model(weight.new_empty(1, 3, *size), mode="tensor")
    except RuntimeError:  # how fake tensors refuse an operator
        return {}
    finally:
        model.train(training)
    root = type(model).__name__
    return {
        name.removeprefix(f"{root}."): sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
    }
