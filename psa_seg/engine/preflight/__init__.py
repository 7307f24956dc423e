"""What can be known to go wrong is found before anything is trained: one message each."""

from psa_seg.engine.preflight.checkpoint import check_checkpoint
from psa_seg.engine.preflight.data import check_data
from psa_seg.engine.preflight.model import check_model
from psa_seg.engine.preflight.weights import check_weights

__all__ = ["check_checkpoint", "check_data", "check_model", "check_weights"]
