"""All boards as one HTML page that needs nothing but itself."""

import base64
import json
import math
from pathlib import Path
from typing import Any

from psa_seg.errors import UserError
from psa_seg.leaderboard import published
from psa_seg.leaderboard.board import Board
from psa_seg.leaderboard.finding import findings
from psa_seg.leaderboard.model import Model
from psa_seg.leaderboard.table import EXPLAINED, seeds

TEMPLATE = Path(__file__).with_name("page.html")


def page(boards: list[Board], pictures: bool) -> str:
    """The page.

    Args:
        boards: in their order.
        pictures: show those of real images, too, where they lie beside the records; pictures of
            synthetic streets are always shown.
    """
    data = {
        "findings": findings(boards),
        "explained": EXPLAINED,
        "others": published.attention(),
        "boards": [_board(board, pictures or board.synthetic) for board in boards],
    }
    text = json.dumps(_finite(data), ensure_ascii=False).replace("<", "\\u003c")
    return TEMPLATE.read_text("utf-8").replace("{{DATA}}", text)


def _board(board: Board, pictures: bool) -> dict[str, Any]:
    return {
        "title": board.title,
        "score": board.about.score,
        "further": list(board.further),
        "exploratory": board.exploratory,
        "recipe": board.is_recipe,
        "synthetic": board.synthetic,
        "demo": board.demo,
        "classes": board.about.classes,
        "images": [board.about.train_images, board.about.val_images],
        "machines": board.machines,
        "commits": board.commits,
        "published": published.beside(board),
        "baseline": None if board.baseline is None else board.baseline.per_class().tolist(),
        "models": [_model(board, model, pictures) for model in board.models.values()],
    }


def _model(board: Board, model: Model, pictures: bool) -> dict[str, Any]:
    mean, sd = model.mean_and_sd()
    further = [model.mean_and_sd(name) for name in board.further.values()]
    found = board.comparisons.get(model.label)
    comparison = found if found and found.seeds else None
    return {
        "label": model.label,
        "plain": not model.first.attentions,
        "mean": mean,
        "sd": sd,
        "scores": list(model.scores().values()),
        "further": further,
        "count": len(model.scores()),
        "seeds": seeds(model, comparison),
        "mAcc": model.mean_and_sd("mAcc")[0],
        "aAcc": model.mean_and_sd("aAcc")[0],
        "comparison": comparison and comparison._asdict(),
        "classDifferences": comparison and board.class_differences(model.label),
        "parameters": model.first.parameters / 1e6,
        "GFLOPs": model.flops,
        "inference": model.slowdown,
        "memory": model.memory / 1024,
        "curve": model.curve(),
        "picture": _picture(model.path) if pictures else None,
    }


def _picture(record: Path) -> str | None:
    """The picture beside a record, as a data URI; None where there is none."""
    path = record.with_suffix(".webp")
    if not path.is_file():
        return None
    content = path.read_bytes()
    if content[8:12] != b"WEBP":
        raise UserError(f"not a picture: {path}\n  do         take it away")
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def _finite(value: Any) -> Any:
    """`value` with null for what JSON has no word for, and figures to nine digits."""
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
