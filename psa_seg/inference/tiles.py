"""Pictures that memory does not hold: seen tile by tile, scores blended where tiles overlap.

An attention, and all else that looks far, sees a tile and not the picture: scores differ from those
of the whole. docs/predict.md says how much.
"""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from psa_seg.models.segmentors import LeanEncoderDecoder

OVERLAP = 4  # a tile's side by this, in which two tiles share a border


def whole_from_tiles(
    model: LeanEncoderDecoder, image: Tensor, sample: SegDataSample, tile: int
) -> None:
    """Give `sample` what the model predicts of `image`, as `model.predict` does.

    A band of rows is in memory at a time, unless scores are wanted, or the picture was resized.

    Args:
        model: with `confident` and `scored` as wanted.
        image: as the pipeline gives it, `[3, H, W]`.
        sample: its own.
        tile: side in pixels.
    """
    meta, size = sample.metainfo, image.shape[1:]
    parts = bands(model, image, meta, tile)
    if model.scored or tuple(size) != tuple(meta["ori_shape"]):
        logits = torch.cat(list(parts), dim=1)
        maps = (model.restore(channel, size, meta) for channel in logits)
        sample.set_data(model.predicted(maps))
        return
    found = [model.predicted(iter(band)) for band in parts]
    for key in found[0]:
        rows = [part[key].data for part in found]
        sample.set_data({key: PixelData(data=torch.cat(rows, dim=1))})


def bands(
    model: LeanEncoderDecoder, image: Tensor, meta: dict[str, Any], tile: int
) -> Iterator[Tensor]:
    """Blended logits `[C, rows, W]` of one band of rows after the other, down the whole image."""
    height = image.shape[1]
    tops = _starts(height, tile)
    total = weights = torch.zeros(0)  # of rows that a band shares with the next
    for index, (top, following) in enumerate(zip(tops, [*tops[1:], height], strict=True)):
        line = _line(model, image[:, top : top + tile], meta, tile)
        weight = _fade(line.shape[1], tile, index, len(tops)).to(line.device)[:, None]  # [rows, 1]
        line *= weight
        if index:
            shared = len(weights)
            line[:, :shared] += total
            weight[:shared] += weights
        done = following - top
        yield line[:, :done] / weight[:done]
        total, weights = line[:, done:], weight[done:]


def _line(model: LeanEncoderDecoder, rows: Tensor, meta: dict[str, Any], tile: int) -> Tensor:
    """Blended logits `[C, rows, W]` of the tiles side by side in `rows` `[3, rows, W]`."""
    width = rows.shape[2]
    lefts = _starts(width, tile)
    total = weights = torch.zeros(0)
    for index, left in enumerate(lefts):
        logits = _logits(model, rows[..., left : left + tile], meta)
        weight = _fade(logits.shape[2], tile, index, len(lefts)).to(logits.device)
        if not index:
            total = logits.new_zeros(*logits.shape[:2], width)
            weights = logits.new_zeros(width)
        total[..., left : left + tile] += logits * weight
        weights[left : left + tile] += weight
    return total / weights


def _logits(model: LeanEncoderDecoder, part: Tensor, meta: dict[str, Any]) -> Tensor:
    """`[C, h, w]` of a part of an image, at its own size."""
    height, width = part.shape[1:]
    whole = {key: value for key, value in meta.items() if "pad" not in key}  # the whole's
    sample = SegDataSample(metainfo={**whole, "img_shape": (height, width)})
    batch = model.data_preprocessor(dict(inputs=[part], data_samples=[sample]), False)
    logits = model.encode_decode(batch["inputs"], [batch["data_samples"][0].metainfo])
    return logits[0, :, :height, :width]  # padding is at the right, and below


def _starts(length: int, tile: int) -> list[int]:
    """First pixels of as many tiles as cover a length, evenly, with the overlap at least."""
    if length <= tile:
        return [0]
    steps = -(-(length - tile) // (tile - tile // OVERLAP))
    return [round(i * (length - tile) / steps) for i in range(steps + 1)]


def _fade(length: int, tile: int, index: int, count: int) -> Tensor:
    """Weights `[length]` of a tile's pixels: less and less to a side where another one goes on."""
    ramp = torch.arange(1, length + 1) / (tile // OVERLAP + 1)
    weight = torch.ones(length)
    if index > 0:
        weight = torch.minimum(weight, ramp)
    if index < count - 1:
        weight = torch.minimum(weight, ramp.flip(0))
    return weight
