"""A trained segmentor as one file that runs without this package: ONNX, or `torch.export`'s .pt2.

In: `image`, uint8 RGB `[B, 3, H, W]`, any B, H and W of 32 pixels or more, as large as the network
is to see it. Out: `labels`, uint8 `[B, H, W]`; if asked for, `scores`, float32
`[B, classes, H, W]`. Normalisation is in the file; names, colours and what comes before are in its
metadata. A file is kept only if it says what the segmentor says.
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from psa_seg import files
from psa_seg.datasets.synthetic import prepare
from psa_seg.errors import UserError
from psa_seg.inference.inputs import find
from psa_seg.inference.picture import load_picture
from psa_seg.inference.segmenter import Segmenter
from psa_seg.models.segmentors import LeanEncoderDecoder

KINDS = (".onnx", ".pt2")
LEAST = 32  # pixels of a side
MOST_LABELS = 1e-4  # of the pixels that may differ
MOST_SCORES = 1e-3
BATCHES = (1, 2)
DRAWN = (256, 512)  # rows and columns of pictures, where there are none
OPSET = 18

Arrays = dict[str, np.ndarray]
Runs = Callable[[np.ndarray], Arrays]


class Portable(nn.Module):
    """The segmentor from bytes of pixels to labels.

    Args:
        segmenter: on the CPU.
        scores: whether probabilities come out, too.

    Raises:
        UserError: for one that slides windows, pads its images, or is none of ours.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, segmenter: Segmenter, scores: bool = False) -> None:
        super().__init__()
        model, wrong = segmenter.model, ""
        if not isinstance(model, LeanEncoderDecoder):
            wrong = f"{type(model).__name__} is no EncoderDecoder"
        elif model.test_cfg.get("mode", "whole") != "whole":
            wrong = "sliding windows (test_cfg.mode='slide') have no place in a graph"
        elif model.data_preprocessor.test_cfg:
            wrong = "its data_preprocessor pads images in a test (test_cfg)"
        if wrong:
            raise UserError(
                f"cannot be exported: {wrong}\n  where      {segmenter.path}\n"
                "  do         --config FILE with whole images"
            )
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


@dataclass(frozen=True)
class Difference:
    """The most that a file and the segmentor differ in, over all pictures.

    Attributes:
        labels: share of a batch's pixels.
        scores: of probabilities; 0 without scores.
        shapes: of the batches that were seen, `[B, 3, H, W]`.
    """

    labels: float
    scores: float
    shapes: tuple[tuple[int, ...], ...]


def export(
    segmenter: Segmenter, out: Path, scores: bool = False, images: str | None = None
) -> tuple[Difference, Portable, Runs]:
    """Write the segmentor to `out`, run that file, and keep it if both agree.

    Args:
        segmenter: on the CPU.
        out: .onnx or .pt2, which must not exist, in a folder that does.
        scores: whether probabilities come out, too.
        images: pictures to run it on; by default the checkpoint's own validation images where they
            are on this disk, and else drawn ones.

    Returns:
        How much they differ, and both, to be timed.

    Raises:
        UserError: where it cannot be exported, a package is missing, or they differ.
    """
    if out.suffix not in KINDS:
        raise UserError(f"{out} is neither {' nor '.join(KINDS)}\n  do         name one so")
    if not out.parent.is_dir():
        raise UserError(f"no such folder: {out.parent}\n  do         make it")
    if len(segmenter.names) > 256:
        raise UserError(f"labels of {len(segmenter.names)} classes do not fit into a byte")
    files.must_be_new(out)
    portable = Portable(segmenter, scores).eval()
    pictures = _pictures(segmenter, images)
    with files.whole(out, new=True) as part:
        program = _traced(portable, pictures[0])
        (_to_onnx if out.suffix == ".onnx" else _to_pt2)(program, segmenter, portable, part)
        runs = _run_of(part, out.suffix, scores)
        found = compare(portable, runs, pictures)
        if not (found.labels <= MOST_LABELS and found.scores <= MOST_SCORES):  # nor NaN
            raise UserError(
                f"the exported file says something else than the model: {found.labels:.2%} of the "
                f"pixels, scores by {found.scores:.1e}\n  so         nothing is written to {out}\n"
                "  do         report it, with the checkpoint's config"
            )
    return found, portable, runs


