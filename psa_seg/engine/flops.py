"""What a forward pass costs, counted without computing it."""

from collections.abc import Sequence

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from psa_seg.ops.choice import TRITON

CPU_ATTENTION = {  # PyTorch counts this product on a GPU alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)
    )
}


def count_flops(model: nn.Module, shape: Sequence[int], **options: object) -> dict[str, int]:
    """FLOPs of a forward pass, by module; nothing is computed.

    Those of convolutions and matrix products, two for each multiply-add.

    Args:
        model: any module; of an EncoderDecoder, with `mode='tensor'`, the auxiliary head has no
            part in it.
        shape: of its input.
        **options: besides.

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
            model(weight.new_empty(*shape), **options)
    except RuntimeError:  # how fake tensors refuse an operator
        return {}
    finally:
        model.train(training)
    root = type(model).__name__
    return {
        name.removeprefix(f"{root}."): sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
    }
