"""A contact sheet: images, and the same with their masks laid over; one look finds a mistake."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib.figure import Figure  # by itself, it asks for no screen, and sets no backend
from matplotlib.patches import Rectangle
from mmseg.registry import TRANSFORMS

from psa_seg import files
from psa_seg.datasets.labels import IGNORED
from psa_seg.datasets.loading import fault
from psa_seg.engine.doctor.data import Found
from psa_seg.engine.letters import east_asian_letters, shown
from psa_seg.errors import UserError

SHOWN, COLUMNS = 12, 2  # pairs, and pairs in a row
WIDTH = 360  # pixels of one image
OPACITY = 0.6
IGNORED_COLOUR = (255, 255, 255)


class Tile(NamedTuple):
    """An image, RGB `[H, W, 3]`, and its mask `[H, W]` in class numbers."""

    name: str
    image: np.ndarray
    mask: np.ndarray


@east_asian_letters()
def draw_sheet(path: Path, sets: Sequence[Found]) -> None:
    """Draw pairs that are spread over some data sets of the same classes; nothing is overwritten.

    Raises:
        UserError: where something is at `path`, or a file cannot be decoded.
    """
    files.must_be_new(path)
    built = [one.built for one in sets]
    entries = [(one, i) for one in built for i in range(len(one))]
    chosen = np.unique(np.linspace(0, len(entries) - 1, SHOWN).astype(int))
    tiles = [_tile(*entries[i]) for i in chosen]
    meta = built[0].metainfo
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(meta["palette"])] = meta["palette"]
    colours[IGNORED] = IGNORED_COLOUR
    rows = -(-len(tiles) // COLUMNS)
    height, width = tiles[0].image.shape[:2]
    inches = (3.2 * 2 * COLUMNS, (3.2 * height / width + 0.3) * rows + 1)
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.subplots(rows, 2 * COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for tile, (left, right) in zip(tiles, zip(axes[::2], axes[1::2], strict=True), strict=False):
        left.imshow(tile.image)
        left.set_title(shown(tile.name), fontsize=8, parse_math=False)
        laid = OPACITY * colours[tile.mask] + (1 - OPACITY) * tile.image
        right.imshow(laid.astype(np.uint8), interpolation="nearest")
    present = np.unique(np.concatenate([np.unique(tile.mask) for tile in tiles])).tolist()
    names = [meta["classes"][i] if i != IGNORED else "ignored" for i in present]
    patches = [
        Rectangle((0, 0), 1, 1, facecolor=colours[i] / 255, edgecolor="black") for i in present
    ]
    legend = figure.legend(
        patches, [shown(name) for name in names], loc="outside lower center", ncols=8, fontsize=9
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    with files.whole(path, new=True) as part:
        figure.savefig(part, dpi=110, format="png")


def _tile(built: Any, index: int) -> Tile:
    info = built.get_data_info(index)
    try:
        entry = info
        for kind in ("LoadImageFromFile", "LoadLabelIds"):
            entry = TRANSFORMS.build(dict(type=kind)).transform(entry)
    except AssertionError as error:  # of what OpenCV cannot decode
        raise UserError(fault(info) or f"image cannot be decoded: {info['img_path']}") from error
    image, mask = entry["img"][..., ::-1], entry["gt_seg_map"]
    height = max(1, round(WIDTH * image.shape[0] / image.shape[1]))
    return Tile(
        Path(entry["img_path"]).name,
        cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA),
        cv2.resize(mask, (WIDTH, height), interpolation=cv2.INTER_NEAREST),
    )
