"""What can be known to go wrong is found before anything is trained.

A check acts on nothing, and returns its findings: one message each, the first of which stops a run.
"""

from psa_seg.engine.preflight.checkpoint import check_checkpoint, check_same_run, trained_model
from psa_seg.engine.preflight.data import check_data
from psa_seg.engine.preflight.model import check_checkpoints, check_model
from psa_seg.engine.preflight.sizes import check_sizes

__all__ = [
    "check_checkpoint",
    "check_checkpoints",
    "check_data",
    "check_model",
    "check_same_run",
    "check_sizes",
    "trained_model",
]
