"""The attentions, one per file, in plain torch."""

from psa_seg.attention.polarized import PolarizedSelfAttention

__all__ = ["PolarizedSelfAttention"]
