"""Pictures of a disk through a model, one after the other, and a table of what was seen."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from prettytable import PrettyTable

from psa_seg import files
from psa_seg.engine import work_dir
from psa_seg.errors import UserError
from psa_seg.inference.inputs import HEADING, TABLE, Source, Video, find
from psa_seg.inference.outputs import Outputs
from psa_seg.inference.pace import Pace
from psa_seg.inference.result import Segmentation
from psa_seg.inference.segmenter import Segmenter, Wanted


@dataclass(frozen=True)
class Order:
    """What is to be predicted.

    Attributes:
        checkpoint: path.
        pictures: files, folders, patterns, lists.
        out: folder, new or empty.
        kinds: of `psa_seg.inference.KINDS`.
        config: path, in place of the config in the checkpoint.
        device: as of `load`.
        opacity: of the overlay's colours.
        tta: as of `Wanted`; `tile` and `batch`, too.
    """

    checkpoint: str
    pictures: Sequence[str]
    out: Path
    kinds: Sequence[str] = ("overlay",)
    config: str | None = None
    device: str | None = None
    opacity: float = 0.5
    tta: bool = False
    tile: int = 0
    batch: int = 1


class Tally:
    """Pixels of each class in each picture or video, whose paths differ: `rows`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.rows = names, dict[str, np.ndarray]()

    def csv(self) -> str:
        """Percent of each class, a row a picture or video, all together in the last one."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([HEADING, *self.names])
        for name, counts in [*self.rows.items(), ("all", np.sum([*self.rows.values()], axis=0))]:
            writer.writerow([name, *(f"{share:.4f}" for share in 100 * counts / counts.sum())])
        return text.getvalue()

    def table(self) -> str:
        """The classes that occur, the most frequent first."""
        counts = np.stack([*self.rows.values()])
        total, seen = counts.sum(0), (counts > 0).sum(0)
        table = PrettyTable(["class", "% of pixels", "pictures"], align="r")
        table.align["class"] = "l"
        for i in np.argsort(-total, kind="stable"):
            if total[i]:
                table.add_row([self.names[i], f"{100 * total[i] / total.sum():.2f}", seen[i]])
        return table.get_string()


def predict(order: Order) -> int:
    """Predict, write, tell.

    Returns:
        How many pictures and videos could not be read.

    Raises:
        UserError: for all that a user can mend, but for single pictures.
    """
    sources = find(order.pictures)
    files.must_be_free(order.out, "--out")
    segmenter = Segmenter(order.checkpoint, order.config, order.device)
    outputs = Outputs(order.out, order.kinds, segmenter.data, order.opacity)
    wanted = Wanted(
        scores="scores" in order.kinds,
        confidence="confidence" in order.kinds,
        gates="gates" in order.kinds,
        tta=order.tta,
        tile=order.tile,
        batch=order.batch,
        bgr=True,
    )
    segmenter.require(wanted)
    claim = work_dir.make(order.out)
    tally = Tally(segmenter.names)
    try:
        broken = label(segmenter, sources, wanted, outputs, tally)
    finally:  # of what was done until Ctrl-C, too
        if tally.rows:
            files.write(order.out / TABLE, tally.csv())
        else:
            work_dir.abandon(claim)
    if tally.rows:
        print(tally.table())
        where = ", ".join(str(order.out / kind) for kind in order.kinds)
        print(f"{len(tally.rows)} done: {where}; {order.out / TABLE} has a row for each")
    if broken:
        print(f"{broken} of {len(sources)} could not be read", file=sys.stderr)
    return broken


def label(
    segmenter: Segmenter,
    sources: Sequence[Source],
    wanted: Wanted,
    outputs: Outputs,
    tally: Tally,
) -> int:
    """Write files of all that can be read, and count its pixels; what cannot is a line each.

    Returns:
        How many could not be read.
    """
    pace, broken = Pace(len(sources)), 0
    for is_video, group in groupby(sources, key=lambda source: source.is_video):
        read = _videos if is_video else _pictures
        for source, found in read(segmenter, wanted, [*group], outputs, pace):
            pace.clear()
            if isinstance(found, UserError):
                broken += 1
                lines = [" ".join(line.split()) for line in str(found).splitlines()]
                reason = "; ".join(line for line in lines if not line.startswith("do "))
                print(f"skipped: {reason}", file=sys.stderr, flush=True)
            else:
                tally.rows[source.path.as_posix()] = found
            pace.step()
    pace.clear()
    return broken


Counted = Iterator[tuple[Source, np.ndarray | UserError]]  # pixels of each class, or what is wrong


def _pictures(
    segmenter: Segmenter, wanted: Wanted, sources: list[Source], outputs: Outputs, pace: Pace
) -> Counted:
    paths = [source.path for source in sources]
    for source, found in zip(sources, segmenter.each(paths, wanted), strict=True):
        if isinstance(found, Segmentation):
            outputs.write(source.name, found)
            yield source, found.counts()
        else:
            yield source, found


def _videos(
    segmenter: Segmenter, wanted: Wanted, sources: list[Source], outputs: Outputs, pace: Pace
) -> Counted:
    for source in sources:
        try:
            video = Video(source.path)
            pace.total += video.length
            counts = np.zeros(len(segmenter.names), np.int64)
            with outputs.film(source.name, video.rate) as film:
                for found in segmenter.each(video, wanted):
                    if isinstance(found, UserError):
                        raise found
                    film.write(found)
                    counts += found.counts()
                    pace.step()
                if not film.frames:
                    raise UserError(f"no frame that can be read: {source.path}")
            yield source, counts
            if film.frames + 1 < video.length:  # of which some files are one short
                raise UserError(
                    f"it ends after {film.frames} of {video.length} frames: {source.path}"
                )
        except UserError as error:
            yield source, error
