"""Writes synthetic scenes to disk in Cityscapes' own layout."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from psa_seg import files
from psa_seg.errors import UserError

from ..labels import LABELS
from . import texture
from .scene import VERSION, Scene, draw_scene

MARKER = "synthetic_cityscapes.json"
UNFINISHED = "synthetic_cityscapes.unfinished.json"
COUNTS = {"train": 400, "val": 80, "test": 20}
CITIES = {
    "train": ("synthville", "pixelburg", "noisehaven"),
    "val": ("fakeford",),
    "test": ("mockton",),
}
_NOTE = "Every image here was drawn by a program: synthetic street scenes, not Cityscapes."
_PALETTE = np.zeros((256, 1, 3), np.uint8)  # BGR
for _row in LABELS[:-1]:
    _PALETTE[_row.id] = _row.color[::-1]


class Job(NamedTuple):
    """One frame to draw: its seed, its size, and where its five files go."""

    seed: int
    size: tuple[int, int]
    image: Path
    labels: str  # the start of the path of the four label files

    def files(self) -> list[Path]:
        """The five files of the frame."""
        ends = ("labelIds.png", "instanceIds.png", "color.png", "polygons.json")
        return [self.image, *(Path(self.labels + end) for end in ends)]


def prepare(
    root: Path,
    counts: dict[str, int] | None = None,
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Write what is missing of a synthetic data set, laid out as Cityscapes is.

    A data set that is complete is left as it is. One that was interrupted is completed: every
    file appears whole or not at all, and ``synthetic_cityscapes.json`` appears last.

    Args:
        root: folder to write to; made if missing.
        counts: images per split, ``train``, ``val`` and ``test``; by default 400, 80 and 20.
        size: rows and columns in pixels.
        seed: another seed draws other streets.
        workers: processes; by default one per core.

    Returns:
        ``root``.

    Raises:
        UserError: the folder holds anything else, or synthetic images of another kind; nothing
            in it has been touched.
    """
    counts = COUNTS if counts is None else counts
    wanted = dict(version=VERSION, seed=seed, counts=counts, size=list(size), note=_NOTE)
    if _state(root, wanted) == MARKER:
        return root
    root.mkdir(parents=True, exist_ok=True)
    files.write(root / UNFINISHED, json.dumps(wanted, indent=2))
    jobs = [job for job in _jobs(root, counts, size, seed) if not _is_done(job)]
    for folder in {file.parent for job in jobs for file in job.files()}:
        folder.mkdir(parents=True, exist_ok=True)
    _draw_all(jobs, workers or os.cpu_count() or 1)
    try:
        os.replace(root / UNFINISHED, root / MARKER)
    except FileNotFoundError:  # another process drew the same, and finished first
        if not (root / MARKER).is_file():
            raise
    return root


def _state(root: Path, wanted: dict[str, Any]) -> str:
    """Which marker of ours the folder holds; empty for a folder that is new."""
    if not root.exists():
        return ""
    for name in (MARKER, UNFINISHED):
        if not (root / name).is_file():
            continue
        try:
            found = json.loads((root / name).read_text("utf-8"))
        except ValueError:
            found = None
        if found == wanted:
            return name
        raise UserError(
            f"{root} holds synthetic images of another version, seed, size or number. "
            "Delete this folder (all in it was drawn by this program) or choose another one."
        )
    if not root.is_dir() or any(root.iterdir()):
        raise UserError(
            f"{root} is not empty and was not written by this program; nothing in it was touched. "
            "Choose a new or an empty folder for the synthetic images."
        )
    return ""


def _jobs(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int) -> Iterator[Job]:
    for part, (split, cities) in enumerate(CITIES.items()):
        count = counts.get(split, 0)
        for index in range(count):
            city = cities[index * len(cities) // count]
            frame = f"{city}_{index:06d}_000019"
            image = root / "leftImg8bit" / split / city / f"{frame}_leftImg8bit.png"
            labels = str(root / "gtFine" / split / city / f"{frame}_gtFine_")
            yield Job((seed * len(CITIES) + part) * 1_000_000 + index, size, image, labels)


def _is_done(job: Job) -> bool:
    return all(file.is_file() for file in job.files())


def _draw_all(jobs: list[Job], workers: int) -> None:
    if not jobs:
        return
    if workers == 1:
        for _ in _shown(map(_draw, jobs), len(jobs)):
            pass
        return
    texture.warm()
    # A child inherits no thread of its parent, so OpenCV must have none while it is forked.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        # Forked workers need not import the whole package again; elsewhere forking is unsafe.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        with context.Pool(min(workers, len(jobs)), _start_worker) as pool:
            for _ in _shown(pool.imap_unordered(_draw, jobs, chunksize=4), len(jobs)):
                pass
    finally:
        cv2.setNumThreads(threads)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    # Ctrl-C reaches every process: the parent alone answers, and ends its workers. They end by a
    # signal that it may have a handler for: inherited, that can miss a worker that begins to wait.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _shown(steps: Iterable[None], total: int) -> Iterator[None]:
    """Pass the steps on; show a bar on a terminal, and five plain lines elsewhere."""
    console = Console(stderr=True)
    text = "Drawing synthetic street scenes"
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        for done, step in enumerate(steps, 1):
            progress.advance(task)
            if not console.is_terminal and done * 5 // total > (done - 1) * 5 // total:
                print(f"{text}: {done} of {total}", file=sys.stderr, flush=True)
            yield step


def _draw(job: Job) -> None:
    scene = draw_scene(job.seed, job.size)
    image, *labels = job.files()
    # The picture last: whoever lists pictures finds labels to each.
    for file, data in zip((*labels, image), _encoded(scene), strict=True):
        files.write(file, data)


def _encoded(scene: Scene) -> Iterator[bytes]:
    rows, columns = scene.label_ids.shape
    objects = [{"label": label, "polygon": polygon} for label, polygon in scene.objects]
    yield _png(scene.label_ids)
    yield _png(scene.instance_ids)
    yield _png(cv2.LUT(cv2.merge([scene.label_ids] * 3), _PALETTE))
    yield json.dumps({"imgHeight": rows, "imgWidth": columns, "objects": objects}).encode()
    yield _png(scene.image[..., ::-1])


def _png(pixels: np.ndarray) -> bytes:
    # Run lengths: the fastest strategy, and the smallest, both for labels and for noisy pictures.
    strategy = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    _, data = cv2.imencode(".png", pixels, (cv2.IMWRITE_PNG_COMPRESSION, 1, *strategy))
    return data.tobytes()
