"""The attentions, one per file, in plain torch. All of them are registered."""

from psa_seg.attention.cbam import CBAM
from psa_seg.attention.ema import EfficientMultiScaleAttention
from psa_seg.attention.focused_linear import FocusedLinearAttention
from psa_seg.attention.irmb import InvertedResidualMobileBlock
from psa_seg.attention.mhsa import MultiHeadSelfAttention
from psa_seg.attention.polarized import PolarizedSelfAttention
from psa_seg.attention.triplet import TripletAttention

__all__ = [
    "CBAM",
    "EfficientMultiScaleAttention",
    "FocusedLinearAttention",
    "InvertedResidualMobileBlock",
    "MultiHeadSelfAttention",
    "PolarizedSelfAttention",
    "TripletAttention",
]
