"""Weights: how they are read, and others' brought to ours and back."""
