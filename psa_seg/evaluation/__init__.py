"""Scores: importing this package registers the metrics."""

from psa_seg.evaluation.cityscapes import CityscapesPixelMetric
from psa_seg.evaluation.confusion import ConfusionMetric
from psa_seg.evaluation.submission import PredictionWriter

__all__ = ["CityscapesPixelMetric", "ConfusionMetric", "PredictionWriter"]