def compare(portable: Portable, runs: Runs, pictures: Sequence[np.ndarray]) -> Difference:
    """Both on pictures at three sizes, odd ones too, alone and two at once."""
    labels = scores = 0.0
    shapes = []
    pictures = [*pictures] * (max(BATCHES) if len(pictures) < max(BATCHES) else 1)
    height, width = pictures[0].shape[:2]
    smaller = [(height * part // 4 | 1, width * part // 4 | 1) for part in (3, 2)]  # and odd
    for rows, columns in [(height, width), *smaller]:
        seen = [
            cv2.resize(one, (max(columns, LEAST), max(rows, LEAST))).transpose(2, 0, 1)
            for one in pictures
        ]
        for size in BATCHES:
            for start in range(0, len(seen) - size + 1, size):
                batch = np.stack(seen[start : start + size])
                with torch.no_grad():
                    expected = [out.numpy() for out in portable(torch.from_numpy(batch))]
                found = [*runs(batch).values()]
                labels = max(labels, float(np.mean(expected[0] != found[0])))
                if len(expected) > 1:
                    scores = float(np.maximum(scores, np.abs(expected[1] - found[1]).max()))
            shapes.append(batch.shape)
    return Difference(labels, scores, tuple(shapes))


def _pictures(segmenter: Segmenter, images: str | None, most: int = 4) -> list[np.ndarray]:
    """A few pictures as the network sees them, uint8 RGB `[H, W, 3]`, of one size."""
    with tempfile.TemporaryDirectory() as folder:
        place = images or segmenter.validation
        if not place:
            place = str(prepare(Path(folder, "drawn"), dict(train=0, val=most, test=0), DRAWN))
        sources = [source.path for source in find([place]) if not source.is_video]
        load, rest = segmenter.pipeline()
        step = max(1, len(sources) // most)
        chosen = sources[::step][:most]
        items = [load_picture(load, rest, path, bgr=True).data["inputs"] for path in chosen]
    if not items:
        raise UserError(f"no picture in {place}\n  do         name others: --images")
    seen = [item.numpy().astype(np.uint8).transpose(1, 2, 0)[..., ::-1] for item in items]
    height, width = seen[0].shape[:2]
    return [np.ascontiguousarray(cv2.resize(one, (width, height))) for one in seen]


def _traced(portable: Portable, picture: np.ndarray) -> torch.export.ExportedProgram:
    sizes = {
        0: torch.export.Dim("batch", min=1),
        2: torch.export.Dim("height", min=LEAST),
        3: torch.export.Dim("width", min=LEAST),
    }
    example = torch.from_numpy(picture.transpose(2, 0, 1).copy())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = torch.stack([example, example])
        return torch.export.export(portable, (batch,), dynamic_shapes={"image": sizes})


def metadata(segmenter: Segmenter, portable: Portable) -> dict[str, str]:
    """What a file tells of itself: all values are texts, lists and mappings as JSON."""
    resize = [step for step in segmenter.steps if step["type"] == "Resize"]
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


def _to_onnx(program: Any, segmenter: Segmenter, portable: Portable, path: Path) -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"a package is missing: {error.name}\n  do         pip install -e .[export]"
        ) from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # of operators that nothing here has
    names = ["labels", "scores"][: 1 + portable.scores]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            program,
            input_names=["image"],
            output_names=names,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    made.model.metadata_props.update(metadata(segmenter, portable))
    made.save(str(path), external_data=False)


def _to_pt2(program: Any, segmenter: Segmenter, portable: Portable, path: Path) -> None:
    told = json.dumps(metadata(segmenter, portable), ensure_ascii=False)
    with path.open("wb") as file:  # by its name, torch.export wants another ending
        torch.export.save(program, file, extra_files={"metadata.json": told})


def _run_of(path: Path, kind: str, scores: bool) -> Runs:
    """What runs the file as it lies on the disk."""
    names = ["labels", "scores"][: 1 + scores]
    if kind == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path.read_bytes())
        return lambda batch: dict(zip(names, session.run(names, {"image": batch}), strict=True))
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(batch: np.ndarray) -> Arrays:
        with torch.no_grad():
            found = module(torch.from_numpy(batch))
        return {name: one.numpy() for name, one in zip(names, found, strict=True)}

    return run
