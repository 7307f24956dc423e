"""A checkpoint as a folder for others: weights, plain config, and a card that tells of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import ConfigDict
from scipy import stats

from psa_seg.checkpoints import shared
from psa_seg.checkpoints.reading import config_of, state_dict
from psa_seg.engine import work_dir
from psa_seg.engine.doctor.data import leaves
from psa_seg.errors import UserError
from psa_seg.files import missing, must_be_free
from psa_seg.inference import stored, untrusted
from psa_seg.records import Record
from psa_seg.records import read as read_record
from psa_seg.records.files import NAME, find
from psa_seg.records.schema import STREETS

CARD = "README.md"
# Of a config, what a model needs to label pictures, and what tells how it was trained.
KEPT = (
    *("model", "test_pipeline", "tta_pipeline", "tta_model", "channels_last", "data_name", "label"),
    *("default_scope", "custom_imports", "randomness", "optim_wrapper", "train_cfg"),
)
PLACES = ("data_root", *untrusted.STARTS, *untrusted.LOADERS)  # of this disk
DRAWN = "drawn by psa_seg, Apache-2.0"
NOT_STATED = "not stated: ask whoever trained it before you use it"


@dataclass(frozen=True)
class Card:
    """What a model's card says beside what its checkpoint tells.

    Attributes:
        record: of this run, to this very step; None where there is none.
        records: that one, and those of other seeds of it; the score is their mean.
        licence: of the data.
        name: of the model, for the line that loads it.
    """

    record: Record | None
    records: tuple[Record, ...]
    licence: str
    name: str


def share(path: str, out: Path, licence: str = "", records: Path | None = None) -> bool:
    """Write the folder.

    Args:
        path: of a checkpoint that tells its config; a record beside it is read.
        out: new, or empty.
        licence: of the data that it was trained on.
        records: folder with records of other seeds of the same run.

    Returns:
        Whether the card has a score: a record of this very step lies beside the checkpoint.

    Raises:
        UserError: where the checkpoint cannot be loaded, or something lies in the folder.
    """
    must_be_free(out, "folder")
    if records and not records.is_dir():
        raise missing("folder of records", records)
    held = stored.read(path)  # with it, all is there that loading wants
    config, meta = config_of(held.checkpoint) or {}, held.checkpoint["meta"]
    kept = portable(config)
    told = {key: meta[key] for key in ("iter", "seed") if isinstance(meta.get(key), int)}
    told["dataset_meta"] = dict(
        classes=list(held.names), palette=[list(colour) for colour in held.palette]
    )
    own = Path(held.path).with_name(NAME)
    record = read_record(own) if own.is_file() else None
    if record and not _is_of(record, meta):
        record = None
    runs = _same_runs(record, records)
    work_dir.make(out)
    shared.write(out, state_dict(held.checkpoint), {"cfg": kept, **told})
    licence = licence or (DRAWN if config.get("data_name") == STREETS else NOT_STATED)
    text = card(kept, held, Card(record, runs, licence, out.resolve().name))
    (out / CARD).write_text(text, encoding="utf-8")
    return record is not None


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config goes with the weights: nothing of this disk, nothing of this user."""
    found = {key: _without_places(config[key]) for key in KEPT if key in config}
    loader = config.get("test_dataloader") or {}
    _, dataset = next(leaves(ConfigDict(loader.get("dataset") or {})))
    kept = {key: dataset[key] for key in ("type", "pipeline") if key in dataset}
    if isinstance(dataset.get("content"), Mapping) and config.get("data_file"):
        content = {key: value for key, value in config["data_file"].items() if key != "name"}
        kept["content"] = content  # without absolute places
    return {**found, "test_dataloader": {"dataset": _without_places(kept)}}


def _without_places(node: Any) -> Any:
    if isinstance(node, Mapping):
        kept = {key: value for key, value in node.items() if key not in PLACES}
        if isinstance(kept.get("class_weight"), str):  # a file
            del kept["class_weight"]
        return {key: _without_places(value) for key, value in kept.items()}
    if isinstance(node, list | tuple):
        return type(node)(_without_places(value) for value in node)
    return node


