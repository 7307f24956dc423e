"""Pictures of a run: learning curves, and images beside truth and prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from mmseg.structures import SegDataSample

matplotlib.use("Agg")  # no window, no screen
from matplotlib import pyplot as plt

COLUMNS = ("image", "truth (black: ignored)", "prediction")


def draw_curves(
    path: Path, losses: Sequence[float], history: Sequence[tuple[int, float]], title: str
) -> None:
    """Loss per iteration with its running mean, and mIoU (percent) at each validation."""
    window = max(1, len(losses) // 25)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axis.plot(np.arange(1, len(losses) + 1), losses, color="tab:blue", alpha=0.25, lw=0.8)
    axis.plot(np.arange(window, len(losses) + 1), smooth, color="tab:blue")
    axis.set(xlabel="iteration", title=title, xlim=(0, 1.06 * len(losses)), ylim=(0, None))
    axis.set_ylabel(f"training loss (and mean of {window})", color="tab:blue")
    right = axis.twinx()
    right.plot(*zip(*history, strict=True), "o-", color="tab:red")
    right.set_ylabel("validation mIoU [%]", color="tab:red")
    right.set_ylim(0, 100)
    for iteration, miou in history:
        right.annotate(f"{miou:.1f}", (iteration, miou), (0, 6), textcoords="offset points")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_samples(
    path: Path, samples: Sequence[SegDataSample], meta: dict[str, Any], title: str
) -> None:
    """One row per sample: image, truth, prediction; the colours of the classes below."""
    figure, axes = plt.subplots(
        len(samples), 3, figsize=(13, 2.3 * len(samples) + 1.2), squeeze=False, layout="constrained"
    )
    for row, sample in zip(axes, samples, strict=True):
        for axis, picture in zip(row, _triple(sample, meta), strict=True):
            axis.imshow(picture)
            axis.set_axis_off()
    for axis, name in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(name)
    patches = [
        plt.Rectangle((0, 0), 1, 1, color=np.array(color) / 255) for color in meta["palette"]
    ]
    figure.legend(patches, meta["classes"], loc="outside lower center", ncols=10, fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def save_panel(path: Path, sample: SegDataSample, meta: dict[str, Any]) -> None:
    """Image, truth and prediction side by side, pixel for pixel, as one PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    panel = np.concatenate(_triple(sample, meta), axis=1)
    cv2.imwrite(str(path), cv2.cvtColor(panel, cv2.COLOR_RGB2BGR))


def _triple(sample: SegDataSample, meta: dict[str, Any]) -> list[np.ndarray]:
    """Image, truth and prediction, each uint8 RGB `[H, W, 3]`."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(meta["palette"])] = meta["palette"]
    image = cv2.cvtColor(cv2.imread(sample.img_path), cv2.COLOR_BGR2RGB)
    maps = (sample.gt_sem_seg.data, sample.pred_sem_seg.data)
    return [image, *(palette[m.squeeze(0).cpu().numpy()] for m in maps)]
