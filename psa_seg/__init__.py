"""Polarized Self-Attention for MMSegmentation. The attention itself needs torch alone.

The data's way through the package, with no way back:

    command line, config file, data.yaml
      -> engine.prepare   the one place that writes to a config
      -> engine.doctor    looks: checks act on nothing, and return findings
      -> engine.run.Run   frozen: config, work directory, what the weights start from
      -> engine.launch    builds mmengine's Runner of it, and lets it run
      -> models           backbone, neck and head, with an attention where `placement` says
      -> attention, ops   what acts there, and its kernels
      -> engine.hooks     the confusion matrix of each validation, what a step and an image cost
      -> records.Record   frozen, versioned, one JSON a run; `fingerprint` says which run it is
      -> leaderboard      boards of records alone: tables, a page

`sweep` turns an experiment into such runs; `registered` is what configs import. A trained model
goes on without a Runner: `load(checkpoint)(picture)`, of `inference`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psa_seg.attention import PolarizedSelfAttention
    from psa_seg.attention.blocks import attend_in_blocks
    from psa_seg.inference import load
    from psa_seg.ops import implementation

__all__ = ["PolarizedSelfAttention", "__version__", "attend_in_blocks", "implementation", "load"]
__version__ = "0.1.0"

_HOMES = {
    "PolarizedSelfAttention": "psa_seg.attention",
    "attend_in_blocks": "psa_seg.attention.blocks",
    "implementation": "psa_seg.ops",
    "load": "psa_seg.inference",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: records are read without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
