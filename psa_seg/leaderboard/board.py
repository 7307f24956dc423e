"""Records of runs, put beside those that they can be compared with."""

import itertools
import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from psa_seg.engine.record import is_complete, load_record
from psa_seg.errors import UserError
from psa_seg.evaluation import scores
from psa_seg.evaluation.paired import Comparison, compare

Record = dict[str, Any]


class Model:
    """The runs of one model, by seed; every figure is of the last iteration, in percent."""

    def __init__(self, label: str, runs: dict[int, Record]) -> None:
        self.label = label
        self.runs = dict(sorted(runs.items()))
        self.first = next(iter(self.runs.values()))

    def scores(self, name: str = "mIoU") -> dict[int, float]:
        """By seed: `mIoU`, `mAcc` or `aAcc`."""
        return {seed: float(_last(record)[name]) for seed, record in self.runs.items()}

    def mean_and_sd(self, name: str = "mIoU") -> tuple[float, float]:
        """Over seeds; the standard deviation of one is NaN."""
        values = list(self.scores(name).values())
        return mean(values), stdev(values) if len(values) > 1 else math.nan

    def per_class(self, seeds: Iterable[int] | None = None) -> np.ndarray:
        """IoU of each class, mean over (all) seeds; NaN for what no pixel was or was called."""
        chosen = self.runs if seeds is None else seeds
        return np.mean([_last(self.runs[seed])["IoU"] for seed in chosen], axis=0)

    def curve(self) -> list[tuple[int, float]]:
        """Iteration and mIoU of each validation, mean over seeds."""
        histories = [
            {v["iteration"]: float(_scores(v)["mIoU"]) for v in record["validations"]}
            for record in self.runs.values()
        ]
        shared = set.intersection(*(set(history) for history in histories))
        return [(i, mean(history[i] for history in histories)) for i in sorted(shared)]

    @property
    def slowdown(self) -> float:
        """Time of inference as a multiple of the plain network's, timed in turns by each run."""
        costs = [record["inference"] for record in self.runs.values()]
        return median(cost["milliseconds"] / cost["plain_milliseconds"] for cost in costs)

    @property
    def memory(self) -> int:
        """The most memory in training, MiB."""
        return max(record["training_memory"]["MiB"] for record in self.runs.values())


class Board:
    """Models that differ in the attention alone, on the same data.

    Args:
        models: by label.
        baseline: the plain network under the same conditions; it may stand in another board.
        exploratory: whether this is a search, and no comparison that was settled beforehand.
    """

    def __init__(self, models: dict[str, Model], baseline: Model | None, exploratory: bool) -> None:
        ranked = sorted(models.values(), key=lambda model: -model.mean_and_sd()[0])
        self.models = {model.label: model for model in ranked}
        self.baseline, self.exploratory = baseline, exploratory
        self.about = ranked[0].first

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """Of every model with an attention, where there is a baseline."""
        if self.baseline is None:
            return {}
        rivals = {
            label: model.scores() for label, model in self.models.items() if _attends(model.first)
        }
        return compare(rivals, self.baseline.scores())

    def class_differences(self, label: str) -> list[float]:
        """Points of IoU of each class above the baseline's, mean over the seeds that both have."""
        seeds = self.comparisons[label].seeds
        assert self.baseline, "comparisons are with a baseline"
        return (self.models[label].per_class(seeds) - self.baseline.per_class(seeds)).tolist()

    @property
    def title(self) -> str:
        """What was trained."""
        about = self.about
        crop = "x".join(map(str, about["crop"]))
        return (
            f"{about['data']}: {about['decoder']} {about['backbone']}, "
            f"{about['max_iterations']} steps of {about['batch_size']} images {crop}, "
            f"{about['precision']}"
        )

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up."""
        return self.about["data"].startswith("synthetic")

    @property
    def machines(self) -> list[str]:
        """Hardware and PyTorch of all runs."""
        return sorted({machine(part["environment"]) for part in self.sittings})

    @property
    def commits(self) -> list[str]:
        """Of the code that made the runs."""
        return sorted({part["commit"] or "unknown" for part in self.sittings})

    @property
    def sittings(self) -> list[dict[str, Any]]:
        """Of all runs."""
        runs = [run for model in self.models.values() for run in model.runs.values()]
        return [part for run in runs for part in run["sittings"]]


def machine(environment: dict[str, Any]) -> str:
    """Hardware and PyTorch of a record's `environment`, in a few words."""
    cpu = "" if environment["cuda"] else f"{environment['processor']}, "
    return f"{cpu}{environment['device']}, torch {environment['packages']['torch']}"


def read_boards(folder: str) -> list[Board]:
    """The boards of all records in `folder` and below: settled comparisons before searches.

    Raises:
        UserError: for a folder without records, a file that is none, a run that has not ended, two
            records of one run, or labels that do not tell models apart.
    """
    if not Path(folder).is_dir():
        raise UserError(f"no such folder: {folder}\n  do         name one that holds records")
    paths = sorted(Path(folder).rglob("*.json"))
    paths = [path for path in paths if path.parent.name != "vis_data"]  # a run's own log
    if not paths:
        raise UserError(
            f"no records (*.json) in {folder}\n  do         make some with tools/sweep.py"
        )
    groups: dict[tuple[bool, str, str], list[Record]] = {}
    for path in paths:
        record = load_record(path)
        if not is_complete(record):
            raise UserError(
                f"the record of a run that has not ended: {path}\n"
                "  do         let it end, or take the record away"
            )
        key = (record["exploratory"], record["setting"], record["data_hash"])
        groups.setdefault(key, []).append({**record, "path": path})
    models = {key: _models(records) for key, records in groups.items()}
    boards = [
        Board(found, _plain(found) or _plain(models.get((False, *key[1:]), {})), key[0])
        for key, found in sorted(models.items(), key=lambda item: item[0])
    ]
    return sorted(boards, key=lambda board: (board.exploratory, board.synthetic))


def _models(records: list[Record]) -> dict[str, Model]:
    """The models of one board, by label.

    Raises:
        UserError: where it cannot be told from labels and configs which runs are of one model.
    """
    runs: dict[str, dict[int, Record]] = {}
    for one, other in itertools.combinations(records, 2):
        trouble = _trouble(one, other)
        if trouble:
            raise UserError(
                f"{trouble}: {one['label']}, {other['label']}\n"
                f"  where      {one['path']}\n             {other['path']}\n"
                "  do         take one away"
            )
    for record in records:
        runs.setdefault(record["label"], {})[record["seed"]] = record
    return {label: Model(label, by_seed) for label, by_seed in runs.items()}


def _trouble(one: Record, other: Record) -> str:
    """Why two records cannot be of one board; empty if they can."""
    same_config = one["config_hash"] == other["config_hash"]
    same_label = one["label"] == other["label"]
    if same_config and one["seed"] == other["seed"]:
        return f"two records of one run, seed {one['seed']}"
    if same_label and not same_config:
        return "two models go by one name"
    if same_config and not same_label:
        return "one model goes by two names"
    if not same_label and not (_attends(one) or _attends(other)):
        return "two networks without attention"
    return ""


def _plain(models: dict[str, Model]) -> Model | None:
    return next((model for model in models.values() if not _attends(model.first)), None)


def _attends(record: Record) -> bool:
    return bool(record["attentions"])


def _last(record: Record) -> dict[str, np.ndarray]:
    return _scores(record["validations"][-1])


def _scores(validation: dict[str, Any]) -> dict[str, np.ndarray]:
    return scores(np.array(validation["confusion"]))
