"""The gates of a network's attentions while it looks at a picture, and a picture of them."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from psa_seg.attention.base import Attention, Gates
from psa_seg.engine.letters import east_asian_letters, shown
from psa_seg.models.placement import find

WIDE = 2.4  # inches of a picture in the grid
HIGH = 1.3  # inches of title and bars below it


class GatesHere(NamedTuple):
    """The gates of an attention for one picture, float32 in (0, 1); None where it has none."""

    channel: np.ndarray | None  # [C]
    spatial: np.ndarray | None  # [h, w], as large as the attention's map


class Watch:
    """Keeps the gates of every attention of `model`, within a `with` block, of its last images."""

    def __init__(self, model: nn.Module) -> None:
        self.found: dict[str, Gates] = {}
        self._attentions = find(model)

    def __enter__(self) -> "Watch":
        self._handles = [
            module.register_forward_pre_hook(self._hook(name))
            for name, module in self._attentions.items()
        ]
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Any:
        def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            gates = module.gates_of(inputs[0]) if isinstance(module, Attention) else Gates()
            self.found[name] = Gates(*(None if g is None else g.float().cpu() for g in gates))

        return see

    def of(self, index: int) -> dict[str, GatesHere]:
        """Gates of one of the images, by the attentions' names in the model."""
        return {
            name: GatesHere(*(None if gate is None else gate[index].numpy() for gate in gates))
            for name, gates in self.found.items()
        }


@east_asian_letters()
def draw(path: Path, image: np.ndarray, gates: Mapping[str, GatesHere], title: str) -> None:
    """A grid: of each attention its spatial gate over the image, its channel gate as bars below.

    Args:
        path: of a PNG.
        image: uint8 RGB `[H, W, 3]`.
        gates: by the attentions' names.
        title: of the picture.
    """
    columns = min(6, len(gates)) or 1
    rows = -(-len(gates) // columns)
    tall = WIDE * image.shape[0] / image.shape[1]
    size = (max(WIDE * columns, 4), (tall + HIGH) * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    heading = f"{shown(title)}\nspatial gate (dark to bright), channel gate (0 to 1)"
    figure.suptitle(heading, parse_math=False, fontsize=8)
    grid = figure.subplots(
        2 * rows, columns, squeeze=False, gridspec_kw=dict(height_ratios=[tall, 0.6] * rows)
    )
    for axis in grid.flat:
        axis.set_axis_off()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for index, (name, gate) in enumerate(gates.items()):
        row, column = divmod(index, columns)
        _draw_spatial(grid[2 * row, column], grey, gate.spatial)
        _draw_channel(grid[2 * row + 1, column], gate.channel)
        grid[2 * row, column].set_title(name.removesuffix(".attention"), fontsize=7)
    if not gates:
        figure.text(0.5, 0.5, "the network has no attention", ha="center")
    figure.savefig(path, dpi=110, format="png")


def _draw_spatial(axis: Axes, grey: np.ndarray, gate: np.ndarray | None) -> None:
    axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
    if gate is None:
        axis.text(0.5, 0.5, "no gate by pixel", **_note(axis))
        return
    least, most = float(gate.min()), float(gate.max())
    axis.imshow(cv2.resize(gate, grey.shape[::-1]), cmap="viridis", alpha=0.7)
    axis.text(0.02, 0.04, f"{least:.3f} to {most:.3f}", **_note(axis, ha="left", va="bottom"))


def _draw_channel(axis: Axes, gate: np.ndarray | None) -> None:
    if gate is None:
        axis.text(0.5, 0.5, "no gate by channel", **_note(axis))
        return
    axis.stairs(gate, fill=True, color="tab:blue")
    axis.set(ylim=(0, 1), xlim=(0, len(gate)))
    axis.axhline(0.5, color="gray", lw=0.5)
    axis.text(0.02, 0.95, f"{len(gate)} channels", **_note(axis, ha="left", va="top"))


def _note(axis: Axes, ha: str = "center", va: str = "center") -> dict[str, Any]:
    box = dict(facecolor="white", alpha=0.7, edgecolor="none", pad=1)
    return dict(transform=axis.transAxes, fontsize=6, ha=ha, va=va, bbox=box)
