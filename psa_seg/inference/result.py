"""What a model says of one picture."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from psa_seg.datasets.colours import RGB
from psa_seg.engine import drawing
from psa_seg.errors import UserError
from psa_seg.inference.gates import GatesHere


@dataclass(frozen=True, repr=False)
class Segmentation:
    """Labels of a picture of H x W pixels; a notebook shows its overlay.

    Attributes:
        labels: class number of each pixel, uint8 `[H, W]`, uint16 beyond 256 classes.
        names: of the classes.
        palette: RGB of each.
        picture: as it was loaded, BGR `[H, W, 3]`.
        confidence: probability of the class that is predicted, float32 `[H, W]`, if wanted.
        scores: probability of each class, float32 `[classes, H, W]`, if wanted.
        gates: of the attentions by their names in the model, if wanted.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    palette: tuple[RGB, ...]
    picture: np.ndarray
    confidence: np.ndarray | None = None
    scores: np.ndarray | None = None
    gates: Mapping[str, GatesHere] | None = None

    @property
    def image(self) -> np.ndarray:
        """The picture, RGB uint8 `[H, W, 3]`."""
        return drawing.as_rgb(self.picture)

    def colours(self) -> np.ndarray:
        """Each pixel in the colour of its class, RGB uint8 `[H, W, 3]`."""
        return drawing.coloured(self.labels, self.palette)

    def overlay(self, opacity: float = 0.5, legend: bool = True, every: bool = False) -> np.ndarray:
        """The picture under the colours of its classes, RGB uint8 `[H, W, 3]`, or taller.

        Args:
            opacity: of the colours, 0 to 1.
            legend: whether rows below name the classes that occur, the most frequent first.
            every: whether they name all classes, in their order: alike for every frame of a video.

        Raises:
            UserError: for another opacity.
        """
        if not 0 <= opacity <= 1:
            raise UserError(f"opacity={opacity}\n  do         give 0 to 1")
        blended = drawing.blend(self.image, self.colours(), opacity)
        if not legend:
            return blended
        counts = self.counts()
        order = [i for i in np.argsort(-counts, kind="stable") if counts[i]]
        order = [*range(len(self.names))] if every else order
        named = [(self.names[i], self.palette[i]) for i in order]
        return np.concatenate([blended, drawing.legend(named, blended.shape)])

    def counts(self) -> np.ndarray:
        """Pixels of each class, int64 `[classes]`."""
        return np.bincount(self.labels.ravel(), minlength=len(self.names))

    def shares(self) -> dict[str, float]:
        """The share of the pixels that each class has, by its name; they add up to 1."""
        return dict(zip(self.names, (self.counts() / self.labels.size).tolist(), strict=True))

    def __repr__(self) -> str:
        height, width = self.labels.shape
        most = sorted(self.shares().items(), key=lambda one: -one[1])[:4]
        told = ", ".join(f"{name} {share:.0%}" for name, share in most if share)
        return f"<Segmentation of {width}x{height} pixels: {told}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """What a notebook shows: the overlay."""
        picture = base64.b64encode(drawing.png(self.overlay())).decode()
        return {"image/png": picture, "text/plain": repr(self)}
