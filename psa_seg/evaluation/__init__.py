"""Scores: importing this package registers the metrics."""

from psa_seg.evaluation.confusion import ConfusionMetric, scores

__all__ = ["ConfusionMetric", "scores"]
