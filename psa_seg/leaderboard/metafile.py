"""The settled results in the form in which OpenMMLab's tools list models.

Form: the `metafile.yaml` of MMSegmentation's configs, and `model-index.yml` which imports it.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from psa_seg.leaderboard.board import Board
from psa_seg.leaderboard.model import Model
from psa_seg.records import Record

COLLECTION = {
    "Name": "Polarized Self-Attention",
    "License": "Apache License 2.0",
    "Paper": {
        "Title": "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
        "URL": "https://arxiv.org/abs/2107.00782",
    },
    "README": "README.md",
    "Frameworks": ["PyTorch"],
}
NOTE = "# Written by python -m benchmarks.tables from records; no weights are published.\n"
INDEX = "Import:\n- configs/metafile.yaml\n"


def metafile(boards: list[Board], config_of: Callable[[Record], str | None]) -> str:
    """YAML with an entry for every model of the boards that are settled.

    Models that have not all their planned seeds yet are left out.

    Args:
        boards: of all records.
        config_of: path of the config file that trains just what a record is of: only such a model
            has a `Config`; others say what they are based on.
    """
    shown = [board for board in boards if board.settled]
    data = sorted({board.about.data for board in shown})
    models = [
        _entry(board, model, config_of)
        for board in shown
        for model in board.models.values()
        if model.is_whole()
    ]
    collection = {**COLLECTION, "Metadata": {"Training Data": data}}
    content = {"Collections": [collection], "Models": models}
    return NOTE + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _entry(board: Board, model: Model, config_of: Callable[[Record], str | None]) -> dict[str, Any]:
    about = model.first
    mean, sd = model.mean_and_sd()
    named = f"{about.data} {about.backbone} {model.label} {about.config_hash}"
    config = config_of(about)
    metrics = {about.score: round(mean, 2)}
    return {
        "Name": re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-"),
        "In Collection": COLLECTION["Name"],
        "Results": {
            "Task": "Semantic Segmentation",
            "Dataset": about.data,
            "Metrics": metrics if sd != sd else {**metrics, f"{about.score} sd": round(sd, 2)},
        },
        **({"Config": config} if config else {"Based on": f"configs/{about.config}"}),
        "Metadata": {
            "Training Data": about.data,
            "Iterations": about.max_iterations,
            "Batch Size": about.batch_size,
            "Seeds": list(model.counted),
            "Architecture": [about.backbone, about.decoder],
            "Attention": about.attentions or None,
            "Parameters": about.parameters,
            "Training Resources": str(about.attempts[-1].environment),
        },
        "Framework": "PyTorch",
    }
