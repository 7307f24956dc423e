"""Prediction without full-resolution logits against MMSegmentation's: the same label maps."""

import copy

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from benchmarks.measure import peak_bytes
from psa_seg.models import segmentors
from psa_seg.models.losses import accuracy
from psa_seg.models.placement import decode_heads

CONFIG = "psa_deeplabv3plus_cityscapes"
CASCADE = "psa_hrnet48_ocr_cityscapes"
SLIDE = dict(mode="slide", crop_size=(128, 128), stride=(128, 96))


@pytest.fixture
def twins(tiny):
    """A function: options → upstream's model and ours with its weights, and the test loader."""

    def build(name=CONFIG, pipeline=None, **options):
        config = tiny(name, **{"test_dataloader.batch_size": 2, **options})
        for head in decode_heads(config.model):
            head.dropout_ratio = 0
        if pipeline:
            config.test_dataloader.dataset.pipeline = config[pipeline]
        if pipeline == "tta_pipeline":
            scales, *_ = config.tta_pipeline[1].transforms
            scales[:] = scales[1:3]  # with their flips four views, which show what twelve do
        kind = config.model.type.removeprefix("Lean")
        stock = MODELS.build({**copy.deepcopy(config.model), "type": kind})
        if stock.out_channels == 1:
            torch.nn.init.normal_(stock.decode_head.conv_seg.weight)  # both classes in each image
        lean = MODELS.build(config.model)
        lean.load_state_dict(stock.state_dict())  # strictly: the names are the same
        # In training mode BatchNorm keeps what random weights see from fading to one class.
        models = [revert_sync_batchnorm(model).train() for model in (stock, lean)]
        return *models, Runner.build_dataloader(config.test_dataloader, seed=0)

    return build


def label_maps(model, loader):
    with torch.no_grad():
        return [sample for batch in loader for sample in model.test_step(copy.deepcopy(batch))]


def assert_same_maps(theirs, ours):
    assert len(ours) == 4
    for one, other in zip(theirs, ours, strict=True):
        assert one.img_path == other.img_path
        assert other.pred_sem_seg.shape == other.gt_sem_seg.shape == (128, 256)
        assert torch.equal(one.gt_sem_seg.data, other.gt_sem_seg.data)
        assert len(other.pred_sem_seg.data.unique()) > 1, "of maps of one value there is no telling"
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data.to(one.pred_sem_seg.data))


OPTIONS = {
    "whole": {},
    "slide": {"model.test_cfg": SLIDE},
    "align_corners": {"model.decode_head.align_corners": True},
    "padded": {"model.data_preprocessor.test_cfg": dict(size_divisor=96)},
    "one class": {
        "model.decode_head.num_classes": 2,
        "model.decode_head.out_channels": 1,
        "model.decode_head.threshold": 0.5,
    },
}


@pytest.mark.parametrize(
    ("name", "options"),
    [*((CONFIG, name) for name in OPTIONS), (CASCADE, "whole"), (CASCADE, "slide")],
)
def test_label_maps_are_upstreams(twins, name, options):
    stock, lean, loader = twins(name, **OPTIONS[options])
    theirs, ours = label_maps(stock, loader), label_maps(lean, loader)
    assert_same_maps(theirs, ours)
    assert all("seg_logits" in sample for sample in theirs)
    assert not any("seg_logits" in sample for sample in ours)
    assert {sample.pred_sem_seg.data.dtype for sample in ours} == {torch.int16}


@pytest.mark.parametrize("wrapped", ["EncoderDecoder", "LeanEncoderDecoder"])
def test_label_maps_with_augmentation_are_upstreams(twins, wrapped):
    stock, lean, loader = twins(pipeline="tta_pipeline")
    module = {"EncoderDecoder": stock, "LeanEncoderDecoder": lean}[wrapped]
    theirs = label_maps(MODELS.build(dict(type="SegTTAModel", module=stock)), loader)
    ours = label_maps(MODELS.build(dict(type="LeanTTAModel", module=module)), loader)
    assert_same_maps(theirs, ours)


