"""The settled results in the form in which OpenMMLab's tools list models.

Form: the `metafile.yaml` of MMSegmentation's configs, and `model-index.yml` which imports it.
"""

import re
from collections.abc import Mapping
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


def metafile(boards: list[Board], configs: Mapping[str, str]) -> str:
    """YAML with an entry for every model of the boards that are neither searches nor synthetic.

    Args:
        boards: of all records.
        configs: paths of config files by their fingerprint: only a model that a file trains just so
            has a `Config`; others say what they are based on.
    """
    told = [board for board in boards if not (board.exploratory or board.synthetic)]
    data = sorted({board.about["data"] for board in told})
    models = [_entry(board, model, configs) for board in told for model in board.models.values()]
    collection = {**COLLECTION, "Metadata": {"Training Data": data}}
    read = {"Collections": [collection], "Models": models}
    return NOTE + yaml.safe_dump(read, sort_keys=False, allow_unicode=True)


def _entry(board: Board, model: Model, configs: Mapping[str, str]) -> dict[str, Any]:
    about = model.first
    mean, sd = model.mean_and_sd()
    named = f"{about['data']} {about['backbone']} {model.label} {about['config_hash']}"
    config = configs.get(about["config_hash"])
    metrics = {"mIoU": round(mean, 2)}
    return {
        "Name": re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-"),
        "In Collection": COLLECTION["Name"],
        "Results": {
            "Task": "Semantic Segmentation",
            "Dataset": about["data"],
            "Metrics": metrics if sd != sd else {**metrics, "mIoU sd": round(sd, 2)},
        },
        **({"Config": config} if config else {"Based on": f"configs/{about['config']}"}),
        "Metadata": {
            "Training Data": about["data"],
            "Iterations": about["max_iterations"],
            "Batch Size": about["batch_size"],
            "Seeds": list(model.runs),
            "Architecture": [about["backbone"], about["decoder"]],
            "Attention": about["attentions"] or None,
            "Parameters": about["parameters"],
            "Training Resources": machine(about["sittings"][-1]["environment"]),
        },
        "Framework": "PyTorch",
    }
