"""What a run was, on what it ran, and the counts that its scores come from.

A record is immutable, and complete enough to compare runs without any of their files.

Versions:
    1: the fingerprint knows of a start from weights that there is one, and of no file's content.
    2: the fingerprint has how weights start, and the content of every file they are read from.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from psa_seg.records.consistency import contradiction
from psa_seg.records.scores import (
    boundary_scores,
    calibration_scores,
    f1_scores,
    needed,
    scores,
)

VERSION = 2
STREETS = "synthetic street scenes"  # the name of a demo's own data
OF_A_DEMO = ", demo"  # ends the name of data of which a demo was trained


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Hardware and versions that figures were measured on."""

    device: str
    processor: str
    cuda: str | None  # version; None on a CPU
    packages: dict[str, str]  # versions by name
    python: str = ""

    def __post_init__(self) -> None:
        _require("torch" in self.packages, "packages must have torch")

    def __str__(self) -> str:
        """Hardware and PyTorch, in a few words."""
        cpu = "" if self.cuda else f"{self.processor}, "
        return f"{cpu}{self.device}, torch {self.packages['torch']}"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A run, or the part of an interrupted one between two starts."""

    commit: str | None  # of the code; None outside a checkout
    processes: int
    environment: Environment
    from_step: int | None = None
    images_at_once: int | None = None  # in the memory of one process

    def __post_init__(self) -> None:
        _require(self.processes > 0, "processes must be above 0")
        _require(self.commit != "", "commit must not be empty")
        _require((self.from_step or 0) >= 0, "from_step must be at least 0")
        _require(
            self.images_at_once is None or self.images_at_once > 0, "images_at_once must be above 0"
        )


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Pixels `[classes, classes]` by truth (row) and prediction (column), after an iteration.

    And what `psa_seg.evaluation.further` counts, where a run was asked for it.
    """

    iteration: int
    confusion: tuple[tuple[int, ...], ...]
    boundary: tuple[tuple[int, ...], ...] = ()
    f1: tuple[tuple[int, ...], ...] = ()
    calibration: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        size = len(self.confusion)
        square = all(len(row) == size for row in self.confusion)
        _require(self.iteration > 0, "iteration must be above 0")
        _require(square, "confusion must be square")
        counts = list(itertools.chain(*self.confusion))
        _require(all(count >= 0 for count in counts), "confusion must count pixels")
        _require(sum(counts) < 2**63, "confusion counts more pixels than there can be")
        _require(any(counts), "confusion counts no pixel, which is no score")
        further = dict(boundary=self.boundary, f1=self.f1, calibration=self.calibration)
        wrong = contradiction(self.confusion, further)
        _require(not wrong, wrong)

    def scores(self) -> dict[str, Any]:
        """As of `psa_seg.records.scores`."""
        return {
            **scores(self.confusion),
            **(boundary_scores(self.boundary) if self.boundary else {}),
            **(f1_scores(self.f1) if self.f1 else {}),
            **(calibration_scores(self.calibration) if self.calibration else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The most that was held at any time of the training."""

    MiB: int
    of: str  # whose: a GPU's, of one process, or else the process's own

    def __post_init__(self) -> None:
        _require(self.MiB >= 0, "MiB must be at least 0")


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What one image costs from pixels to logits; the plain twin was timed in turns with it."""

    size: tuple[int, ...]  # rows, columns
    GFLOPs: float | None  # two for each multiply-add; None where they cannot be counted
    milliseconds: float
    plain_milliseconds: float

    def __post_init__(self) -> None:
        _require(_is_size(self.size), "size must be rows and columns")
        _require((self.GFLOPs or 0) >= 0, "GFLOPs must be at least 0")
        for name in ("milliseconds", "plain_milliseconds"):
            _require(getattr(self, name) > 0, f"{name} must be above 0")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was settled before the first run of an experiment, so that nobody looks and stops."""

    seeds: tuple[int, ...]  # that every arm is trained with
    comparisons: tuple[str, ...] = ()  # labels of the arms whose tests are corrected together

    def __post_init__(self) -> None:
        _require(len({*self.seeds}) == len(self.seeds) > 0, "plan.seeds must differ")
        arms = self.comparisons
        _require(len({*arms}) == len(arms), "plan.comparisons must differ")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run. Figures are in percent, and derive from the counts."""

    label: str  # what a table calls the model
    config: str  # name of the config file
    config_hash: str  # the fingerprint of all that figures depend on, but for seed and machine
    setting: str  # that of the plain twin: runs that share it differ in the attention alone
    exploratory: bool  # of a search, and no comparison that was settled beforehand
    decoder: str
    backbone: str
    attentions: dict[str, dict[str, Any]]  # configs by placement
    data: str
    data_hash: str  # of names and sizes of all images and masks
    seed: int
    max_iterations: int
    crop: tuple[int, ...]  # rows, columns of what the network saw; empty where they vary
    batch_size: int  # images a step, on all processes together
    precision: str
    optimizer: dict[str, Any]
    train_images: int
    val_images: int
    classes: tuple[str, ...]
    parameters: int
    wall_time_s: float
    training_memory: Memory
    attempts: tuple[Attempt, ...]
    validations: tuple[Validation, ...] = ()
    inference: Inference | None = None  # measured last
    data_file: dict[str, Any] = field(default_factory=dict)  # of data of one's own: its content
    start: dict[str, str] = field(default_factory=dict)  # digests of files of weights, by key
    score: str = "mIoU"  # by which models are compared: see `records.scores.needed`
    plan: Plan | None = None
    left_out: int = 0  # steps that were not made, for their loss or gradients were not finite
    version: int = VERSION

    def __post_init__(self) -> None:
        for name in ("label", "config_hash", "setting", "data", "data_hash"):
            _require(getattr(self, name) != "", f"{name} must not be empty")
        for name in ("max_iterations", "batch_size", "train_images", "val_images", "parameters"):
            _require(getattr(self, name) > 0, f"{name} must be above 0")
        for name in ("seed", "wall_time_s", "left_out"):
            _require(getattr(self, name) >= 0, f"{name} must be at least 0")
        _require(not self.crop or _is_size(self.crop), "crop must be rows and columns")
        _require(len(self.attempts) > 0, "attempts must not be empty")
        planned = self.plan is None or self.seed in self.plan.seeds
        _require(planned, f"plan.seeds do not have seed {self.seed}")
        _require("type" in self.optimizer, "optimizer has no type")
        for placement, attention in self.attentions.items():
            kind = attention.get("type")
            _require(isinstance(kind, str) and kind != "", f"attentions.{placement} has no type")
            _require(placement != "", "attentions has a placement without a name")
        self._check_validations()

    def _check_validations(self) -> None:
        iterations = [validation.iteration for validation in self.validations]
        ascending = all(a < b for a, b in itertools.pairwise(iterations))
        _require(ascending, "validations must be in the order of their iterations")
        _require(
            not iterations or iterations[-1] <= self.max_iterations,
            "validations go beyond max_iterations",
        )
        _require(len(self.classes) > 0, "classes must not be empty")
        _require(len({*self.classes}) == len(self.classes), "two classes have one name")
        further = needed(self.score, self.classes)
        for number, validation in enumerate(self.validations):
            _require(
                len(validation.confusion) == len(self.classes),
                f"validations.{number}.confusion is not of {len(self.classes)} classes",
            )
            counted = not further or getattr(validation, further)
            _require(bool(counted), f"validations.{number} has no {further}, which score is of")

    @property
    def is_complete(self) -> bool:
        """Whether the run has come to its end: validated there, and its inference measured."""
        ended = bool(self.validations) and self.validations[-1].iteration == self.max_iterations
        return ended and self.inference is not None

    @property
    def last(self) -> Validation:
        """The last validation; figures are those of the end, never the best on the way."""
        return self.validations[-1]

    def figure(self, name: str = "", validation: Validation | None = None) -> float:
        """A score in percent, of the last validation or another.

        Args:
            name: as of `records.scores.needed`, or `ECE`; by default, the record's own score.
            validation: one of the record's.
        """
        found, name = (validation or self.last).scores(), name or self.score
        if name in found and np.ndim(found[name]) == 0:
            return float(found[name])
        label, _, kind = name.rpartition(" ")
        return float(found[kind][self.classes.index(label)])

    def until(self, iteration: int) -> tuple[Validation, ...]:
        """The validations up to an iteration, and with it."""
        return tuple(v for v in self.validations if v.iteration <= iteration)


def rounded(validations: Sequence[Validation], classes: Sequence[str]) -> dict[str, Any]:
    """The last figures, for people who read the file: they follow from its counts."""
    if not validations:
        return {}
    final = validations[-1].scores()
    found: dict[str, Any] = {"iterations": validations[-1].iteration}
    for name in ("mIoU", "mAcc", "aAcc", "mBIoU", "mF1", "ECE"):
        if name in final:
            found[name] = _rounded(float(final[name]))
    for name in ("IoU", "F1"):
        if name in final:
            values = zip(classes, final[name].tolist(), strict=True)
            found[name] = {label: _rounded(value) for label, value in values}
    return found


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _is_size(size: Sequence[int]) -> bool:
    return len(size) == 2 and min(size) > 0


def _require(right: bool, message: str) -> None:
    if not right:
        raise ValueError(message)
