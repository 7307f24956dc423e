"""What can be known to go wrong is found before anything is trained.

A check acts on nothing, and returns its findings: one message each, the first of which stops a run.
"""

from psa_seg.engine.doctor.checkpoint import (
    check_checkpoint,
    check_demo,
    check_names,
    check_same_run,
    new_heads,
    trained_model,
)
from psa_seg.engine.doctor.classes import check_classes
from psa_seg.engine.doctor.data import check_data, look
from psa_seg.engine.doctor.items import check_items
from psa_seg.engine.doctor.model import (
    check_checkpoints,
    check_model,
    check_views,
    has_batch_norm,
)
from psa_seg.engine.doctor.remarks import remarks
from psa_seg.engine.doctor.sizes import check_cut, check_sizes
from psa_seg.engine.doctor.validation import check_scored, check_scores, check_windows

__all__ = [
    "check_checkpoint",
    "check_checkpoints",
    "check_classes",
    "check_cut",
    "check_data",
    "check_demo",
    "check_items",
    "check_model",
    "check_names",
    "check_same_run",
    "check_scored",
    "check_scores",
    "check_sizes",
    "check_views",
    "check_windows",
    "has_batch_norm",
    "look",
    "new_heads",
    "remarks",
    "trained_model",
]
