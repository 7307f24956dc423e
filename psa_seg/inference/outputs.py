"""Files of what a model says: a folder for each kind of them, in which a picture keeps its path."""

import errno
import io
import os
from collections.abc import Callable, Collection
from pathlib import Path

import cv2
import numpy as np

from psa_seg import files
from psa_seg.datasets.colours import rgb
from psa_seg.datasets.data_file import DataFile
from psa_seg.engine import drawing
from psa_seg.errors import UserError
from psa_seg.inference import gates
from psa_seg.inference.result import Segmentation

ENDINGS = {"scores": ".npz"}  # the others are PNGs
FILMED = ("overlay", "colours")  # a video's come out as a video
CODEC = "mp4v"


class Outputs:
    """Writes what was asked for below a folder.

    Args:
        folder: that exists.
        kinds: of `psa_seg.inference.KINDS`.
        data: the data.yaml of the training, whose values labels are given back in.
        opacity: of colours over a picture.

    Raises:
        UserError: where a PNG cannot hold the values.
    """

    def __init__(
        self, folder: Path, kinds: Collection[str], data: DataFile | None, opacity: float
    ) -> None:
        self.folder, self.kinds, self.opacity = folder, kinds, opacity
        self._values = _values(data) if data and "labels" in kinds else None
        self._made: dict[str, Callable[[Segmentation], np.ndarray]] = {
            "overlay": lambda found: found.overlay(opacity),
            "colours": Segmentation.colours,
            "labels": self._labels,
            "confidence": _confidence,
        }

    def place(self, kind: str, name: Path) -> Path:
        """Where a file of a kind goes; its folder is made."""
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(f"{name} leads out of {self.folder}")
        path = self.folder / kind / f"{name}{ENDINGS.get(kind, '.png')}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: Path, found: Segmentation, but: Collection[str] = ()) -> None:
        """Write all kinds of one picture, `but` some."""
        for kind in self.kinds:
            if kind in but:
                continue
            path = self.place(kind, name)
            if kind == "scores":
                content = io.BytesIO()
                assert found.scores is not None
                np.savez_compressed(content, scores=found.scores, names=np.array(found.names))
                files.write(path, content.getvalue(), lasting=False)
            elif kind == "gates":
                with files.whole(path, lasting=False) as part:
                    gates.draw(part, found.image, found.gates or {}, name.name)
            else:
                files.write(path, drawing.png(self._made[kind](found)), lasting=False)

    def film(self, name: Path, rate: float) -> "Film":
        """A video's frames, to be written one after the other."""
        return Film(self, name, rate)

    def _labels(self, found: Segmentation) -> np.ndarray:
        return found.labels if self._values is None else self._values[found.labels]


class Film:
    """What becomes of a video: videos of the same rate, and a file a frame of all other kinds.

    Whatever ends the block early leaves no video.
    """

    def __init__(self, outputs: Outputs, name: Path, rate: float) -> None:
        self.outputs, self.name, self.rate, self.frames = outputs, name, rate, 0
        self._open: dict[str, tuple[cv2.VideoWriter, Path, Path]] = {}

    def __enter__(self) -> "Film":
        return self

    def write(self, found: Segmentation) -> None:
        """The next frame."""
        pictures = {"colours": found.colours} if "colours" in self.outputs.kinds else {}
        if "overlay" in self.outputs.kinds:
            pictures["overlay"] = lambda: found.overlay(self.outputs.opacity, every=True)
        for kind, draw in pictures.items():
            frame = cv2.cvtColor(draw(), cv2.COLOR_RGB2BGR)
            odd = [(0, side % 2) for side in frame.shape[:2]]  # the codec takes pairs of pixels
            frame = np.pad(frame, [*odd, (0, 0)], "edge")
            if kind not in self._open:
                self._open[kind] = self._begun(kind, frame.shape)
            self._open[kind][0].write(frame)
        self.outputs.write(self.name / f"{self.frames:06d}", found, but=FILMED)
        self.frames += 1

    def _begun(self, kind: str, size: tuple[int, ...]) -> tuple[cv2.VideoWriter, Path, Path]:
        path = self.outputs.place(kind, self.name).with_suffix(".mp4")
        part = path.with_name(f".{path.stem}.part.mp4")
        codec = cv2.VideoWriter.fourcc(*CODEC)
        for rate in (self.rate, round(self.rate, 1), round(self.rate)):  # some it does not take
            writer = cv2.VideoWriter(str(part), codec, rate, size[1::-1])
            if writer.isOpened():
                break
        else:
            raise UserError(
                f"OpenCV cannot write a video here: {path}\n"
                "  do         save other kinds: --save labels"
            )
        return writer, part, path

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for writer, part, path in self._open.values():
            writer.release()
            # OpenCV says nothing of a disk that is full.
            if kind is None and _frames(part) == self.frames:
                part.replace(path)
                continue
            part.unlink(missing_ok=True)
            if kind is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _frames(path: Path) -> int:
    """Of a video that lies on the disk; 0 of one that cannot be opened."""
    capture = cv2.VideoCapture(str(path))
    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0


def _values(data: DataFile) -> np.ndarray:
    """What a mask holds for each class: a value, or RGB."""
    found = [next(v for v, i in data.ids.items() if i == n) for n in range(len(data.names))]
    if data.colours:
        return np.array([rgb(value) for value in found], np.uint8)
    if not 0 <= min(found) <= max(found) < 2**16:
        raise UserError(
            f"labels: a PNG holds values of 0 to 65535, and not {min(found)} to {max(found)}\n"
            "  do         --save colours"
        )
    return np.array(found, np.uint8 if max(found) < 256 else np.uint16)


def _confidence(found: Segmentation) -> np.ndarray:
    assert found.confidence is not None
    return (found.confidence * 65535).round().astype(np.uint16)
