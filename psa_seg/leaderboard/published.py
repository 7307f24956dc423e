"""Figures that others published: beside boards of the very setting, and those of this attention."""

import json
from pathlib import Path
from typing import Any

from psa_seg.leaderboard.board import Board

FILE = Path(__file__).with_name("published.json")
STEPS = {40_000: "miou_40k", 80_000: "miou_80k", 160_000: "miou_160k"}


def beside(board: Board) -> dict[str, Any] | None:
    """`setting`, `source` and `rows` (method, backbone, mIoU in percent) to stand beside `board`.

    MMSegmentation's model zoo is of Cityscapes' val set, with 512x1024 crops, 8 images a step, and
    SGD from a learning rate of 0.01.

    Returns:
        None for a board of any other setting or score, and for a search.
    """
    about = board.about
    setting = (about.data, about.crop, about.batch_size, about.score)
    recipe = (about.optimizer["type"], about.optimizer.get("lr"))
    zoos = ("Cityscapes", (512, 1024), 8, "mIoU"), ("SGD", 0.01)
    if (setting, recipe) != zoos or board.exploratory:
        return None
    column = STEPS.get(about.max_iterations)
    zoo = json.loads(FILE.read_text("utf-8"))["cityscapes_val"]
    rows = [
        {"method": row["method"], "backbone": row["backbone"], "mIoU": row[column]}
        for row in zoo["rows"]
        if column in row
    ]
    return {**zoo, "rows": rows} if rows else None


def attention() -> dict[str, Any]:
    """What others measured with this attention and without it, in a setting that no board has.

    Returns:
        `setting`, `note`, `rows` (method, mIoU in percent, source), and `reports` of users (what,
        source).
    """
    found = json.loads(FILE.read_text("utf-8"))
    of_psa = found["cityscapes_val_other_settings"]
    rows = [
        {"method": r["method"], "mIoU": r["miou"], "source": r["source"]} for r in of_psa["rows"]
    ]
    return {**of_psa, "rows": rows, "reports": found["user_reports"]}
