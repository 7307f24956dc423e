"""Boundary IoU, F1 within two pixels and calibration: against brute force, and as sums."""

import math

import numpy as np
import pytest
import torch

from psa_seg.errors import UserError
from psa_seg.evaluation import ConfusionMetric, further
from psa_seg.models.segmentors import most_probable
from psa_seg.records.scores import UNIT, scores
from tests.evaluation.test_confusion import evaluate, sample

ALL = ("boundary", "f1", "calibration")
VOID, CLASSES = 255, 4


def maps(seed, size=(23, 31)):
    """Blobs, thin lines and ignored patches; the fourth class never occurs."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (11, 9)).repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
    truth = truth.astype(np.int64)
    prediction = np.roll(truth, rng.integers(-2, 3, 2), (0, 1))
    truth[rng.integers(size[0])] = prediction[:, rng.integers(size[1])] = 2
    prediction[rng.random(size) < 0.05] = 2
    truth[rng.random(size) < 0.03] = truth[3:6, 7:12] = VOID
    return prediction, truth


def brute_band(mask, void, width):
    height, length = mask.shape
    found = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        for v in range(y - width, y + width + 1):
            for u in range(x - width, x + width + 1):
                inside = 0 <= v < height and 0 <= u < length
                if not inside or not (mask[v, u] or void[v, u]):
                    found[y, x] = True
    return found


def near(mask, y, x, reach=2):
    return any(math.hypot(y - v, x - u) <= reach for v, u in np.argwhere(mask))


@pytest.mark.parametrize("size", [(23, 31), (80, 61), (1, 9)])
def test_boundary_is_brute_forces(size):
    prediction, truth = maps(1, size)
    width = max(1, round(0.02 * math.hypot(*size)))
    assert width == {(23, 31): 1, (80, 61): 2, (1, 9): 1}[size]
    counts, void = further.boundary(prediction, truth, CLASSES, VOID), truth == VOID
    for index in range(CLASSES):
        true = brute_band(truth == index, void, width)
        predicted = brute_band((prediction == index) & ~void, void, width)
        assert counts[index].tolist() == [(true & predicted).sum(), (true | predicted).sum()]


def test_what_is_ignored_has_no_contour():
    truth = np.zeros((9, 40), int)
    truth[:, 20:] = VOID
    (counts,) = further.boundary(truth * 0, truth, 1, VOID)
    truth[:, 20:] = 0
    (whole,) = further.boundary(truth * 0, truth, 1, VOID)
    assert whole[1] - counts[1] == 2 * 20 + 7, "the edges of the right half, and no line between"


@pytest.mark.parametrize("seed", range(3))
def test_f1_is_brute_forces(seed):
    prediction, truth = maps(seed)
    counts = further.f1(prediction, truth, CLASSES, VOID)
    for index in range(CLASSES):
        true, predicted = truth == index, (prediction == index) & (truth != VOID)
        right = sum(near(true, *pixel) for pixel in np.argwhere(predicted))
        again = sum(near(predicted, *pixel) for pixel in np.argwhere(true))
        assert counts[index].tolist() == [predicted.sum(), right, true.sum(), again]


def test_a_crack_that_is_found_two_pixels_beside_is_found():
    truth = np.zeros((12, 12), int)
    truth[:, 5] = 1
    for shift, score in ((2, 100.0), (3, 0.0)):
        metric = ConfusionMetric(also=["f1"])
        moved = torch.from_numpy(np.roll(truth, shift, axis=1))
        evaluate(metric, [sample(moved, torch.from_numpy(truth))])
        assert metric.validation(1).scores()["F1"][1] == score


def test_calibration_is_brute_forces():
    logits = torch.randn(5, 20, 30).mul(3)
    truth = torch.randint(0, 5, (20, 30))
    truth[:4] = VOID
    labels, confidence = most_probable(iter(logits))
    torch.testing.assert_close(confidence[0], logits.softmax(0).amax(0))
    assert torch.equal(labels[0].long(), logits.argmax(0))
    counted = truth != VOID
    counts = further.calibration(confidence[0], labels[0] == truth, counted)
    sure, right = confidence[0][counted].double(), (labels[0] == truth)[counted]
    total = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15)
        assert counts[low, :2].tolist() == [int(inside.sum()), int(right[inside].sum())]
        if inside.any():
            gap = right[inside].double().mean() - sure[inside].mean()
            total += float(inside.double().mean() * gap.abs())
    one = sample(labels[0].long(), truth) | {"confidence": {"data": confidence}}
    metric = ConfusionMetric(also=["calibration"])
    metric.dataset_meta = {"classes": tuple("abcde")}
    metric.process(None, [one])
    assert metric.evaluate(1)["ECE"] == pytest.approx(100 * total, abs=100 / UNIT)


def test_the_edges_of_bins():
    """Bin k holds confidences above k / 15, up to and with (k + 1) / 15."""
    sure = torch.tensor([1.0, 0.2, 3 / 15 + 1e-4, 1e-9])
    counts = further.calibration(sure, torch.ones(4) > 0, torch.ones(4) > 0)
    assert counts[:, 0].nonzero().flatten().tolist() == [0, 2, 3, 14]
    assert counts[14].tolist() == [1, 1, UNIT]


def test_counts_add_up_over_images_whoever_counts_them():
    """In any split and order the same integers."""
    samples = []
    for seed in range(5):
        prediction, truth = map(torch.from_numpy, maps(seed))
        samples.append(sample(prediction, truth) | {"confidence": {"data": torch.rand(23, 31)}})
    whole = ConfusionMetric(also=ALL)
    figures = evaluate(whole, samples)
    assert {"mBIoU", "mF1", "ECE"} < figures.keys()
    metrics = [ConfusionMetric(also=ALL) for _ in range(2)]
    for metric, part in zip(metrics, (samples[3:], samples[2::-1]), strict=True):
        metric.dataset_meta = {"classes": ("a", "b", "c", "d")}
        metric.process(None, part)
    for name, *parts in zip(("confusion", *ALL), *(m.results for m in metrics), strict=True):
        expected = whole.confusion if name == "confusion" else whole.counts[name]
        assert np.array_equal(sum(parts).numpy(), expected), name
    validation = whole.validation(7)
    assert validation.scores()["mIoU"] == scores(whole.confusion)["mIoU"]


def test_of_nothing_there_is_no_score():
    """A class that neither truth nor prediction has; one that is never found scores 0."""
    metric = ConfusionMetric(also=["boundary", "f1"])
    truth = torch.zeros(8, 8, dtype=int)
    truth[2:4, 2:4] = 1
    evaluate(metric, [sample(truth * 0, truth)])
    found = metric.validation(1).scores()
    assert found["F1"][1] == found["BIoU"][1] == 0
    assert np.isnan(found["F1"][2:]).all()
    assert np.isnan(found["BIoU"][2:]).all()


@pytest.mark.parametrize("also", [["ece"], "f1", 5, [["f1"]], {"f1": 1}, [1, "f1"]])
def test_another_score_is_a_message(also):
    with pytest.raises(UserError, match=r"choose of boundary, f1, calibration|must be a list"):
        ConfusionMetric(also=also)


def test_upstreams_one_channel_has_its_sigmoid_already():
    probability = torch.rand(1, 6, 7)
    labels = (probability[0] > 0.3).long()
    metric = ConfusionMetric(also=["calibration"])
    one = sample(labels, labels) | {"seg_logits": {"data": probability}}
    one["pred_sem_seg"]["data"] = labels[None]
    metric.dataset_meta = {"classes": ("a", "b")}
    metric.process(None, [one])
    sure = torch.where(labels > 0, probability[0], 1 - probability[0])
    assert metric.evaluate(1)["ECE"] == pytest.approx(float(100 * (1 - sure).mean()), abs=0.01)


def test_upstreams_models_are_scored_by_their_logits():
    logits, truth = torch.randn(4, 6, 7), torch.randint(0, 4, (6, 7))
    one = sample(logits.argmax(0), truth)
    metric = ConfusionMetric(also=["calibration"])
    evaluate(metric, [one | {"seg_logits": {"data": logits}}])
    ours = ConfusionMetric(also=["calibration"])
    evaluate(ours, [one | {"confidence": {"data": logits.softmax(0).amax(0)[None]}}])
    assert np.array_equal(metric.counts["calibration"], ours.counts["calibration"])
    with pytest.raises(UserError, match="gives no confidence"):
        metric.process(None, [one])
