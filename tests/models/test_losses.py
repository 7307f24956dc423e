"""MMSegmentation's losses are as docs/recipes.md describes them, and the same by rows."""

from itertools import product

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from psa_seg.models.losses import cross_entropy, take_rows, upstream_cross_entropy


def head(loss, classes=4, **options):
    options = {"in_channels": 8, "channels": 8, "num_convs": 1, **options}
    return MODELS.build(dict(type="FCNHead", num_classes=classes, loss_decode=loss, **options))


def losses(loss, labels, logits=None, **options):
    """Losses of a head for label maps `[B, H, W]`, and the gradient of logits that are random."""
    built = head(loss, **options)
    logits = torch.randn(len(labels), built.out_channels, 8, 8) if logits is None else logits
    logits = logits.clone().requires_grad_()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    found = built.loss_by_feat(logits, samples)
    sum(value.mean() for name, value in found.items() if "loss" in name).backward()
    return {name: value.detach() for name, value in found.items()}, logits.grad


def approx(tensor):
    return pytest.approx(float(tensor))


CE, DICE = dict(type="CrossEntropyLoss"), dict(type="DiceLoss", use_sigmoid=False)
LOVASZ = dict(type="LovaszLoss", reduction="none")
WEIGHTED = dict(CE, class_weight=[1.0, 2.0, 0.5, 1.0])
HARD = dict(type="OHEMPixelSampler", thresh=0.7, min_kept=10)
ONE = dict(classes=2, out_channels=1, threshold=0.5)
SIGMOID = dict(CE, use_sigmoid=True)


@pytest.mark.parametrize(
    ("loss", "options", "ignored", "error"),
    [
        (dict(WEIGHTED, avg_non_ignore=True), {}, None, IndexError),
        (dict(CE, class_weight=[1.0, 2.0]), {}, None, RuntimeError),
        ([CE, DICE], dict(sampler=HARD), None, AssertionError),
        ([CE, DICE], dict(sampler=dict(HARD, thresh=None)), None, RuntimeError),
        (dict(type="LovaszLoss"), {}, None, AssertionError),
        (dict(LOVASZ, per_image=True), {}, (0,), RuntimeError),
        (LOVASZ, {}, "all but one", IndexError),
        (CE, ONE, None, IndexError),
        (dict(SIGMOID, class_weight=[1.0, 3.0]), ONE, None, RuntimeError),
        (SIGMOID, ONE, slice(None), RuntimeError),
        (SIGMOID, dict(ONE, sampler=HARD), None, RuntimeError),
    ],
)
def test_what_breaks_off_does(loss, options, ignored, error):
    labels = torch.arange(128).view(2, 8, 8) % options.get("classes", 4)
    if ignored == "all but one":
        labels.view(-1)[1:] = 255
    elif ignored is not None:
        labels[ignored] = 255
    with pytest.raises(error):
        losses(loss, labels, **options)


def test_what_works_and_how():
    labels = torch.arange(128).view(2, 8, 8) % 4
    labels[:, :3] = 255
    for loss, counts in ((CE, False), (WEIGHTED, False), ([CE, LOVASZ], False), (DICE, True)):
        _, gradient = losses(loss, labels)
        assert bool(gradient[:, :, :3].any()) == counts, "ignored pixels have a gradient"
    logits = torch.randn(2, 4, 8, 8)
    each = F.cross_entropy(logits, labels, reduction="none", ignore_index=255)
    assert losses(CE, labels, logits)[0]["loss_ce"] == approx(each.mean())
    kept = head(CE, sampler=HARD).sampler.sample(logits, labels[:, None])
    assert 0 < kept.sum() < 80
    found, _ = losses(CE, labels, logits, sampler=HARD)
    assert found["loss_ce"] == approx((each * kept).mean()), "of all pixels"
    found, gradient = losses([CE, LOVASZ], torch.full_like(labels, 255))
    assert found["loss_lovasz"].mean().isnan()
    assert not gradient.any()
    labels = torch.arange(128).view(2, 8, 8) % 4  # Dice takes the classes of an image as one area
    truth = F.one_hot(labels, 4).permute(0, 3, 1, 2)
    p = logits.softmax(1)
    sums = [each.flatten(1).sum(1) for each in (p * truth, p * p, truth)]
    expected = (1 - 2 * sums[0] / (sums[1] + sums[2] + 2e-3)).mean()
    assert losses(DICE, labels, logits)[0]["loss_dice"] == approx(expected)


def test_accuracy_of_one_channel_is_the_share_of_the_background():
    labels = (torch.arange(128).view(2, 8, 8) % 4 == 0).long()
    perfect = (labels[:, None] - 0.5) * 20
    assert losses(SIGMOID, labels, perfect, **ONE)[0]["acc_seg"] == pytest.approx(75)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_by_rows_is_upstreams(reduction):
    torch.manual_seed(0)
    truth = torch.randint(19, (2, 6, 5))
    truth[:, :2] = 255
    weights = (None, torch.rand(2, 6, 5)), (None, torch.rand(19))
    for weight, class_weight in product(*weights):
        options = dict(class_weight=class_weight, reduction=reduction, ignore_index=255)
        found = []
        for compute in (upstream_cross_entropy, cross_entropy):
            logits = torch.linspace(-3, 3, 2 * 19 * 30).view(2, 19, 6, 5).sin()
            logits = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
            loss = compute(logits, truth, weight, **options)
            loss.backward(torch.ones_like(loss))
            found.append((loss, logits.grad))
        torch.testing.assert_close(found[1], found[0])
        assert found[1][1].is_contiguous(memory_format=torch.channels_last)


def test_segmentors_take_rows_in_upstreams_cross_entropy_alone():
    kept = [dict(SIGMOID), dict(type="FocalLoss"), DICE]
    model = torch.nn.ModuleList([head([CE, WEIGHTED]), head(kept)])
    before = [loss.__dict__.copy() for loss in model[1].loss_decode]
    take_rows(model)
    assert all(loss.cls_criterion is cross_entropy for loss in model[0].loss_decode)
    assert [loss.__dict__ for loss in model[1].loss_decode] == before
    few, truth = torch.randn(1, 4, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long)
    few = few.contiguous(memory_format=torch.channels_last)
    assert cross_entropy(few, truth) == upstream_cross_entropy(few, truth)
