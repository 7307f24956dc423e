"""Records of runs, put beside those that they can be compared with."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from psa_seg import files, shipped
from psa_seg.errors import UserError
from psa_seg.leaderboard.model import Model
from psa_seg.leaderboard.paired import Comparison, compare
from psa_seg.records import Attempt, Record, find
from psa_seg.records.schema import OF_A_DEMO

# Of a record, what its fingerprints stand for.
OF_SETTING = (
    *("data", "classes", "train_images", "val_images", "decoder", "backbone"),
    *("max_iterations", "crop", "batch_size", "precision"),
)
Group = tuple[bool, int, str, str, str]  # exploratory, version, setting, data, score
OF_MODEL = ("attentions", "parameters", "optimizer")


class Board:
    """Models that differ in the attention alone, on the same data.

    Args:
        models: by label.
        baseline: the plain network under the same conditions; it may stand in another board.
        exploratory: whether this is a search, and no comparison that was settled beforehand.
        alone: whether all boards beside it are of records of the same version.
    """

    def __init__(
        self,
        models: dict[str, Model],
        baseline: Model | None,
        exploratory: bool,
        alone: bool = True,
    ) -> None:
        # Of other seeds than the rest, a mean says nothing of a model's rank.
        ranked = sorted(
            models.values(),
            key=lambda model: (not model.is_whole(), -np.nan_to_num(model.mean_and_sd()[0])),
        )
        self.models = {model.label: model for model in ranked}
        self.baseline, self.exploratory = baseline, exploratory
        self.about, self.alone = ranked[0].first, alone

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """Of every model with an attention that has all its seeds, as the baseline has.

        What was planned together is corrected together, whether or not it is there yet.
        """
        if self.baseline is None:
            return {}
        plain = {seed: run.figure() for seed, run in self.baseline.runs.items()}
        families: dict[frozenset[str], dict[str, dict[int, float]]] = {}
        for label, model in self.models.items():
            together = model.tested_with
            if not model.first.attentions or (model.plans and not together & model.names):
                continue
            family = families.setdefault(together, {})
            if not model.plans or (model.is_whole() and self.baseline.has(model.planned)):
                family[label] = model.scores()
        found: dict[str, Comparison] = {}
        for together, family in families.items():
            found |= compare(family, plain, len(together) or None)
        return found

    @property
    def further(self) -> dict[str, str]:
        """Scores beside those of the confusion matrix that all runs have: heading, name."""
        runs = [run for model in self.models.values() for run in model.runs.values()]
        label, _, _ = self.about.score.rpartition(" ")  # of a class, where the score is a class's
        names = {
            "boundary": ("boundary IoU", f"{label} BIoU" if label else "mBIoU"),
            "f1": ("F1 within 2 px", f"{label} F1" if label else "mF1"),
            "calibration": ("ECE", "ECE"),
        }
        found = {}
        for counts, (heading, name) in names.items():
            if all(getattr(run.last, counts) for run in runs):
                found[f"{label} {heading}" if label and heading != "ECE" else heading] = name
        return found

    def class_differences(self, label: str) -> list[float]:
        """Points of IoU of each class above the baseline's, mean over the seeds that both have."""
        seeds = self.comparisons[label].seeds
        assert self.baseline, "comparisons are with a baseline"
        return (self.models[label].per_class(seeds) - self.baseline.per_class(seeds)).tolist()

    @property
    def title(self) -> str:
        """What was trained."""
        about = self.about
        crop = " " + "x".join(map(str, about.crop)) if about.crop else ""
        network = f"{about.data}: {about.decoder} {about.backbone}"
        if self.is_recipe:
            return f"{network}, recipes for the plain network, {about.max_iterations} steps"
        return (
            f"{network}, {about.max_iterations} steps of {about.batch_size} images{crop}, "
            f"{about.precision}" + ("" if self.alone else f", records of version {about.version}")
        )

    @property
    def is_recipe(self) -> bool:
        """Whether its rows are settings of one network, and not attentions in one setting."""
        return len({model.first.setting for model in self.models.values()}) > 1

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up."""
        return self.about.data.startswith("synthetic")

    @property
    def settled(self) -> bool:
        """Whether it is of trainings on real images, and no search."""
        return not (self.synthetic or self.exploratory or self.demo)

    @property
    def demo(self) -> bool:
        """Whether it is of demos on somebody's data."""
        return self.about.data.endswith(OF_A_DEMO)

    @property
    def machines(self) -> list[str]:
        """Hardware and PyTorch of all runs."""
        return sorted({str(attempt.environment) for attempt in self.attempts})

    @property
    def commits(self) -> list[str]:
        """Of the code that made the runs."""
        return sorted({attempt.commit or "unknown" for attempt in self.attempts})

    @property
    def attempts(self) -> list[Attempt]:
        """Of all runs."""
        runs = [run for model in self.models.values() for run in model.runs.values()]
        return [attempt for run in runs for attempt in run.attempts]


@dataclass
class Boards:
    """All boards of a folder, and what lies there and stands on none."""

    boards: list[Board]
    left_out: list[str] = field(default_factory=list)  # a line each, with the path


