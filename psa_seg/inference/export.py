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
from mmseg.structures import SegDataSample

from psa_seg import files
from psa_seg.datasets.synthetic import prepare
from psa_seg.errors import UserError
from psa_seg.inference.inputs import find
from psa_seg.inference.picture import load_picture
from psa_seg.inference.portable import LEAST, Portable, metadata
from psa_seg.inference.segmenter import Segmenter, probabilities

KINDS = (".onnx", ".pt2")
MOST_LABELS = 1e-4  # of the pixels that may differ
MOST_SCORES = 1e-3
BATCHES = (1, 2)
DRAWN = (256, 512)  # rows and columns of pictures, where there are none
OPSET = 18
OUTPUTS = ("labels", "scores")

Arrays = dict[str, np.ndarray]
Runs = Callable[[np.ndarray], Arrays]


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
        How much they differ; the segmentor as a graph, and what runs the file, to be timed.

    Raises:
        UserError: where it cannot be exported, a package is missing, or they differ.
    """
    require_place(out)
    if len(segmenter.names) > 256:
        raise UserError(f"labels of {len(segmenter.names)} classes do not fit into a byte")
    portable = Portable(segmenter, scores).eval()
    with files.whole(out, new=True) as part:
        part.touch()  # where nothing can be written, before minutes of work
        pictures = seen(segmenter, images)
        program = _traced(portable, pictures[0])
        (_to_onnx if out.suffix == ".onnx" else _to_pt2)(program, segmenter, portable, part)
        runs = run_of(part, out.suffix)
        found = compare(segmenter, runs, pictures)
        if not (found.labels <= MOST_LABELS and found.scores <= MOST_SCORES):  # nor NaN
            raise UserError(
                f"the exported file computes something else than the model: {found.labels:.2%} "
                f"of the pixels, scores by {found.scores:.1e}\n"
                f"  so         nothing is written to {out}\n"
                "  do         report it, with the checkpoint's config"
            )
    return found, portable, runs


def require_place(out: Path) -> None:
    """Raise UserError where no such file can be."""
    if out.suffix not in KINDS:
        raise UserError(f"{out} is neither {' nor '.join(KINDS)}\n  do         name one so")
    if not out.parent.is_dir():
        raise files.missing("folder", out.parent, "make it")
    files.must_be_new(out)


def compare(segmenter: Segmenter, runs: Runs, pictures: Sequence[np.ndarray]) -> Difference:
    """Both on pictures at three sizes, odd ones too, alone and two at once."""
    labels = scores = 0.0
    shapes = []
    pictures = [*pictures] * (max(BATCHES) if len(pictures) < max(BATCHES) else 1)
    height, width = pictures[0].shape[:2]
    smaller = [(height * part // 4 | 1, width * part // 4 | 1) for part in (3, 2)]  # and odd
    for rows, columns in [(height, width), *smaller]:
        scaled = [
            cv2.resize(one, (max(columns, LEAST), max(rows, LEAST))).transpose(2, 0, 1)
            for one in pictures
        ]
        for size in BATCHES:
            for start in range(0, len(scaled) - size + 1, size):
                batch = np.stack(scaled[start : start + size])
                expected, found = said(segmenter, batch), runs(batch)
                labels = max(labels, float(np.mean(expected["labels"] != found["labels"])))
                if "scores" in found:
                    apart = np.abs(expected["scores"] - found["scores"])
                    scores = float(np.maximum(scores, apart.max()))
            shapes.append(batch.shape)
    return Difference(labels, scores, tuple(shapes))


def said(segmenter: Segmenter, batch: np.ndarray) -> Arrays:
    """What the segmentor itself says of images as it sees them, uint8 RGB `[B, 3, H, W]`."""
    shape = batch.shape[2:]
    samples = [SegDataSample(metainfo=dict(ori_shape=shape, img_shape=shape)) for _ in batch]
    inputs = [torch.from_numpy(image[::-1].copy()) for image in batch]  # files are read as BGR
    with segmenter.giving(scores=True), torch.no_grad():
        found = segmenter.model.test_step(dict(inputs=inputs, data_samples=samples))
    return {
        "labels": np.stack([one.pred_sem_seg.data[0].numpy().astype(np.uint8) for one in found]),
        "scores": np.stack([probabilities(one.seg_logits.data) for one in found]),
    }


def seen(segmenter: Segmenter, images: str | None, most: int = 4) -> list[np.ndarray]:
    """A few pictures as the network sees them, uint8 RGB `[H, W, 3]`, evenly spaced."""
    data = None if images else segmenter.validation()
    with tempfile.TemporaryDirectory() as folder:
        if data:
            paths = [Path(data.get_data_info(index)["img_path"]) for index in range(len(data))]
        else:
            drawn = dict(train=0, val=most, test=0)
            place = images or str(prepare(Path(folder, "drawn"), drawn, DRAWN))
            paths = pictures_in(place)
        load, rest = segmenter.pipeline()
        chosen = [paths[index] for index in spaced(len(paths), most)]
        return [rgb(load_picture(load, rest, path, bgr=True).data["inputs"]) for path in chosen]


def pictures_in(place: str) -> list[Path]:
    """Those that a file, a folder, a pattern or a list means; no videos.

    Raises:
        UserError: where there are none.
    """
    found = [source.path for source in find([place]) if not source.is_video]
    if not found:
        raise UserError(f"no picture, and videos alone: {place}\n  do         name pictures")
    return found


def spaced(count: int, most: int) -> list[int]:
    """Indices of all of `count`, or of `most` of them, evenly spaced."""
    return [index * count // most for index in range(most)] if count > most else [*range(count)]


def rgb(inputs: torch.Tensor) -> np.ndarray:
    """A picture from a pipeline, BGR `[3, H, W]`, as files take it: uint8 RGB `[H, W, 3]`."""
    picture = inputs.numpy().astype(np.uint8).transpose(1, 2, 0)[..., ::-1]
    height, width = (max(side, LEAST) for side in picture.shape[:2])
    return np.ascontiguousarray(cv2.resize(picture, (width, height)))


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


def _to_onnx(program: Any, segmenter: Segmenter, portable: Portable, path: Path) -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"a package is missing: {error.name}\n  do         pip install -e .[export]"
        ) from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # of operators that nothing here has
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            program,
            input_names=["image"],
            output_names=OUTPUTS[: 1 + portable.scores],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    made.model.metadata_props.update(metadata(segmenter, portable))
    _name_axes(made.model.graph)
    made.save(str(path), external_data=False)


def _name_axes(graph: Any) -> None:
    """Of what goes in and comes out, which the exporter numbers."""
    for value in (*graph.inputs, *graph.outputs):
        sizes = list(value.shape)
        named = {0: "batch", len(sizes) - 2: "height", len(sizes) - 1: "width"}
        value.shape = type(value.shape)([named.get(i, size) for i, size in enumerate(sizes)])


def _to_pt2(program: Any, segmenter: Segmenter, portable: Portable, path: Path) -> None:
    told = json.dumps(metadata(segmenter, portable), ensure_ascii=False)
    with path.open("wb") as file:  # by its name, torch.export wants another ending
        torch.export.save(program, file, extra_files={"metadata.json": told})


def run_of(path: Path, kind: str) -> Runs:
    """What runs the file as it lies on the disk."""
    if kind == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path.read_bytes())
        names = [one.name for one in session.get_outputs()]
        return lambda batch: dict(zip(names, session.run(names, {"image": batch}), strict=True))
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(batch: np.ndarray) -> Arrays:
        with torch.no_grad():
            found = module(torch.from_numpy(batch))
        return {name: one.numpy() for name, one in zip(OUTPUTS, found, strict=False)}

    return run