def _is_of(record: Record, meta: Mapping[str, Any]) -> bool:
    """Whether a record ends with the step, and the seed, that a checkpoint is of."""
    last = record.validations[-1].iteration if record.validations else None
    return (last, record.seed) == (meta.get("iter"), meta.get("seed"))


def _same_runs(own: Record | None, folder: Path | None) -> tuple[Record, ...]:
    """The run's own record, and those of its other seeds, complete, each seed once."""
    if folder and not own:
        raise UserError(f"no {NAME} beside the checkpoint\n  do         leave out --records")
    if not own:
        return ()
    others = find(folder).records.values() if folder else ()
    same = [one for one in others if _run_of(one) == _run_of(own) and one.is_complete]
    by_seed = {one.seed: one for one in [*same, own]}
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def _run_of(record: Record) -> tuple[str, str]:
    """What runs that differ in their seed alone have in common."""
    return record.config_hash, record.data_hash


def card(config: Mapping[str, Any], held: stored.Stored, told: Card) -> str:
    """A model's card, Markdown with the head that the Hugging Face Hub reads."""
    lines = [
        "---",
        "library_name: psa_seg",
        "pipeline_tag: image-segmentation",
        "tags: [semantic-segmentation, polarized-self-attention, mmsegmentation]",
        "---",
        "",
        f"# {told.name}",
        "",
        "```python",
        "import psa_seg",
        "",
        f'result = psa_seg.load("{told.name}")("picture.jpg")',
        "result.labels, result.names, result.overlay()",
        "```",
        "",
        f"- Classes: {', '.join(held.names)}.",
        f"- Licence of the data: {told.licence}.",
    ]
    if not told.record:
        data = config.get("data_name") or "not told"
        return "\n".join([*lines, f"- Data: {data}. No record of its training is here.", ""])
    first = told.record
    channels = config["model"]["backbone"].get("base_channels", 64)
    narrow = f" ({channels} channels where ResNets have 64)" if channels != 64 else ""
    label = f"{first.decoder} {first.backbone}{narrow}, {first.label}"
    lines += [
        f"- Network: {label}; {first.parameters:,} parameters.",
        f"- Data: {first.data}, {first.train_images} training and {first.val_images} validation "
        "images.",
        f"- Schedule: {first.last.iteration} of {first.max_iterations} steps of "
        f"{first.batch_size} images{_crop(first)}, {first.optimizer['type']}, {first.precision}.",
        f"- Score: {_score(told.records, first.seed)} on validation images, which are no test set.",
        f"- Run: {first.config_hash} (fingerprint), data {first.data_hash}.",
    ]
    return "\n".join([*lines, "", *_per_class(first), ""])


def _crop(record: Record) -> str:
    return f" {'x'.join(map(str, record.crop))}" if record.crop else ""


def _score(records: tuple[Record, ...], own: int) -> str:
    """The score by which models are compared, over seeds, with its 95 % interval."""
    name, values = records[0].score, np.array([record.figure() for record in records])
    seeds = ", ".join(str(record.seed) for record in records)
    if len(values) == 1:
        return f"{name} {values[0]:.2f} (one seed, {seeds}, and so no interval)"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    mean = values.mean()
    return (
        f"{name} {mean:.2f} [{mean - half:.2f}, {mean + half:.2f}], mean of {len(values)} seeds "
        f"({seeds}) with its 95 % interval (t); these weights are of seed {own}"
    )


def _per_class(record: Record) -> list[str]:
    figures = record.last.scores()["IoU"]
    rows = [
        f"| {name} | {'absent' if np.isnan(value) else f'{value:.2f}'} |"
        for name, value in zip(record.classes, figures.tolist(), strict=True)
    ]
    return [f"| class | IoU, seed {record.seed} |", "|---|--:|", *rows]