def read_boards(folder: str) -> Boards:
    """The boards of all records in `folder` and below: settled comparisons before searches.

    Of two records of one run, the one with a plan counts, or else the first by name: nobody chooses
    between them.

    Raises:
        UserError: for a folder without records, a record that cannot be read, or classes that
            differ.
    """
    if not Path(folder).is_dir():
        do = "name a folder that holds records"
        if Path(folder).exists():
            raise UserError(f"no folder: {files.absolute(folder)}\n  do         {do}")
        raise files.missing("folder", folder, do)
    found = find(Path(folder))
    left_out = [f"no record of a run: {path}" for path in found.others]
    complete: dict[Path, Record] = {}
    first: dict[tuple[object, ...], Path] = {}
    for path, record in sorted(found.records.items(), key=lambda item: item[1].plan is None):
        if not record.is_complete:
            left_out.append(f"the record of a run that has not ended: {path}")
            continue
        run = (*_group(record), record.config_hash, record.seed)
        if run in first:
            left_out.append(f"a second record of the run in {first[run]}: {path}")
            continue
        first[run], complete[path] = path, record
    if not complete:
        raise UserError(
            "\n  ".join([f"no records of runs that have ended in {folder}", *left_out])
            + f"\n  do         train some: {shipped.words('train')}, or {shipped.words('sweep')}"
        )
    groups: dict[Group, dict[Path, Record]] = {}
    for path, record in complete.items():
        groups.setdefault(_group(record), {})[path] = record
    models = {key: _models(records) for key, records in groups.items()}
    alone = len({record.version for record in complete.values()}) == 1
    boards = [
        Board(found, _plain(found) or _plain(models.get((False, *key[1:]), {})), key[0], alone)
        for key, found in sorted(_with_recipes(models).items(), key=lambda item: item[0])
    ]
    boards.sort(  # what is known first, and of that what was trained longest
        key=lambda board: (
            board.synthetic,
            board.exploratory,
            not board.comparisons,
            -board.about.max_iterations,
        )
    )
    return Boards(boards, left_out)


def _with_recipes(models: dict[Group, dict[str, Model]]) -> dict[Group, dict[str, Model]]:
    """Searches among settings of one plain network, each alone on its board, put on one."""
    found: dict[Group, dict[str, Model]] = {}
    for key, of_board in models.items():
        exploratory, version, _, data, score = key
        if not exploratory or any(model.first.attentions for model in of_board.values()):
            found[key] = of_board
            continue
        about = next(iter(of_board.values())).first
        network = f"{about.decoder} {about.backbone} of {' '.join(about.classes)}"
        network += f", {about.max_iterations} steps"
        together = found.setdefault((exploratory, version, network, data, score), {})
        for label, model in of_board.items():
            if label in together:
                there, here = (m.first.optimizer["type"] for m in (together[label], model))
                model.label = f"{label} ({here})"
                if there == here or model.label in together:
                    model.label = f"{label} ({model.first.config_hash})"
            together[model.label] = model
    return found


def _group(record: Record) -> Group:
    """What runs of one board have in common; fingerprints of two versions cannot be compared."""
    return record.exploratory, record.version, record.setting, record.data_hash, record.score


def _models(records: dict[Path, Record]) -> dict[str, Model]:
    """The models of one board, by label; what trains alike is one model, whatever it is called.

    Raises:
        UserError: where records contradict each other.
    """
    _require_agreement(records)
    runs: dict[str, dict[int, Record]] = {}
    paths: dict[str, dict[int, Path]] = {}
    for path, record in records.items():
        runs.setdefault(record.config_hash, {})[record.seed] = record
        paths.setdefault(record.config_hash, {})[record.seed] = path
    called = {key: records[min(paths[key].values(), key=list(records).index)].label for key in runs}
    names = list(called.values())
    labels = {k: name if names.count(name) == 1 else f"{name} ({k})" for k, name in called.items()}
    return {labels[key]: Model(labels[key], runs[key], paths[key]) for key in runs}


def _require_agreement(records: dict[Path, Record]) -> None:
    """Raise UserError where records of one setting, or model, differ in what is part of it."""
    firsts: dict[tuple[str, ...], tuple[Path, Record]] = {}
    for path, record in records.items():
        for names, key in ((OF_SETTING, ()), (OF_MODEL, (record.config_hash,))):
            there, first = firsts.setdefault(key, (path, record))
            different = [n for n in names if getattr(record, n) != getattr(first, n)]
            if different:
                raise UserError(
                    f"two records of one {'model' if key else 'setting'} differ in its "
                    f"{different[0]}\n"
                    f"  where      {there}\n             {path}\n"
                    "  do         copy both again from where they were made: one is not as it was"
                )


def _plain(models: dict[str, Model]) -> Model | None:
    """The model without an attention; of several, one that was planned, with the most runs."""
    plain = [model for model in models.values() if not model.first.attentions]
    return max(plain, key=lambda model: (bool(model.plans), len(model.runs)), default=None)
