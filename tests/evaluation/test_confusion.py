"""The metric against MMSegmentation's, and where that one's float32 sums go wrong."""

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from psa_seg.errors import DataError, UserError
from psa_seg.evaluation import ConfusionMetric
from psa_seg.records.scores import scores

CLASSES = ("a", "b", "c", "d")


def sample(prediction, truth):
    return {"pred_sem_seg": {"data": prediction[None]}, "gt_sem_seg": {"data": truth[None]}}


@pytest.fixture
def samples():
    predictions, truths = torch.randint(0, 3, (2, 5, 40, 60))
    truths[torch.rand(truths.shape) < 0.1] = 255
    return [sample(p, t) for p, t in zip(predictions, truths, strict=True)]


def evaluate(metric, samples):
    metric.dataset_meta = {"classes": CLASSES}
    for one in samples:
        metric.process({}, [one])
    return metric.evaluate(len(samples))


def test_agrees_with_mmsegmentation(samples):
    ours = evaluate(ConfusionMetric(), samples)
    theirs = evaluate(IoUMetric(iou_metrics=["mIoU"]), samples)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=0.00501)  # theirs is rounded


def test_counts_by_truth_and_prediction():
    metric = ConfusionMetric()
    evaluate(metric, [sample(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 255]]))])
    expected = np.zeros((4, 4), int)
    expected[0, 0] = expected[0, 1] = 1
    assert (metric.confusion == expected).all()


def test_a_class_that_does_not_occur_does_not_count():
    figures = scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert np.isnan(figures["IoU"][2])
    assert figures["mIoU"] == pytest.approx(100 * (3 / 4 + 4 / 5) / 2)
    assert figures["aAcc"] == pytest.approx(100 * 7 / 8)


def test_counts_beyond_float32_stay_exact():
    big = 2**24
    figures = scores(np.array([[big + 1, 1], [0, big]]))
    assert figures["IoU"][0] == pytest.approx(100 * (big + 1) / (big + 2), rel=1e-12)


def test_scores_on_another_number_of_images_are_refused():
    """A sampler that rounds up would count an image twice."""
    metric = ConfusionMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    truth = torch.tensor([[0, 1, 255]])
    metric.process(None, [sample(truth.clamp(max=1), truth)] * 2)
    with pytest.raises(UserError, match="2 images were scored, of a set of 1"):
        metric.evaluate(1)


def test_a_label_that_is_no_class_is_a_message():
    metric = ConfusionMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    truth = torch.tensor([[0, 7]])
    with pytest.raises(DataError, match="label ids out of range: 0 to 7"):
        metric.process(None, [sample(truth * 0, truth) | {"seg_map_path": "mask.png"}])


@pytest.mark.parametrize(("truth", "prediction"), [(0, 4), (1, 2), (1, -1), (0, -2)])
def test_a_prediction_that_is_no_class_is_counted_in_no_cell(truth, prediction):
    """Truth 0 and prediction 4 of 3 classes would be the cell of truth 1 and prediction 1."""
    metric = ConfusionMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    pixels = torch.full((1, 2), truth)
    with pytest.raises(UserError, match=f"the model predicts class {prediction}, and"):
        metric.process(None, [sample(torch.full((1, 2), prediction), pixels)])


def test_a_mask_of_another_size_is_named():
    metric = ConfusionMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    truth = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(DataError, match=r"mask of 1x3 for a prediction of 1x2\n  in +mask.png"):
        metric.process(None, [sample(truth[:, :2], truth) | {"seg_map_path": "mask.png"}])


def test_no_pixel_that_counts_is_a_message_and_no_score(recwarn):
    """Every mask is all 255: neither 0.0 nor NaN would be true."""
    metric = ConfusionMetric()
    truth = torch.full((4, 6), 255)
    with pytest.raises(UserError, match="no pixel of 1 images counts: every one is marked 255"):
        evaluate(metric, [sample(torch.zeros(4, 6, dtype=int), truth)])
    assert not recwarn.list
