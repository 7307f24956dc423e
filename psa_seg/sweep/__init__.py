"""Experiments: one file says which attentions, placements and seeds; every run leaves a record."""

from psa_seg.sweep.experiment import Experiment, Run, read_experiment

__all__ = ["Experiment", "Run", "read_experiment"]
