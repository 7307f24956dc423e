"""Pictures of a run: learning curves, and images beside truth, prediction and spatial gate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib.figure import Figure  # by itself, it asks for no screen, and sets no backend
from matplotlib.patches import Rectangle
from mmseg.structures import SegDataSample
from torch import nn

from psa_seg import PolarizedSelfAttention, files
from psa_seg.datasets.labels import IGNORED
from psa_seg.engine import drawing
from psa_seg.engine.letters import east_asian_letters, shown

COLUMNS = ("image", "truth (black: ignored)", "prediction")
ERRORS = "errors (red)"
GAP = 4  # pixels between pictures
LEAST_SHARE = 0.005  # that has a number in a confusion matrix
MOST_NUMBERED = 40  # classes, beyond which it has none
MOST_INCHES = 40  # of a side: 4400 pixels


@east_asian_letters()
def draw_curves(
    path: Path,
    losses: Sequence[float],
    history: Sequence[tuple[int, float]],
    score: str,
    title: str,
) -> None:
    """Loss per iteration with its running mean, and the score in percent at each validation."""
    window = max(1, len(losses) // 25)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    axis.plot(np.arange(1, len(losses) + 1), losses, color="tab:blue", alpha=0.25, lw=0.8)
    axis.plot(np.arange(window, len(losses) + 1), smooth, color="tab:blue")
    axis.set_title(shown(title), parse_math=False)
    axis.set(xlabel="iteration", xlim=(0, 1.06 * len(losses)), ylim=(0, None))
    axis.set_ylabel(f"training loss (and mean of {window})", color="tab:blue")
    right = axis.twinx()
    right.plot(*zip(*history, strict=True), "o-", color="tab:red")
    right.set_ylabel(f"validation {shown(score)} [%]", color="tab:red", parse_math=False)
    right.set_ylim(0, 100)
    for iteration, value in history:
        right.annotate(f"{value:.1f}", (iteration, value), (0, 6), textcoords="offset points")
    _save(figure, path, 120)


def _save(figure: Figure, path: Path, dpi: int) -> None:
    with files.whole(path) as part:
        figure.savefig(part, dpi=dpi, format="png")


class Pictured(NamedTuple):
    """A validation image with its truth and prediction."""

    sample: SegDataSample
    gate: np.ndarray | None  # the spatial gate `[h, w]` at its attention's resolution


def find_gating(model: nn.Module) -> PolarizedSelfAttention | None:
    """The attention nearest to the output that gates by pixel, if there is one."""
    found = [m for m in model.modules() if isinstance(m, PolarizedSelfAttention)]
    return next((m for m in reversed(found) if m.branches != "channel"), None)


@east_asian_letters()
def draw_samples(path: Path, rows: Sequence[Pictured], meta: dict[str, Any], title: str) -> None:
    """A row each: image, truth, prediction, errors, spatial gate; the classes' colours below."""
    columns = [*COLUMNS, ERRORS]
    if rows[0].gate is not None:
        columns.append("spatial gate (dark to bright)")
    height, width = rows[0].sample.ori_shape[:2]
    inches = (2.15 * width / height * len(columns), 2.3 * len(rows) + 1.2)
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name)
    for row, (sample, gate) in zip(axes, rows, strict=True):
        image, *maps = _triple(sample, meta)
        for axis, picture in zip(row, (image, *maps, _errors(image, sample)), strict=False):
            axis.imshow(picture)
            axis.set_axis_off()
        if gate is not None:
            row[-1].imshow(cv2.resize(gate, image.shape[1::-1]), cmap="viridis")
            row[-1].text(
                0.02,
                0.05,
                f"{gate.min():.2f} to {gate.max():.2f}",
                c="white",
                transform=row[-1].transAxes,
            )
            row[-1].set_axis_off()
    patches = [Rectangle((0, 0), 1, 1, color=np.array(color) / 255) for color in meta["palette"]]
    names = [shown(name) for name in meta["classes"]]
    legend = figure.legend(patches, names, loc="outside lower center", ncols=10, fontsize=8)
    for text in [*legend.get_texts(), figure.suptitle(shown(title))]:
        text.set_parse_math(False)
    _save(figure, path, 80)


