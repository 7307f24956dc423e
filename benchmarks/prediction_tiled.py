"""What tiles change: python -m benchmarks.prediction_tiled CHECKPOINT... --images --masks.

Label maps tile by tile beside those of whole pictures, and mIoU of both. Masks hold class numbers,
and anything else where nothing counts; their names are those of the images.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import options, parse, write
from psa_seg.checkpoints.reading import config_of, load_checkpoint
from psa_seg.datasets import masks
from psa_seg.inference.inputs import find
from psa_seg.inference.segmenter import Segmenter
from psa_seg.models import naming, placement


def measure(path: str, images: str, truth: Path, tiles: list[int]) -> Iterator[dict[str, Any]]:
    """A row for whole pictures, and one for each size of tiles."""
    segmenter = Segmenter(path)
    sources = find([images])
    known = len(segmenter.names)
    counts = np.zeros((1 + len(tiles), known, known), np.int64)
    differing, seen = np.zeros(1 + len(tiles)), ""
    for source in sources:
        mask = masks.read(truth / f"{source.name}.png")
        found = [segmenter(source.path, tile=tile).labels for tile in (0, *tiles)]
        counted = mask < known
        for index, labels in enumerate(found):
            pairs = mask[counted].astype(np.int64) * known + labels[counted]
            counts[index] += np.bincount(pairs, minlength=known**2).reshape(known, known)
            differing[index] += np.mean(labels != found[0]) / len(sources)
        seen = "x".join(map(str, _seen(segmenter, source.path)))
    for index, tile in enumerate((0, *tiles)):
        yield {
            **trained(path, segmenter),
            "images": len(sources),
            "seen": seen,  # width x height
            "tile": tile or "whole",
            "pixels_differing_percent": round(100 * differing[index], 3),
            "mIoU": round(_miou(counts[index]), 2),
        }


def trained(path: str, segmenter: Segmenter) -> dict[str, Any]:
    """What a checkpoint is of: columns of a row."""
    checkpoint = load_checkpoint(path)
    model = (config_of(checkpoint) or {})["model"]
    return {
        "network": f"{naming.decoder(model)} {naming.backbone(model)}",
        "attentions": len(placement.find(segmenter.model)),
        "steps": checkpoint["meta"]["iter"],
    }


def _seen(segmenter: Segmenter, path: Path) -> tuple[int, int]:
    """Width and height of what the network sees of a picture."""
    load, rest = segmenter.pipeline()
    height, width = rest(load({"img_path": str(path)}))["inputs"].shape[1:]
    return width, height


def _miou(counts: np.ndarray) -> float:
    """In percent, over the classes that occur; rows are the truth."""
    right, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    occurs = counts.sum(1) > 0
    return float(100 * np.mean(right[occurs] / union[occurs]))


def main() -> None:
    """Measure, write one CSV."""
    parser = options(__doc__)
    parser.add_argument("checkpoint", nargs="+", help="Trained weights, one or several.")
    parser.add_argument("--images", required=True, help="Folder of pictures.")
    parser.add_argument("--masks", required=True, type=Path, help="Folder of their masks.")
    parser.add_argument(
        "--tiles",
        type=int,
        nargs="+",
        default=[160, 128, 96],
        help="Sides of the tiles in pixels (default: 160 128 96).",
    )
    args = parse(parser)
    rows = (
        row
        for path in args.checkpoint
        for row in measure(path, args.images, args.masks, args.tiles)
    )
    write(rows, "prediction_tiled", args.device, args.out)


if __name__ == "__main__":
    main()
