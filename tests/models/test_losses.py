"""MMSegmentation's losses and samplers are as docs/recipes.md describes them."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn.functional import cross_entropy, one_hot


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
    each = cross_entropy(logits, labels, reduction="none", ignore_index=255)
    assert losses(CE, labels, logits)[0]["loss_ce"] == approx(each.mean())
    kept = head(CE, sampler=HARD).sampler.sample(logits, labels[:, None])
    assert 0 < kept.sum() < 80
    found, _ = losses(CE, labels, logits, sampler=HARD)
    assert found["loss_ce"] == approx((each * kept).mean()), "of all pixels"
    found, gradient = losses([CE, LOVASZ], torch.full_like(labels, 255))
    assert found["loss_lovasz"].mean().isnan()
    assert not gradient.any()
    labels = torch.arange(128).view(2, 8, 8) % 4  # Dice takes the classes of an image as one area
    truth = one_hot(labels, 4).permute(0, 3, 1, 2)
    p = logits.softmax(1)
    sums = [each.flatten(1).sum(1) for each in (p * truth, p * p, truth)]
    expected = (1 - 2 * sums[0] / (sums[1] + sums[2] + 2e-3)).mean()
    assert losses(DICE, labels, logits)[0]["loss_dice"] == approx(expected)


def test_accuracy_of_one_channel_is_the_share_of_the_background():
    labels = (torch.arange(128).view(2, 8, 8) % 4 == 0).long()
    perfect = (labels[:, None] - 0.5) * 20
    assert losses(SIGMOID, labels, perfect, **ONE)[0]["acc_seg"] == pytest.approx(75)
