"""Tensors in, tensors out: the oracle (`naive`) and the two passes over x (`passes`), each in plain
PyTorch (`eager`) and as Triton kernels (`fused`); what one form needs besides (`values`); and which
of them runs (`choice`).
"""

from psa_seg.ops.choice import implementation
from psa_seg.ops.passes import gate, pool
from psa_seg.ops.values import value_logits

__all__ = ["gate", "implementation", "pool", "value_logits"]