def _errors(image: np.ndarray, sample: SegDataSample) -> np.ndarray:
    """The image in grey, and in red where the prediction is wrong; black where nothing counts."""
    truth, prediction = (
        m.data.squeeze(0).cpu().numpy() for m in (sample.gt_sem_seg, sample.pred_sem_seg)
    )
    grey = np.repeat(image.mean(axis=2, keepdims=True) / 2 + 64, 3, axis=2).astype(np.uint8)
    grey[truth != prediction] = (220, 30, 30)
    grey[truth == IGNORED] = 0
    return grey


def save_panel(path: Path, sample: SegDataSample, meta: dict[str, Any]) -> None:
    """Image, truth, prediction and errors side by side, pixel for pixel, as one PNG.

    With headings, and a legend of the classes that occur, the most frequent in the truth first.
    """
    image, truth, prediction = _triple(sample, meta)
    columns = []
    pictures = (image, truth, prediction, _errors(image, sample))
    for name, picture in zip((*COLUMNS, ERRORS), pictures, strict=True):
        column = np.concatenate([drawing.heading(name, picture.shape), picture])
        columns += [column, np.full((len(column), GAP, 3), 255, np.uint8)]
    panel = np.concatenate(columns[:-1], axis=1)
    maps = [m.data.cpu().numpy().ravel() for m in (sample.gt_sem_seg, sample.pred_sem_seg)]
    known = len(meta["classes"])
    found = [np.bincount(m[(m >= 0) & (m < known)], minlength=known) for m in maps]
    order = sorted(range(known), key=lambda i: (-found[0][i], -found[1][i]))
    named = [
        (meta["classes"][i], tuple(meta["palette"][i])) for i in order if sum(f[i] for f in found)
    ]
    size = (image.shape[0], panel.shape[1])
    panel = np.concatenate([panel, drawing.legend(named, size)])
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, drawing.png(panel))


@east_asian_letters()
def draw_confusion(path: Path, confusion: np.ndarray, names: Sequence[str], title: str) -> None:
    """A confusion matrix: of each true class (row), the share that is predicted as each class.

    Args:
        path: of a PNG.
        confusion: pixels by truth (row) and prediction (column), `[classes, classes]`.
        names: of the classes.
        title: of the picture.
    """
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(2.5 + 0.32 * len(names), MOST_INCHES)
    small = min(8, 0.7 * 72 * side / len(names))  # points, of names that are to fit
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    shown_matrix = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels, places = [shown(name) for name in names], range(len(names))
    axis.set_xticks(places, labels, rotation=90, fontsize=small, parse_math=False)
    axis.set_yticks(places, labels, fontsize=small, parse_math=False)
    axis.set(xlabel="prediction", ylabel="truth")
    axis.set_title(shown(title), parse_math=False)
    for row, column in np.argwhere(shares >= LEAST_SHARE) if len(names) <= MOST_NUMBERED else ():
        share = shares[row, column]
        colour = "white" if share > 0.5 else "black"
        text = f"{100 * share:.0f}"
        axis.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(shown_matrix, label="share of the true class's pixels", shrink=0.8)
    _save(figure, path, 110)


def _triple(sample: SegDataSample, meta: dict[str, Any]) -> list[np.ndarray]:
    """Image, truth and prediction, each uint8 RGB `[H, W, 3]`."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(meta["palette"])] = meta["palette"]
    image = cv2.cvtColor(cv2.imread(sample.img_path), cv2.COLOR_BGR2RGB)
    maps = (sample.gt_sem_seg.data, sample.pred_sem_seg.data)
    return [image, *(palette[m.squeeze(0).cpu().numpy()] for m in maps)]
