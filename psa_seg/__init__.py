"""Polarized Self-Attention for MMSegmentation. Importing this package needs torch alone."""

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.attention.blocks import attend_in_blocks

__all__ = ["PolarizedSelfAttention", "__version__", "attend_in_blocks"]
__version__ = "0.1.0"
