"""Tensors in, tensors out: the oracle (`naive`) and the two passes over x (`pool`, `gate`), each in
plain PyTorch (`eager`) and as Triton kernels (`fused`).
"""

from psa_seg.ops.gate import gate
from psa_seg.ops.pool import pool

__all__ = ["gate", "pool"]
