"""The settled results in the form in which OpenMMLab's tools list models.

Form: the `metafile.yaml` of MMSegmentation's configs, and `model-index.yml` which imports it.
"""

import re
from typing import Any

import yaml

from psa_seg.leaderboard.board import Board, Model, machine

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


def metafile(boards: list[Board]) -> str:
    """YAML with an entry for every model of the boards that are neither searches nor synthetic."""
    told = [board for board in boards if not (board.exploratory or board.synthetic)]
    data = sorted({board.about["data"] for board in told})
    models = [_entry(board, model) for board in told for model in board.models.values()]
    collection = {**COLLECTION, "Metadata": {"Training Data": data}}
    read = {"Collections": [collection], "Models": models}
    return NOTE + yaml.safe_dump(read, sort_keys=False, allow_unicode=True)


def _entry(board: Board, model: Model) -> dict[str, Any]:
    about = model.first
    mean, sd = model.mean_and_sd()
    named = f"{about['config'].removesuffix('.py')} {about['max_iterations']} {model.label}"
    metrics = {"mIoU": round(mean, 2)}
    return {
        "Name": re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-"),
        "In Collection": COLLECTION["Name"],
        "Results": {
            "Task": "Semantic Segmentation",
            "Dataset": about["data"],
            "Metrics": metrics if sd != sd else {**metrics, "mIoU sd": round(sd, 2)},
        },
        "Config": f"configs/{about['config']}",
        "Metadata": {
            "Training Data": about["data"],
            "Iterations": about["max_iterations"],
            "Batch Size": about["batch_size"],
            "Seeds": list(model.runs),
            "Architecture": [about["backbone"], "DeepLabV3+"],
            "Attention": about["attentions"] or None,
            "Parameters": about["parameters"],
            "Training Resources": machine(about["environment"]),
        },
        "Framework": "PyTorch",
    }
