"""The segmentor as a graph without Python, from bytes of pixels to labels."""

import json
from pathlib import Path

import torch
from mmseg.models import SegDataPreProcessor
from torch import Tensor, nn
from torch.nn.functional import interpolate

from psa_seg.errors import UserError
from psa_seg.inference.segmenter import Segmenter
from psa_seg.models.segmentors import LeanEncoderDecoder
from psa_seg.registry import name_of

LEAST = 32  # pixels of a side


class Portable(nn.Module):
    """The segmentor from bytes of pixels to labels.

    Args:
        segmenter: on the CPU.
        scores: whether probabilities come out, too.

    Raises:
        UserError: for one that does more with an image than a graph of these steps.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, segmenter: Segmenter, scores: bool = False) -> None:
        super().__init__()
        if wrong := _foreign(segmenter):
            raise UserError(
                f"cannot be exported: {wrong}\n  where      {segmenter.path}\n"
                "  do         --config FILE without it"
            )
        model = segmenter.model
        self.model, self.scores = model, scores
        data = model.data_preprocessor
        self.swaps = not data._channel_conversion  # what it was trained on is BGR
        normal = data._enable_normalize
        self.register_buffer("mean", data.mean.clone() if normal else torch.zeros(3, 1, 1))
        self.register_buffer("std", data.std.clone() if normal else torch.ones(3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Labels, and scores if asked for."""
        pixels = image.flip(1) if self.swaps else image
        logits = self.model((pixels.float() - self.mean) / self.std)
        align = self.model.align_corners
        logits = interpolate(logits, image.shape[2:], mode="bilinear", align_corners=align)
        if self.model.out_channels == 1:
            second = logits.sigmoid()
            labels = (second[:, 0] > self.model.last_head.threshold).to(torch.uint8)
            return (labels, torch.cat([1 - second, second], dim=1)) if self.scores else (labels,)
        labels = logits.argmax(dim=1).to(torch.uint8)
        return (labels, logits.softmax(dim=1)) if self.scores else (labels,)


def _foreign(segmenter: Segmenter) -> str:
    """What lies between a picture and its labels that the graph does not have."""
    model = segmenter.model
    if not isinstance(model, LeanEncoderDecoder):
        return f"{type(model).__name__} is no EncoderDecoder"
    if model.test_cfg.get("mode", "whole") != "whole":
        return "sliding windows (test_cfg.mode='slide')"
    if not model.resizes:
        return f"how {type(model.last_head).__name__} predicts"
    data = model.data_preprocessor
    if not isinstance(data, SegDataPreProcessor) or data.test_cfg:
        return f"{type(data).__name__} that pads in a test (test_cfg), or is another's"
    if len(data.mean if data._enable_normalize else "RGB") != 3:
        return f"images of {len(data.mean)} channels"
    names = [name_of(step["type"]) for step in segmenter.steps]
    others = [name for name in names if not name.startswith(("Load", "Resize", "Pack"))]
    return f"{others[0]} in the test pipeline" if others else ""


def metadata(segmenter: Segmenter, portable: Portable) -> dict[str, str]:
    """What a file tells of itself: all values are texts, lists and mappings as JSON."""
    resize = [step for step in segmenter.steps if name_of(step["type"]).startswith("Resize")]
    return {
        "classes": json.dumps(segmenter.names, ensure_ascii=False),
        "palette": json.dumps(segmenter.palette),
        "input": f"image: uint8 RGB [batch, 3, height, width], height and width from {LEAST}",
        "output": "labels: uint8 [batch, height, width]"
        + "; scores: float32 [batch, classes, height, width]" * portable.scores,
        "preprocessing": json.dumps({"resize": [dict(step) for step in resize]}),
        "normalisation": "in the file",
        "checkpoint": Path(segmenter.path).name,
    }
