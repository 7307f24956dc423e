"""Records of runs: written here, read here, and known to no other package by their keys."""

from psa_seg.records.files import find, read, write
from psa_seg.records.schema import (
    Attempt,
    Environment,
    Inference,
    Memory,
    Plan,
    Record,
    Validation,
)

__all__ = [
    "Attempt",
    "Environment",
    "Inference",
    "Memory",
    "Plan",
    "Record",
    "Validation",
    "find",
    "read",
    "write",
]
