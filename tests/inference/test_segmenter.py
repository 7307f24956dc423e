"""Pictures through a checkpoint: what a test says of them, however they come, in whatever parts."""

import copy
import io
import itertools

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from PIL import Image

import psa_seg
from psa_seg.errors import UserError
from psa_seg.inference.segmenter import Wanted
from psa_seg.inference.tiles import bands
from tests.conftest import evaluate, small
from tests.inference.conftest import NAME


@METRICS.register_module()
class KeepLabels(BaseMetric):
    """Every label map that a test makes, by its image."""

    kept: dict[str, np.ndarray] = {}  # noqa: RUF012

    def process(self, batch, samples):
        for sample in samples:
            self.kept[sample["img_path"]] = sample["pred_sem_seg"]["data"][0].cpu().numpy()
        self.results.append(None)

    def compute_metrics(self, results):
        return {}


def maps_of_a_test(checkpoint, streets, folder, **options):
    """The label maps of `tools/test.py`."""
    KeepLabels.kept = {}
    config = small(NAME, streets, folder, test_evaluator=dict(type="KeepLabels"))
    evaluate(config, str(checkpoint), **options)
    return KeepLabels.kept


@pytest.fixture(scope="session")
def labels(segmenter, pictures):
    found = [one.labels for one in segmenter(pictures)]
    assert len(np.unique(found)) > 1, "of maps of one value there is no telling"
    return found


@pytest.mark.parametrize("tta", [False, True])
def test_labels_are_those_of_a_test(segmenter, checkpoint, streets, pictures, tmp_path, tta):
    expected = maps_of_a_test(checkpoint, streets, tmp_path / "test", tta=tta)
    for path, found in zip(pictures, segmenter(pictures, tta=tta), strict=True):
        np.testing.assert_array_equal(found.labels, expected[str(path)])
        assert found.labels.dtype == np.uint8


@pytest.mark.parametrize("batch", [2, 3])
def test_batches_differ_in_hardly_a_pixel(segmenter, pictures, labels, batch):
    found = [one.labels for one in segmenter(pictures, batch=batch)]
    assert np.mean(np.array(found) != np.array(labels)) <= 1e-5


def test_a_batch_is_of_one_size(segmenter, pictures):
    wide = cv2.resize(cv2.imread(str(pictures[1])), (200, 50))
    given = [pictures[0], wide, pictures[2], wide, wide]
    found = segmenter(given, batch=2, bgr=True)
    sizes = [(128, 256), (50, 200), (128, 256), (50, 200), (50, 200)]
    assert [one.labels.shape for one in found] == sizes
    np.testing.assert_array_equal(found[1].labels, found[4].labels)