def test_one_class_with_augmentation_is_the_mean_of_upstreams_probabilities(twins):
    """Whose own augmentation takes the sigmoid of them again, and is above 0.5 everywhere."""
    stock, lean, loader = twins(pipeline="tta_pipeline", **OPTIONS["one class"])
    expected = []
    for batch in loader:
        views = (dict(zip(batch, view, strict=True)) for view in zip(*batch.values(), strict=True))
        found = [label_maps(stock, [view]) for view in views]
        for samples in zip(*found, strict=True):  # a sample's seg_logits have had their sigmoid
            mean = torch.stack([sample.seg_logits.data for sample in samples]).mean(0)
            samples[0].set_data({"pred_sem_seg": PixelData(data=mean > 0.5)})
            expected.append(samples[0])
    assert_same_maps(expected, label_maps(segmentors.LeanTTAModel(lean), loader))
    theirs = label_maps(MODELS.build(dict(type="SegTTAModel", module=stock)), loader)
    assert all((sample.pred_sem_seg.data == 1).all() for sample in theirs)


@pytest.mark.parametrize("options", ["whole", "one class"])
@pytest.mark.parametrize("pipeline", [None, "tta_pipeline"])
def test_label_maps_are_the_same_where_gradients_are_on(twins, pipeline, options):
    _, lean, loader = twins(pipeline=pipeline, **OPTIONS[options])
    model = segmentors.LeanTTAModel(lean) if pipeline == "tta_pipeline" else lean
    expected = label_maps(model, loader)
    made = []
    with torch.autograd.graph.saved_tensors_hooks(made.append, lambda kept: kept):
        found = [sample for batch in loader for sample in model.test_step(copy.deepcopy(batch))]
    assert_same_maps(expected, found)
    assert made == [], "no graph"


@pytest.mark.parametrize("name", [CONFIG, CASCADE])
def test_losses_and_accuracy_are_upstreams(twins, name):
    stock, lean, loader = twins(name)
    batch = stock.data_preprocessor(next(iter(loader)), training=True)
    batch["data_samples"][0].gt_sem_seg.data[:, :40] = 255
    theirs, ours = (model.eval().loss(**batch) for model in (stock, lean))
    assert theirs.keys() == ours.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, msg=key)
    nothing = torch.full((1, 4, 4), 255)
    assert accuracy(torch.randn(1, 3, 4, 4), nothing, 255).tolist() == [0.0]
    one_channel, truth = torch.randn(1, 1, 4, 4), torch.arange(16).view(1, 4, 4) % 2
    assert accuracy(one_channel, truth, 255).tolist() == [50.0], "class 1 has no channel"


def test_classes_that_are_masked_have_no_probability():
    maps = torch.tensor([-torch.inf, -torch.inf, 1.0, 0.0])[:, None, None]
    labels, confidence = segmentors.most_probable(iter(maps))
    assert (labels.item(), confidence.item()) == (2, pytest.approx(maps.softmax(0).max().item()))


def test_of_equal_scores_the_first_wins():
    scores = torch.randint(3, (5, 40, 60)).float()
    assert torch.equal(segmentors.argmax(iter(scores)), scores.argmax(0, keepdim=True).short())


def test_probabilities_of_maps_with_gradients():
    logits = torch.randn(5, 40, 60, requires_grad=True)
    found = segmentors.probabilities(iter(logits), 5)
    assert torch.equal(found, logits.detach().softmax(0))
    assert not found.requires_grad


class FromThinAir(segmentors.LeanEncoderDecoder):
    """No network: what is measured is what follows it."""

    def _logits(self, inputs, metas):
        return self.decode_head.conv_seg.weight.new_empty(1, 19, 8, 16).normal_()


@pytest.mark.parametrize(("tta", "maps"), [(False, 9), (True, 2 * 19 + 9)])
def test_memory_does_not_grow_with_classes_or_views(tiny, tta, maps):
    """In float maps of one class at full resolution, an image's nine among them.

    Upstream: twice 19 of them, and over 12 times 19.
    """
    model = FromThinAir(**{k: v for k, v in tiny(CONFIG).model.items() if k != "type"})
    sample = SegDataSample(metainfo=dict(ori_shape=(512, 1024)))
    view = dict(inputs=[torch.zeros(3, 512, 1024, dtype=torch.uint8)], data_samples=[sample])
    if tta:
        view = {key: [value] * 12 for key, value in view.items()}
        model = segmentors.LeanTTAModel(model)
    with torch.no_grad():
        peak = peak_bytes(lambda: model.test_step(view), "cpu")
    assert peak <= maps * 512 * 1024 * 4
