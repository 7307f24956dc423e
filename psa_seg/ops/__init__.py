"""Tensors in, tensors out: the oracle (`naive`) and the two passes over x (`pool`, `gate`), each in
plain PyTorch (`eager`) and as Triton kernels (`fused`); and what one form needs besides (`values`).
"""

from psa_seg.ops.gate import gate
from psa_seg.ops.pool import pool
from psa_seg.ops.values import value_logits

__all__ = ["gate", "pool", "value_logits"]
