"""Bridges: others' checkpoints to ours, and back."""

from psa_seg.checkpoints.convert import KINDS, Order, convert

__all__ = ["KINDS", "Order", "convert"]
