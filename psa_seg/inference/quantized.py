"""An exported ONNX file with its convolutions in 8-bit integers, and what that costs.

onnxruntime's static quantization: each convolution's input and output have the range that they have
on pictures of the user's, the mean over them: an outlier in one would make all others coarse. All
else stays float32, the attentions' products, too: in integers they make a file hardly smaller, and
change more labels.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from psa_seg import files
from psa_seg.datasets.loading import NamingDataset
from psa_seg.evaluation import ConfusionMetric
from psa_seg.inference.export import Runs, rgb, run_of, spaced
from psa_seg.inference.pace import Pace
from psa_seg.inference.segmenter import Segmenter
from psa_seg.records.scores import scores

CALIBRATION = 32  # pictures
SCORED = 200  # images: of 2048x1024, each takes seconds


@dataclass(frozen=True)
class Cost:
    """What the integers change.

    Attributes:
        labels: share of the pixels that differ from the float file's.
        images: validation images on which that was measured, evenly spaced; 0 where they and their
            masks are not on this disk: it is of the calibration's pictures then.
        miou: in percent, of the float file and of this one, on those images. Label maps are
            enlarged to their masks, where `tools/test.py` enlarges scores.
        calibration: pictures that gave the ranges.
    """

    labels: float
    images: int
    miou: tuple[float, float] | None
    calibration: int

    def text(self, smaller: Path, exact: Path) -> str:
        """In words, with the sizes of both files."""
        sizes = [path.stat().st_size / 1e6 for path in (smaller, exact)]
        where = f"{self.images} validation images"
        if self.miou:
            before, after = self.miou
            told = f"mIoU {after:.2f} instead of {before:.2f} on {where}, labels enlarged to masks"
        else:
            where = f"those {self.calibration}"
            told = "mIoU not measured: the checkpoint's validation masks are not on this disk"
        few = f" (better {CALIBRATION}, of all kinds)" if self.calibration < CALIBRATION else ""
        return (
            f"wrote {smaller}: {sizes[0]:.1f} MB instead of {sizes[1]:.1f}, with the ranges of "
            f"pictures: {self.calibration}{few}\n"
            f"{told}; {100 * self.labels:.2f} % of the pixels of {where} differ"
        )


def quantize(
    segmenter: Segmenter, exact: Path, runs: Runs, out: Path, pictures: Sequence[np.ndarray]
) -> tuple[Cost, Runs]:
    """Write the float file `exact` with convolutions in integers to `out`, and run both.

    Weights have 7 bits: with 8, sums of two products overflow on processors without VNNI. Each
    output channel has a scale: with one for all, hardly a label is left.

    Args:
        segmenter: that was exported.
        exact: .onnx.
        runs: what runs it.
        out: which must not exist.
        pictures: as `seen` gives them, such as it will see, and not those that it is scored on.

    Returns:
        What it costs, and what runs it.

    Raises:
        UserError: where `out` exists.
    """
    with files.whole(out, new=True) as part:
        _write(exact, part, pictures)
        smaller = run_of(part, out.suffix)
        data = segmenter.validation(masks=True)
        cost = (
            _scored(data, runs, smaller, pictures) if data else _compared(pictures, runs, smaller)
        )
    return cost, smaller


def _write(exact: Path, out: Path, pictures: Sequence[np.ndarray]) -> None:
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        batches = iter([{"image": picture.transpose(2, 0, 1)[None]} for picture in pictures])

        def get_next(self) -> Any:
            return next(self.batches, None)

    root = logging.getLogger()  # to which onnxruntime writes what it advises
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantization.quantize_static(
            exact,
            out,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            extra_options={"CalibMovingAverage": True},  # the mean of the pictures' ranges
        )
    finally:
        root.setLevel(level)
    model = onnx.load(out)
    for stray in [one for one in model.metadata_props if one.key == "onnx.infer"]:
        model.metadata_props.remove(stray)
    told = model.metadata_props.add()
    told.key, told.value = "quantization", f"int8 convolutions, ranges of {len(pictures)} pictures"
    onnx.save(model, out)


def _compared(pictures: Sequence[np.ndarray], exact: Runs, smaller: Runs) -> Cost:
    differ = [_differing(*_both(picture, exact, smaller)) for picture in pictures]
    return Cost(_share(differ), 0, None, len(pictures))


def _scored(
    data: NamingDataset, exact: Runs, smaller: Runs, pictures: Sequence[np.ndarray]
) -> Cost:
    metrics = [ConfusionMetric(prefix=kind) for kind in ("float32", "int8")]
    chosen = spaced(len(data), SCORED)
    differ, pace = [], Pace(len(chosen))
    for index in chosen:
        item = data[index]
        truth = item["data_samples"].gt_sem_seg.data
        maps = _both(rgb(item["inputs"]), exact, smaller)
        differ.append(_differing(*maps))
        for metric, labels in zip(metrics, maps, strict=True):
            metric.dataset_meta = data.metainfo
            enlarged = cv2.resize(labels, truth.shape[:0:-1], interpolation=cv2.INTER_NEAREST)
            found = dict(data=torch.from_numpy(enlarged)[None])
            metric.process(None, [dict(pred_sem_seg=found, gt_sem_seg=dict(data=truth))])
        pace.step()
    pace.clear()
    before, after = (float(scores(one.results[0].tolist())["mIoU"]) for one in metrics)
    return Cost(_share(differ), len(chosen), (before, after), len(pictures))


def _both(picture: np.ndarray, exact: Runs, smaller: Runs) -> tuple[np.ndarray, np.ndarray]:
    """Label maps of one picture."""
    batch = picture.transpose(2, 0, 1)[None]
    return exact(batch)["labels"][0], smaller(batch)["labels"][0]


def _differing(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Pixels that differ, and all."""
    return int(np.count_nonzero(one != other)), one.size


def _share(counts: Sequence[tuple[int, int]]) -> float:
    """Of all pixels of all pictures, which may differ in size."""
    return sum(differ for differ, _ in counts) / sum(every for _, every in counts)
