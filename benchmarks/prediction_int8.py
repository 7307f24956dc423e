"""What 8-bit integers change: python -m benchmarks.prediction_int8 CHECKPOINT... --pictures.

The checkpoints' validation images and masks must be where their configs say. Times are those of
`tools/export.py`: one image, medians in turn.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime

from benchmarks.measure import options, parse, write
from benchmarks.prediction_tiled import trained
from psa_seg.inference import latency
from psa_seg.inference.export import export, seen
from psa_seg.inference.quantized import CALIBRATION, quantize
from psa_seg.inference.segmenter import Segmenter


def measure(path: str, pictures: str) -> Iterator[dict[str, Any]]:
    """A row for each of both files."""
    segmenter = Segmenter(path, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        exact, smaller = (Path(folder, name) for name in ("float.onnx", "int8.onnx"))
        found, portable, runs = export(segmenter, exact)
        ranges = seen(segmenter, pictures, CALIBRATION)
        cost, small = quantize(segmenter, exact, runs, smaller, ranges)
        sizes = [file.stat().st_size for file in (exact, smaller)]
    assert cost.miou, "the validation images of the checkpoint, and their masks, are not here"
    _, _, height, width = found.shapes[0]
    files = {"float32": runs, "int8": small}
    times = dict(latency.measure(portable, files, (height, width)))
    differ = (found.labels, cost.labels)
    for name, size, miou, apart in zip(files, sizes, cost.miou, differ, strict=True):
        yield {
            **trained(path, segmenter),
            "images": cost.images,
            "seen": f"{width}x{height}",
            "calibration": cost.calibration,
            "numbers": name,
            "pixels_differing_percent": round(100 * apart, 3),
            "mIoU": round(miou, 2),
            "MB": round(size / 1e6, 1),
            "ms": times[name],
            "ms_pytorch": times["PyTorch"],
            "onnxruntime": onnxruntime.__version__,
        }


def main() -> None:
    """Measure, write one CSV."""
    parser = options(__doc__)
    parser.add_argument("checkpoint", nargs="+", help="Trained weights, such as iter_4000.pth.")
    parser.add_argument("--pictures", required=True, help="Pictures that give the ranges.")
    args = parse(parser)
    rows = (row for path in args.checkpoint for row in measure(path, args.pictures))
    write(rows, "prediction_int8", args.device, args.out)


if __name__ == "__main__":
    main()
