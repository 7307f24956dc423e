"""Polarized Self-Attention for MMSegmentation. Using this package needs torch alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psa_seg.attention import PolarizedSelfAttention
    from psa_seg.attention.blocks import attend_in_blocks

__all__ = ["PolarizedSelfAttention", "__version__", "attend_in_blocks"]
__version__ = "0.1.0"

_HOMES = {
    "PolarizedSelfAttention": "psa_seg.attention",
    "attend_in_blocks": "psa_seg.attention.blocks",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: records are read without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