def test_a_picture_may_come_in_any_form(segmenter, pictures, labels):
    image = Image.open(pictures[0])
    alpha = image.convert("RGBA")
    for given in (str(pictures[0]), image, np.asarray(image), alpha, np.asarray(alpha)):
        np.testing.assert_array_equal(segmenter(given).labels, labels[0])
    bgr = cv2.imread(str(pictures[0]))
    np.testing.assert_array_equal(segmenter(bgr, bgr=True).labels, labels[0])
    scores = [segmenter(bgr, scores=True, bgr=told).scores for told in (False, True)]
    assert abs(scores[0] - scores[1]).max() > 1e-3, "RGB unless told otherwise"
    one, two = segmenter([pictures[0], np.asarray(image)])
    np.testing.assert_array_equal(one.image, np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(one.image, two.image)


def test_files_of_every_kind_are_the_picture_that_they_show(segmenter, pictures, labels, tmp_path):
    """Turned by Exif, with alpha, 16 bit: the same pixels; grey: three channels of it."""
    image = Image.open(pictures[0]).convert("RGB")
    pixels = np.asarray(image)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.rotate(90, expand=True).save(tmp_path / "exif.png", exif=exif)
    image.convert("RGBA").save(tmp_path / "alpha.png")
    cv2.imwrite(str(tmp_path / "deep.png"), pixels[..., ::-1].astype(np.uint16) * 257)
    image.convert("L").save(tmp_path / "grey.png")
    for name in ("exif", "alpha", "deep"):
        np.testing.assert_array_equal(segmenter(tmp_path / f"{name}.png").labels, labels[0], name)
    turned = Image.open(tmp_path / "exif.png")
    np.testing.assert_array_equal(segmenter(turned).labels, labels[0])
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    assert deep.mode == "I;16"
    found = segmenter([deep, image.convert("L")])
    np.testing.assert_array_equal(found[0].labels, found[1].labels)
    grey = np.asarray(image.convert("L"))
    found = segmenter([tmp_path / "grey.png", grey, np.stack([grey] * 3, axis=2)])
    for one in found[1:]:
        np.testing.assert_array_equal(one.labels, found[0].labels)


def test_scores_are_probabilities_whose_largest_is_the_label(segmenter, pictures):
    for tta in (False, True):
        found = segmenter(pictures[0], scores=True, confidence=True, tta=tta)
        assert found.scores.shape == (19, 128, 256)
        assert found.scores.dtype == found.confidence.dtype == np.float32
        np.testing.assert_allclose(found.scores.sum(0), 1, atol=1e-5)
        np.testing.assert_array_equal(found.scores.argmax(0), found.labels)
        np.testing.assert_allclose(found.scores.max(0), found.confidence, atol=1e-5)
    plain = segmenter(pictures[0])
    assert plain.scores is plain.confidence is plain.gates is None


def test_shares_and_pictures(segmenter, pictures):
    found = segmenter(pictures[0])
    assert list(found.shares()) == list(segmenter.names)
    assert sum(found.shares().values()) == pytest.approx(1)
    best = segmenter.names[np.bincount(found.labels.ravel()).argmax()]
    assert max(found.shares(), key=found.shares().get) == best
    assert found.overlay(legend=False).shape == (128, 256, 3)
    np.testing.assert_array_equal(found.overlay(opacity=0, legend=False), found.image)
    np.testing.assert_array_equal(found.overlay(opacity=1, legend=False), found.colours())
    overlay = found.overlay()
    assert overlay.shape[0] > 128
    assert overlay.shape[1] == 256
    colours = {tuple(pixel) for pixel in overlay[128:].reshape(-1, 3).tolist()}
    for index in np.unique(found.labels):
        assert tuple(segmenter.palette[index]) in colours, "each class that occurs has its patch"
    assert "image/png" in found._repr_mimebundle_()
    assert f"256x128 pixels: {best} " in repr(found)


def test_gates_are_those_of_each_picture(segmenter, pictures):
    """Of a batch each its own; nothing stays behind in the model."""
    alone = [segmenter(path, gates=True).gates for path in pictures[:2]]
    together = [one.gates for one in segmenter(pictures[:2], gates=True, batch=2)]
    for one, other in zip(alone, together, strict=True):
        assert list(one) == ["decode_head.attention"]
        gate = one["decode_head.attention"]
        assert gate.channel.shape == (64,)
        assert gate.spatial.ndim == 2
        np.testing.assert_allclose(gate.channel, other["decode_head.attention"].channel, atol=1e-5)
        np.testing.assert_allclose(gate.spatial, other["decode_head.attention"].spatial, atol=1e-5)
    assert not any(m._forward_pre_hooks for m in segmenter.model.modules())


@pytest.mark.parametrize("tile", [96, 64])
def test_tiles_blend_into_what_each_tile_says(segmenter, pictures, tile):
    """Where a tile is alone its logits count; bands of rows are all rows, once."""
    load, rest = segmenter.pipeline()
    data = rest(load({"img_path": str(pictures[0])}))
    image, sample = data["inputs"], data["data_samples"]
    model, meta = segmenter.model, sample.metainfo
    with torch.no_grad():
        found = torch.cat(list(bands(model, image, meta, tile)), dim=1)
        assert found.shape == (19, *image.shape[1:])
        batch = dict(inputs=[image[:, :tile, :tile]], data_samples=[sample])
        batch = model.data_preprocessor(batch, False)
        corner = model.encode_decode(batch["inputs"], [{"img_shape": (tile, tile)}])[0]
    sure = 32  # where the second tile begins
    torch.testing.assert_close(found[:, :sure, :sure], corner[:, :sure, :sure])


def test_a_picture_smaller_than_a_tile_is_seen_as_a_whole(segmenter, pictures, labels):
    found = segmenter(pictures[0], tile=1024, confidence=True)
    np.testing.assert_array_equal(found.labels, labels[0])
    whole = segmenter(pictures[0], confidence=True)
    np.testing.assert_array_equal(found.confidence, whole.confidence)


def test_tiles_of_a_picture_that_is_not_resized_come_in_bands(segmenter, pictures):
    """As without: band by band, or all at once, the labels are the same."""
    twin = copy.copy(segmenter)
    twin.steps = [step for step in segmenter.steps if step["type"] != "Resize"]
    found = twin(pictures[0], tile=96, confidence=True)
    scored = twin(pictures[0], tile=96, confidence=True, scores=True)
    np.testing.assert_array_equal(found.labels, scored.labels)
    np.testing.assert_allclose(found.confidence, scored.scores.max(0), atol=1e-5)


def test_of_a_network_that_does_not_look_far_tiles_are_the_whole(segmenter, pictures):
    """A 1x1 convolution: whatever the tiles, each pixel has its own logits, or their mean."""
    conv = torch.nn.Conv2d(3, 19, 1)
    twin = copy.copy(segmenter)
    twin.model = copy.deepcopy(segmenter.model)
    twin.model.encode_decode = lambda inputs, metas: conv(inputs)
    twin.model._logits = twin.model.encode_decode
    wide = cv2.resize(cv2.imread(str(pictures[0])), (301, 203))
    twin.steps = [step for step in segmenter.steps if step["type"] != "Resize"]
    whole = twin(wide, scores=True, bgr=True)
    assert len(np.unique(whole.labels)) > 3
    for tile in (32, 100, 203, 300):
        found = twin(wide, tile=tile, scores=True, bgr=True)
        np.testing.assert_allclose(found.scores, whole.scores, atol=1e-5)
        assert np.mean(found.labels != whole.labels) < 1e-3, "of equal scores either may win"


def test_heads_of_one_channel_and_of_hundreds(segmenter, pictures):
    """The rest and a class: two scores; beyond 256 classes labels take two bytes."""
    for channels, classes, names in ((1, 2, "ab"), (300, 300, map(str, range(300)))):
        twin = copy.copy(segmenter)
        twin.model = copy.deepcopy(segmenter.model)
        twin.names = tuple(names)
        head = twin.model.decode_head
        head.conv_seg = torch.nn.Conv2d(64, channels, 1)
        head.conv_seg.weight.data[-1] = 1  # the last class wins somewhere
        head.out_channels = twin.model.out_channels = channels
        head.threshold = 0.5
        for wishes in ({}, dict(tile=96), dict(tta=True)):
            found = twin(pictures[0], scores=True, confidence=True, **wishes)
            assert found.scores.shape == (classes, 128, 256)
            np.testing.assert_allclose(found.scores.sum(0), 1, atol=1e-5)
            np.testing.assert_allclose(found.scores.max(0), found.confidence, atol=1e-5)
            assert np.mean(found.labels != found.scores.argmax(0)) < 1e-3
            assert found.labels.dtype == (np.uint8 if classes < 256 else np.uint16)
        assert found.labels.max() < classes
    assert found.labels.max() > 255


def test_a_call_leaves_nothing_in_the_model(segmenter, pictures, monkeypatch):
    model = segmenter.model
    segmenter(pictures[0], scores=True, confidence=True)
    assert (model.scored, model.confident) == (False, False)
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "test_step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segmenter(pictures[0], scores=True)
    assert (model.scored, model.confident) == (False, False)
    with segmenter.giving(scores=True), segmenter.giving(confidence=True):
        assert (model.scored, model.confident) == (False, True)
    assert (model.scored, model.confident) == (False, False)


def test_arrays_go_the_way_of_files(segmenter, pictures):
    """What the loader makes of a file an array becomes, or it is said that it cannot."""
    twin = copy.copy(segmenter)
    first, *rest = segmenter.steps
    twin.steps = [{**first, "to_float32": True}, *rest]
    found = twin([pictures[0], Image.open(pictures[0])], scores=True)
    np.testing.assert_array_equal(found[0].scores, found[1].scores)
    np.testing.assert_array_equal(found[0].image, segmenter(pictures[0]).image)
    twin.steps = [{**first, "color_type": "grayscale"}, *rest]
    with pytest.raises(UserError, match=r"as 'grayscale', which an array is not(.|\n)*give paths"):
        twin(Image.open(pictures[0]))


WISHES = {
    "tiles are seen once each": dict(tile=96, tta=True),
    "others for each tile": dict(tile=96, gates=True),
    "others for each view": dict(gates=True, tta=True),
    "batch=0": dict(batch=0),
    "tile=10": dict(tile=10),
}


@pytest.mark.parametrize("reason", WISHES)
def test_wishes_that_make_no_sense(segmenter, pictures, reason):
    with pytest.raises(UserError, match=reason):
        segmenter(pictures[0], **WISHES[reason])


def test_gates_of_a_network_without_attention(segmenter, pictures):
    twin = copy.copy(segmenter)
    twin.model = copy.deepcopy(segmenter.model)
    twin.model.decode_head.attention = None
    with pytest.raises(UserError, match="gates: the network has no attention"):
        twin(pictures[0], gates=True)


GIVEN = {
    "not found": "no/such.png",
    "float64": np.zeros((4, 4, 3)),
    r"\[4, 4, 7\]": np.zeros((4, 4, 7), np.uint8),
    "NoneType": None,
    "does not take 2x3000 pixels: the array": np.zeros((3000, 2, 3), np.uint8),
    "whose white is not known": Image.new("F", (8, 8)),
    "a video, and no picture": "drive.mp4",
}


@pytest.mark.parametrize("reason", GIVEN)
def test_what_is_no_picture_is_told(segmenter, reason):
    with pytest.raises(UserError, match=reason):
        segmenter(GIVEN[reason])


def test_a_picture_that_is_cut_short_is_told(segmenter, pictures):
    """A PIL image is decoded when it is needed; the rest goes on."""
    whole = pictures[0].read_bytes()
    cut = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    first, second = segmenter.each([cut, pictures[0]], Wanted())
    assert "cannot be decoded" in str(first)
    assert second.labels.shape == (128, 256)


def test_memory_that_does_not_suffice_is_told(segmenter, pictures, monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(segmenter.model), "test_step", full)
    with pytest.raises(UserError, match=rf"256x128 pixels: {pictures[0]}(.|\n)*tile=1024"):
        segmenter(pictures[0])
    monkeypatch.setattr(type(segmenter.model), "test_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # ours keeps its traceback
        segmenter(pictures[0])


@pytest.mark.parametrize("name", ["cuda:7", "meta", "toaster"])
def test_a_device_that_is_not_here_is_told(checkpoint, name):
    with pytest.raises(UserError, match=f"no device '{name}' here"):
        psa_seg.load(checkpoint, device=name)


def test_pictures_are_read_as_they_are_asked_for(segmenter, pictures):
    """A list may be endless: of a video, say."""
    stream = segmenter.each(itertools.cycle(pictures), Wanted(batch=2))
    assert len([*itertools.islice(stream, 5)]) == 5
