"""Polarized Self-Attention for MMSegmentation. Importing this package needs torch alone."""

from psa_seg.attention import PolarizedSelfAttention

__all__ = ["PolarizedSelfAttention", "__version__"]
__version__ = "0.1.0"
