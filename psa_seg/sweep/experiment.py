"""An experiment's YAML file, and the runs that it stands for.

    config: baseline_deeplabv3plus_camvid  # that comes along; or a path from this file's folder
    records: ../results/camvid             # where finished runs leave theirs
    seeds: [0, 1, 2]
    attentions:                # what a table calls it: its config; nothing for the plain network
      none:
      PSA parallel: {type: PolarizedSelfAttention}
    placements:                # which option of the config is the attention
      head: {model.decode_head.attention: ATTENTION}

Besides:

    options:                                 # overrides of every run
      train_cfg.max_iters: 300
      val_evaluator.also: [f1]               # boundary, f1, calibration: scored besides
    settings: {lr 0.1: {...}, lr 0.2: {...}} # more overrides by name, of the plain network, too
    variants: {gates x10: {...}}             # more, by name, of those that attend
    amp: bfloat16                            # or float16
    data: FOLDER_OR_YAML                     # of one's own, from this file's folder
    demo: true                               # a narrow network: on synthetic streets, or on data
    exploratory: true                        # a search: a table of its own
    score: crack IoU                         # by which models are compared; by default, mIoU; a
                                             # class's IoU, Acc, F1, BIoU or the mean of them all
    leave_out: ["SE, head"]                  # labels of runs that are not to be
    comparisons: [PSA parallel]              # whose tests are corrected together; by default, all

Seeds and comparisons are the plan of the experiment, which its records keep: until every seed of a
model has its run, a table tests nothing of it.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from psa_seg import shipped
from psa_seg.datasets import strict_yaml
from psa_seg.errors import UserError
from psa_seg.files import missing

ATTENTION = "ATTENTION"  # stands for the attention's config in a placement
NEEDED = {"config": str, "records": str, "seeds": list, "attentions": dict, "placements": dict}
WORDS = {
    str: "a text that is not empty",
    list: "a list that is not empty, such as [0, 1]",
    dict: "a mapping that is not empty",
    bool: "true or false",
}
OPTIONAL: dict[str, tuple[type, Any]] = {
    "options": (dict, {}),
    "settings": (dict, {"": {}}),
    "variants": (dict, {"": {}}),
    "amp": (str, ""),
    "score": (str, "mIoU"),
    "comparisons": (list, []),
    "leave_out": (list, []),
    "demo": (bool, False),
    "data": (str, ""),
    "exploratory": (bool, False),
}


class Run(NamedTuple):
    """One training."""

    name: str  # of its record and its work directory
    label: str  # what a table calls all of its seeds
    seed: int
    options: dict[str, Any]  # overrides of the config
    attends: bool  # whether it has an attention


class Experiment(NamedTuple):
    """All that a file says."""

    path: Path
    config: Path
    records: Path
    work_dirs: Path
    amp: str  # dtype of mixed precision; empty for float32
    demo: bool
    score: str
    comparisons: list[str]
    seeds: list[int]
    data: Path | None  # of one's own
    exploratory: bool
    runs: list[Run]  # the first seed of all comes before the second of any

    def record_of(self, run: Run) -> Path:
        """Where the record of a finished run lies."""
        return self.records / f"{run.name}.json"

    def work_dir_of(self, run: Run) -> Path:
        """Where a run works."""
        return self.work_dirs / self.path.stem / run.name

    def command(self) -> list[str]:
        """The command line that this process was given, without what is to be done."""
        return [*shipped.command(), str(self.path), "--work-dirs", str(self.work_dirs)]

    def find(self, name: str) -> Run:
        """The run of this name, or number.

        Raises:
            UserError: where there is none.
        """
        for number, run in enumerate(self.runs):
            if name in (run.name, str(number)):
                return run
        raise UserError(f"{self.path} has no run {name}\n  do         see them with --list")

    def missing(self) -> list[Run]:
        """The runs that have no record yet."""
        return [run for run in self.runs if not self.record_of(run).is_file()]


def read_experiment(path: str, work_dirs: str = "work_dirs") -> Experiment:
    """The experiment in the file at `path`, whose runs work below `work_dirs`.

    Raises:
        UserError: where it cannot be read, or an entry is missing, unknown or of the wrong kind.
    """
    file = Path(path)
    try:
        read = strict_yaml.load(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise missing(
            "experiment", path, "python -m pydoc psa_seg.sweep.experiment shows one"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"experiment cannot be read: {path}\n  {error}\n"
            "  do         python -m pydoc psa_seg.sweep.experiment shows one that is right"
        ) from error
    wanted = NEEDED | {key: kind for key, (kind, _) in OPTIONAL.items()}
    if not isinstance(read, dict):
        raise _wrong(path, "an experiment must map keys to values")
    unknown = sorted(set(map(str, read)) - set(wanted))
    if unknown:
        raise _wrong(path, f"{unknown[0]} is not one of {', '.join(wanted)}")
    full = {key: default for key, (_, default) in OPTIONAL.items()} | read
    for key, kind in wanted.items():
        if not isinstance(full.get(key), kind) or read.get(key) in ([], {}, ""):
            raise _wrong(path, f"{key} must be {WORDS[kind]}")
    if any(type(seed) is not int or seed < 0 for seed in full["seeds"]):
        raise _wrong(path, f"seeds must be whole numbers from 0 on, not {full['seeds']}")
    if full["amp"] not in ("", "bfloat16", "float16"):
        raise _wrong(path, f"amp must be bfloat16 or float16, not {full['amp']}")
    overrides = [*full["settings"].items(), *full["variants"].items()]
    for name, given in [("options", full["options"]), *overrides]:
        options = {} if given is None else given
        if not isinstance(options, dict) or any(type(key) is not str for key in options):
            raise _wrong(path, f"{name!r} must map options of the config to values")
    runs = list(_expand(path, full))
    _require_labels(path, "leave_out", full, [run.label for run in runs])
    runs = [run for run in runs if run.label not in full["leave_out"]]
    if not runs:
        raise _wrong(path, "leave_out leaves no run")
    arms = list(dict.fromkeys(run.label for run in runs if run.attends))
    _require_labels(path, "comparisons", full, arms)
    doubles = [name for name, count in Counter(run.name for run in runs).items() if count > 1]
    if doubles:
        raise _wrong(path, f"two runs would be called {doubles[0]}: repeat no seed, and no name")
    _require_differing(path, [run for run in runs if run.seed == runs[0].seed])
    return Experiment(
        path=file,
        config=_config(path, full["config"]),
        records=file.parent / full["records"],
        work_dirs=Path(work_dirs),
        amp=full["amp"],
        demo=full["demo"],
        score=full["score"],
        comparisons=full["comparisons"] or arms,
        seeds=full["seeds"],
        data=file.parent / full["data"] if full["data"] else None,
        exploratory=full["exploratory"],
        runs=runs,
    )


def _config(path: str, given: str) -> Path:
    """The file of the config that an experiment names."""
    try:
        return shipped.config(given, Path(path).parent)
    except UserError as error:
        raise UserError(f"{error}\n  where      config in {path}") from error


def _require_labels(path: str, key: str, read: dict[str, Any], labels: Sequence[str]) -> None:
    """Each a label, and none twice."""
    for label in read[key]:
        if label not in labels or read[key].count(label) > 1:
            known = ", ".join(map(repr, dict.fromkeys(labels))) or "no label"
            raise _wrong(path, f"{key} can have {known}, each once, and has {label!r}")


def _require_differing(path: str, runs: Sequence[Run]) -> None:
    """No two of one seed that would train the same, in two rows."""
    for one, other in itertools.combinations(runs, 2):
        if one.options == other.options:
            raise _wrong(path, f"{one.label!r} and {other.label!r} would train the same: leave one")


def _expand(path: str, read: dict[str, Any]) -> Iterator[Run]:
    """Seed by seed, so that what is done at any time is as fair as can be."""
    names = ("settings", "variants", "placements", "attentions")
    axes = [read["seeds"], *(read[key].items() for key in names)]
    plain: set[tuple[int, str, str]] = set()
    for seed, setting, variant, (placement, template), (attention, config) in itertools.product(
        *axes
    ):
        if config is None:  # without attention there is nothing to place, and nothing to vary
            if (seed, setting[0], attention) in plain:
                continue
            plain.add((seed, setting[0], attention))
            parts, options = [attention, setting[0]], {}
        else:
            where = placement if len(read["placements"]) > 1 else ""
            parts = [attention, where, variant[0], setting[0]]
            options = {**_place(path, template, config), **(variant[1] or {})}
        label = ", ".join(filter(None, map(str, parts)))
        yield Run(
            name=re.sub(r"[^a-z0-9]+", "_", f"{label} seed{seed}".lower()).strip("_"),
            label=label,
            seed=seed,
            options={**read["options"], **(setting[1] or {}), **options},
            attends=config is not None,
        )


def _place(path: str, template: Any, attention: Any) -> dict[str, Any]:
    """The options of a placement, with the attention put in."""
    text = json.dumps(template, default=str)
    if not isinstance(template, dict) or f'"{ATTENTION}"' not in text:
        raise _wrong(path, f"a placement must map options to values, one of them {ATTENTION}")
    if not isinstance(attention, dict) or "type" not in attention:
        raise _wrong(
            path, f"an attention must have a type, or nothing after its colon; this is {attention}"
        )
    return json.loads(text.replace(f'"{ATTENTION}"', json.dumps(attention, default=str)))


def _wrong(path: str, what: str) -> UserError:
    return UserError(
        f"{what}\n  where      {path}\n"
        "  do         python -m pydoc psa_seg.sweep.experiment shows one that is right"
    )
