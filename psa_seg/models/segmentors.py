"""Prediction that keeps label maps, and no logits at full resolution.

MMSegmentation's `EncoderDecoder` resizes the logits of all classes to the input's size, then to
the image's, and keeps those with each sample: 160 MB for 19 classes at 1024x2048. Its test-time
augmentation holds those of twelve views at once. Here one class at a time is resized, and views
are summed as they come. The label maps are the same, bit for bit; up to rounding where the network
is `channels_last`, and except where a head of one channel is augmented: MMSegmentation applies the
sigmoid to each view twice, so that all that is summed lies above 0.5, and this package once.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models import CascadeEncoderDecoder, EncoderDecoder, SegTTAModel
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn.functional import interpolate

from psa_seg.models.losses import accuracy_by_maximum, take_rows

ROWS = 32  # of a softmax over classes: few enough for its intermediate to stay in a cache
LABEL = torch.int16  # any number of classes, and the -1 of those who mark with it


@MODELS.register_module()
class LeanEncoderDecoder(EncoderDecoder):
    """`EncoderDecoder` whose predictions hold `pred_sem_seg` (int16 `[1, H, W]`), no `seg_logits`.

    Training, parameter names and label maps are upstream's.

    Attributes:
        confident: whether predictions hold `confidence`, too, the probability of the class that is
            predicted: float32 `[1, H, W]`.
        scored: whether they hold `seg_logits`, as upstream's do: float32 `[C, H, W]`, of a head of
            one channel its probability. After test-time augmentation, logarithms of the views' mean
            probabilities, whose softmax they are.
    """

    confident = False
    scored = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        take_rows(self)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses by name, and `acc_seg` for the log."""
        with accuracy_by_maximum():
            return super().loss(inputs, data_samples)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Label maps for images `[B, 3, H, W]`, each at its original size, in their samples."""
        if data_samples is None:
            return super().predict(inputs)
        metas = [sample.metainfo for sample in data_samples]
        with torch.no_grad():  # or the graph of the comparisons would hold every class at full size
            for sample, maps in zip(data_samples, self.class_maps(inputs, metas), strict=True):
                sample.set_data(self.predicted(maps))
        return data_samples

    def class_maps(
        self, inputs: Tensor, metas: Sequence[dict[str, Any]]
    ) -> Iterator[Iterator[Tensor]]:
        """For each image the logits `[H, W]` of class after class, at the image's own size.

        Args:
            inputs: images `[B, 3, H, W]` as the network takes them.
            metas: of each, among others `ori_shape`, padding and flip, which are undone.
        """
        size = inputs.shape[2:]
        for image, meta in zip(self._logits(inputs, metas), metas, strict=True):
            yield (self.restore(channel, size, meta) for channel in image)

    def _logits(self, inputs: Tensor, metas: Sequence[dict[str, Any]]) -> Tensor:
        """`[B, classes, h, w]`: as the head gives them where resizing is all that would follow."""
        if self.resizes and self.test_cfg.get("mode", "whole") == "whole":
            return self(inputs)  # mode='tensor'
        return self.inference(inputs, metas)

    @property
    def resizes(self) -> bool:
        """Whether the last head only resizes its logits to predict; a PointRend's does more."""
        head = type(self.last_head)
        return (
            head.predict in (BaseDecodeHead.predict, BaseCascadeDecodeHead.predict)
            and head.predict_by_feat is BaseDecodeHead.predict_by_feat
        )

    @property
    def last_head(self) -> BaseDecodeHead:
        """The one whose logits count."""
        return self.decode_head

    def restore(self, channel: Tensor, size: torch.Size, meta: dict[str, Any]) -> Tensor:
        """One class `[h, w]` over the padded input → over the image: `postprocess_result`'s way."""
        logits = self._resize(channel[None, None], size)
        padding = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
        left, right, top, bottom = padding
        logits = logits[..., top : size[0] - bottom, left : size[1] - right]
        if meta.get("flip"):
            logits = logits.flip(3 if meta["flip_direction"] == "horizontal" else 2)
        return self._resize(logits, meta["ori_shape"])[0, 0]

    def _resize(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        if logits.shape[2:] == tuple(size):
            return logits
        return interpolate(logits, tuple(size), mode="bilinear", align_corners=self.align_corners)

    def predicted(self, maps: Iterator[Tensor]) -> dict[str, PixelData]:
        """Label map and, if asked for, confidence and scores of one image."""
        scores = confidence = None
        if self.out_channels == 1:
            scores = next(maps).sigmoid()[None]
            labels, confidence = self.of_one(scores)
            return self.as_data(labels, confidence, scores)
        if self.scored:
            scores = torch.stack(list(maps))
            maps = iter(scores)
        if self.confident:
            labels, confidence = most_probable(maps)
        else:
            labels = argmax(maps)
        return self.as_data(labels, confidence, scores)

    def of_one(self, probability: Tensor) -> tuple[Tensor, Tensor]:
        """Labels and confidence, from the probability `[1, H, W]` of one class against the rest."""
        labels = probability > self.last_head.threshold
        return labels.to(LABEL), torch.where(labels, probability, 1 - probability)

    def as_data(
        self, labels: Tensor, confidence: Tensor | None, scores: Tensor | None
    ) -> dict[str, PixelData]:
        """What a sample is given."""
        data = {"pred_sem_seg": PixelData(data=labels)}
        if self.confident:
            data["confidence"] = PixelData(data=confidence)
        if self.scored:
            data["seg_logits"] = PixelData(data=scores)
        return data


@MODELS.register_module()
class LeanCascadeEncoderDecoder(LeanEncoderDecoder, CascadeEncoderDecoder):
    """`CascadeEncoderDecoder`, such as an OCRNet, that predicts as `LeanEncoderDecoder` does."""

    @property
    def last_head(self) -> BaseDecodeHead:
        """The one whose logits count."""
        return self.decode_head[-1]


@MODELS.register_module()
class LeanTTAModel(SegTTAModel):
    """`SegTTAModel` that holds two sets of logits, a sum and a view, however many views there are.

    Around any other segmentor than `LeanEncoderDecoder` it is `SegTTAModel`.
    """

    def test_step(self, data: dict[str, Any]) -> list[SegDataSample]:
        """Label maps int16 `[1, H, W]` from the mean of the views' probabilities.

        Args:
            data: `inputs` and `data_samples`, each a list over views of lists over images.
        """
        if not isinstance(self.module, LeanEncoderDecoder):
            return super().test_step(data)
        return self._augmented(self.module, data)

    @torch.no_grad()  # a label map has no gradient
    def _augmented(self, module: LeanEncoderDecoder, data: dict[str, Any]) -> list[SegDataSample]:
        samples: list[SegDataSample] = []
        sums: list[Tensor] = []
        for inputs, views in zip(data["inputs"], data["data_samples"], strict=True):
            view = module.data_preprocessor(dict(inputs=inputs, data_samples=views))
            samples = samples or view["data_samples"]
            metas = [sample.metainfo for sample in view["data_samples"]]
            for index, maps in enumerate(module.class_maps(view["inputs"], metas)):
                if index == len(sums):
                    sums.append(probabilities(maps, module.out_channels))
                else:
                    sums[index] += probabilities(maps, module.out_channels)
        for sample, total in zip(samples, sums, strict=True):
            total /= len(data["inputs"])
            labels, confidence = argmax(iter(total)), total.amax(dim=0, keepdim=True)
            if module.out_channels == 1:
                labels, confidence = module.of_one(total)
            elif module.scored:
                total = total.log()
            sample.set_data(module.as_data(labels, confidence, total))
        return samples


def argmax(maps: Iterator[Tensor]) -> Tensor:
    """Index of the largest of the maps `[H, W]`, the first of equal ones: int16 `[1, H, W]`."""
    best = next(maps)
    labels = torch.zeros_like(best, dtype=LABEL)
    for index, scores in enumerate(maps, 1):
        labels.masked_fill_(scores > best, index)
        best = torch.maximum(best, scores)
    return labels[None]


def most_probable(maps: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """`argmax` of the maps `[H, W]`, and its probability after a softmax over them, `[1, H, W]`.

    The sum of exponentials goes along with the maximum, to which it is relative (Milakov and
    Gimelshein, "Online normalizer calculation for softmax", 2018, arXiv 1805.02867).
    """
    best = next(maps)
    best = best.clamp(min=torch.finfo(best.dtype).min)  # -inf - -inf is NaN
    labels, total = torch.zeros_like(best, dtype=LABEL), torch.ones_like(best)
    for index, scores in enumerate(maps, 1):
        labels.masked_fill_(scores > best, index)
        higher = torch.maximum(best, scores)
        total = total * (best - higher).exp() + (scores - higher).exp()
        best = higher
    return labels[None], (1 / total)[None]


@torch.no_grad()  # what is written in place, a view at a time, can have no graph
def probabilities(maps: Iterator[Tensor], classes: int) -> Tensor:
    """Softmax `[classes, H, W]` of as many maps `[H, W]`, without a second tensor of that size.

    Of one map, which is a class against the rest, the sigmoid.
    """
    first = next(maps)
    if classes == 1:
        return first.sigmoid()[None]
    result = first.new_empty((classes, *first.shape))
    for one, scores in zip(result, chain([first], maps), strict=True):
        one.copy_(scores)
    for start in range(0, len(first), ROWS):
        rows = result[:, start : start + ROWS]
        rows.copy_(rows.softmax(dim=0))
    return result
