"""A board as Markdown and as CSV."""

import csv
import html
import io
import math
import re

from psa_seg.leaderboard.board import Board
from psa_seg.leaderboard.model import Model
from psa_seg.leaderboard.paired import Comparison
from psa_seg.records import Record

NEEDED = "smallest difference that would be significant"
AGAINST = ("difference to none", "p", NEEDED, "verdict")
COSTS = ("parameters", "GFLOPs", "inference", "training memory")
EXPLAINED = (
    "Scores in percent after the last step, never the best on the way: mean ± standard deviation "
    "over seeds. Difference: in points, seed by seed, with the 95 % interval of this row alone. "
    "p: paired t-test, Holm-corrected over the rows that were to be tested; the verdict is by it. "
    "The smallest difference that would be significant: if it was observed, with as many seeds "
    "and this spread, at Holm's strictest level; a true difference of that size would be found in "
    "about six of ten such experiments. Of a model that has not all its seeds yet, nothing is "
    "tested. ECE: expected calibration error, the lower the better. Inference: time of one image "
    "as a multiple of the plain network's, taken in turns: by how much rows of one network differ "
    "is noise. Training memory: the most that a process held, or allocated on a GPU. Records of "
    "version 1 stand apart: they do not know what was in the files of weights that a run began "
    "with."
)


def markdown(boards: list[Board]) -> str:
    """A table each, with where it was measured, and what the columns mean."""
    return "\n\n".join([*map(_table, boards), EXPLAINED])


def _table(board: Board) -> str:
    against = AGAINST if board.comparisons else ()
    headings = ("attention", board.about.score, "seeds", *against, *board.further, *COSTS)
    lines = [
        f"**{escaped(board.title)}**" + (" (exploratory)" if board.exploratory else ""),
        "",
        f"| {' | '.join(escaped(heading) for heading in headings)} |",
        f"|{'|'.join('---' if h in ('attention', 'verdict') else '--:' for h in headings)}|",
    ]
    for label, model in board.models.items():
        lines.append(f"| {' | '.join(_cells(board, model, board.comparisons.get(label)))} |")
    images = f"{board.about.train_images} training and {board.about.val_images} validation"
    lines += ["", f"{images} images; {escaped('; '.join(board.machines))}."]
    return "\n".join(lines)


def _cells(board: Board, model: Model, comparison: Comparison | None) -> list[str]:
    flops = model.flops
    return [
        escaped(model.label),
        mean_of(model),
        seeds(model, comparison),
        *(_against(comparison) if board.comparisons else ()),
        *(mean_of(model, name) for name in board.further.values()),
        f"{model.first.parameters / 1e6:.2f} M",
        "not counted" if flops is None else f"{flops:.2f}",
        f"{model.slowdown:.2f} x",
        f"{model.memory / 1024:.2f} GiB",
    ]


def mean_of(model: Model, name: str = "") -> str:
    """A score's mean and standard deviation over seeds."""
    mean, sd = model.mean_and_sd(name)
    return f"{_number(mean)} ± {_number(sd)}"


def seeds(model: Model, comparison: Comparison | None) -> str:
    """How many a model has: of how many that were planned, or how many of them are paired."""
    count = len(model.scores())
    if not model.is_whole():
        return f"{count} of {len(model.planned)}"
    if comparison is None or len(comparison.seeds) == count:
        return str(count)
    return f"{count}, {len(comparison.seeds)} paired"


def escaped(text: str) -> str:
    """A name in Markdown, in which nothing of it is a mark, or HTML."""
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*\[\]|])", r"\\\1", line)


def _against(comparison: Comparison | None) -> list[str]:
    if comparison is None or not comparison.seeds:
        return ["", "", "", ""]
    interval = f"[{_number(comparison.low, '+')}, {_number(comparison.high, '+')}]"
    return [
        f"{_number(comparison.difference, '+')} {interval}",
        "< 0.001" if comparison.p < 0.001 else f"{comparison.p:.3f}".replace("nan", "?"),
        _number(comparison.needed),
        comparison.verdict,
    ]


def _number(value: float, sign: str = "") -> str:
    return "?" if math.isnan(value) else f"{value:{sign}.2f}"


def to_csv(boards: list[Board]) -> str:
    """One row a run, for those who compute on."""
    shown = [name for board in boards for name in board.further.values()]
    further = dict.fromkeys(["mBIoU", "mF1", "ECE", *shown])
    rows = [
        {
            "board": board.title,
            "exploratory": board.exploratory,
            "attention": label,
            "seed": seed,
            "score": board.about.score,
            "value": round(record.figure(), 4),
            **{name: round(record.figure(name), 4) for name in ("mIoU", "mAcc", "aAcc")},
            **{name: _of_counts(record, name) for name in further},
            "parameters": record.parameters,
            "GFLOPs": model.inference()[seed].GFLOPs,
            "inference_ms": model.inference()[seed].milliseconds,
            "plain_inference_ms": model.inference()[seed].plain_milliseconds,
            "training_MiB": record.training_memory.MiB,
            "wall_time_s": record.wall_time_s,
            "commits": " ".join(part.commit or "unknown" for part in record.attempts),
            "config_hash": record.config_hash,
            "data_hash": record.data_hash,
        }
        for board in boards
        for label, model in board.models.items()
        for seed, record in model.runs.items()
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _of_counts(record: Record, name: str) -> float | None:
    """A score that not every run has."""
    try:
        return round(record.figure(name), 4)
    except (KeyError, ValueError):
        return None
