"""From one file to another: renamed, compared with what it has to be, and only then written."""

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from psa_seg import files
from psa_seg.checkpoints import names, plain, target
from psa_seg.checkpoints.reading import differences, listing, load_checkpoint, weights_in
from psa_seg.checkpoints.target import State
from psa_seg.errors import UserError

COUNTERS = "num_batches_tracked"  # older files lack these, and PyTorch does without
WRAPPED = "module."  # what DistributedDataParallel puts before all names
SHORT = 8  # modules that are listed, renamed, though few lines are wanted
LISTED = 50  # keys of each way not to fit
DATA = ("dataset_meta", "CLASSES", "PALETTE")  # what mmseg asks of a checkpoint
CONFIG = "cfg"  # by which it is held against the model that takes it


@dataclass
class Order:
    """What is to be converted, and how.

    Args:
        kind: of the foreign checkpoint, one of `names.KINDS`.
        source: the file, which is only read.
        out: the file to write, which must not exist.
        back: from ours to theirs.
        config: path of the config whose model the result has to fit; for a `source` of ours, the
            config it is of.
        layout: of the port's modules, whose files do not say.
        rename: pairs of an old and a new beginning of keys of `source`, one after the other,
            before anything else.
        drop: beginnings of keys, after renaming, that are left out.
        is_brief: count what is renamed where the list would be long.
    """

    kind: str
    source: Path
    out: Path
    back: bool = False
    config: str | None = None
    layout: str | None = None
    rename: Sequence[tuple[str, str]] = ()
    drop: Sequence[str] = ()
    is_brief: bool = False


Build = Callable[[str], nn.Module]


def convert(order: Order, build: Build, dry_run: bool = False) -> list[str]:
    """Convert a checkpoint; towards us it becomes `{'state_dict', 'meta'}`, else a state dict.

    Args:
        order: what, and how.
        build: the model of a config, by its path, on the CPU, with weights that are anything.
        dry_run: write nothing.

    Returns:
        What was done, in lines for the user.

    Raises:
        UserError: where the options or files do not allow it, or the result is not, to the last
            tensor, what it has to be; nothing is written then.
    """
    _require_sense(order)
    checkpoint = load_checkpoint(str(order.source))
    state = weights_in(checkpoint, order.source)
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    _require_layout(meta, order)
    moves = _renamed(state, order)
    if not order.back:
        moves = {key: new and names.to_ours(order.kind, new) for key, new in moves.items()}
    model = build(order.config) if order.config else None
    if model:
        current = names.current(filter(None, moves.values()), target.keys(model))
        moves = {key: new and current[new] for key, new in moves.items()}
    ours, fits = _fitted(order, model, _apply(state, moves))
    final = {key: names.to_theirs(order.kind, key) if order.back else key for key in ours}
    result = _apply(ours, final)
    moves = {key: final.get(new or "") for key, new in moves.items()}
    lines = [*_report(moves, result, order.is_brief), fits]
    if all(key.startswith(WRAPPED) for key in result):
        lines.append(f"note     all names begin with {WRAPPED}: --rename {WRAPPED}= strips it")
    if order.kind == "torchvision" and order.back:
        absent = ", ".join(f"{name}*" for name in names.CLASSIFIERS)
        lines.append(f"absent   {absent}: a backbone has none; load with strict=False")
    if dry_run:
        return [*lines, "dry run: nothing is written"]
    # A copy: of a part of a larger tensor, the whole of it would be written.
    result = {key: tensor.clone() for key, tensor in result.items()}
    if order.back and order.kind != "deeplabv3plus":
        _write(result, order.out)
    else:
        of_model = (*DATA, CONFIG) if order.kind == "deeplabv3plus" else DATA
        kept = {key: meta[key] for key in of_model if key in meta and _is_plain(meta[key])}
        how = {"kind": order.kind, "layout": order.layout, "source": order.source.name}
        _write({"state_dict": result, "meta": {**kept, "converted": how}}, order.out)
    return [*lines, f"wrote    {order.out}"]


def _require_sense(order: Order) -> None:
    """Raise UserError for options that do not go together, or files that are not as they must."""
    if order.kind == "port" and not (order.layout or order.back):
        raise UserError(
            "the port's two layouts have the same keys: the file does not say which it is\n"
            "  do         give --layout parallel, or sequential, by the name of the class"
        )
    if order.layout and order.kind != "port":
        raise UserError(f"--layout is of the port: of {order.kind}, leave it out")
    if order.kind == "deeplabv3plus" and not order.config:
        raise UserError(
            "deeplabv3plus needs the model that has the attention\n"
            "  do         give --config psa_identity_deeplabv3plus_cityscapes, say"
        )
    if not order.out.parent.is_dir():
        raise files.missing("folder", order.out.parent, "make it")
    if not order.source.is_file():
        raise files.missing("checkpoint", order.source, "name a local file")
    files.must_be_new(order.out)


def _require_layout(meta: Mapping[str, Any], order: Order) -> None:
    """Raise UserError where a file that this tool wrote says another layout than the order."""
    converted = meta.get("converted")
    known = converted.get("layout") if isinstance(converted, dict) else None
    if known and order.layout and known != order.layout:
        raise UserError(
            f"--layout {order.layout}, but {order.source} was converted as {known}\n"
            "  do         leave --layout as it was"
        )


def _renamed(state: State, order: Order) -> dict[str, str | None]:
    """What each key is called after `rename`, and None after `drop`; all of these have to act."""
    moves: dict[str, str | None] = {key: key for key in state}
    for old, new in [*order.rename, *((start, None) for start in order.drop)]:
        met = {key: name for key, name in moves.items() if name and name.startswith(old)}
        if not met:
            raise UserError(
                f"no key begins with {old!r}: {order.source}\n"
                f"  the first  {', '.join([k for k in moves.values() if k][:3])}\n"
                "  do         correct --rename or --drop"
            )
        moves |= {
            key: None if new is None else new + name.removeprefix(old) for key, name in met.items()
        }
        if "" in moves.values():
            raise UserError(
                f"--rename {old}={new} leaves nothing of a name: {order.source}\n"
                "  do         leave tensors out with --drop"
            )
    return moves


def _apply(state: State, moves: Mapping[str, str | None]) -> dict[str, Tensor]:
    """The tensors by their new names."""
    twice = [name for name, count in Counter(filter(None, moves.values())).items() if count > 1]
    if twice:
        raise UserError(
            f"{len(twice)} names would be given twice, {twice[0]} first\n"
            "  do         correct --rename, or --drop one of the two"
        )
    return {new: state[key] for key, new in moves.items() if new}


def _fitted(
    order: Order, model: nn.Module | None, state: dict[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """`state`, in our names, with attentions put in or taken out, and what it fits.

    Raises:
        UserError: where it is not, to the last tensor, what it has to be.
    """
    added = order.kind == "deeplabv3plus"  # the attention is
    if model and added and not order.back:
        state = plain.insert(state, model)
    part, own = _target(order, state, model)
    if model and not added:
        gammas = target.gammas(own, model)
        if gammas and order.back:
            raise UserError(
                f"{gammas[0]} has no counterpart in {order.kind}: {order.config}\n"
                "  do         keep the weights here: no attention of theirs has residual=True"
            )
        state = state | {key: torch.ones(1) for key in gammas if key not in state}
    wrong = differences(state, own, may_lack=lambda key: COUNTERS in key)
    if wrong:
        remedy = "  do         move modules with --rename OLD=NEW, leave them out with --drop NAME"
        if all(key.startswith(WRAPPED) for key in state):
            remedy = f"  do         all names begin with {WRAPPED}: --rename {WRAPPED}="
        elif order.kind == "torchvision" and "stem.0.weight" in own:
            remedy = (
                "  do         torchvision's is mmseg's ResNet, and the config has its ResNetV1c"
            )
        lines = [
            f"the checkpoint does not fit {part}: {order.source}",
            *listing(wrong, LISTED),
            remedy,
        ]
        raise UserError("\n".join(lines))
    fits = f"fits     {part}: {len(state)} tensors"
    return (plain.remove(state, model) if model and added and order.back else state), fits


def _target(order: Order, state: State, model: nn.Module | None) -> tuple[str, State]:
    if not model:
        if order.kind == "torchvision":
            return target.of_backbone(state)
        return target.of_attentions(order.kind, state, order.layout, order.back)
    target.require_form(order.kind, state, model, order.config)
    part, own = target.of_model(order.kind, state, model)
    for prefix, attention in target.attentions(model).items():
        layout = getattr(attention, "options", {}).get("layout", order.layout)  # others have none
        if order.layout and layout != order.layout:
            raise UserError(
                f"--layout {order.layout}, but {prefix}* has layout {layout!r}: {order.config}\n"
                "  do         give the layout by the name of the class whose weights these are, "
                "and a\n             config that has it"
            )
    return f"{part} of {order.config}", own


def _is_plain(value: Any) -> bool:
    """Text and numbers, in lists or not: an array of a log's has not been read."""
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _report(moves: Mapping[str, str | None], result: State, is_brief: bool) -> list[str]:
    """Lines: what kept its name, by module, and what did not."""
    stems = Counter(_stems(old, name) for old, name in moves.items() if name and name != old)
    renamed = [f"renamed  {old} -> {name} ({count})" for (old, name), count in stems.items()]
    if is_brief and len(renamed) > SHORT:
        counts = f"{stems.total()} keys in {len(stems)} modules (--verbose lists them)"
        renamed = [renamed[0], f"renamed  {counts}"]
    return [
        *_counted("kept", 1, [key for key, name in moves.items() if key == name]),
        *renamed,
        *_counted("dropped", 2, [key for key, name in moves.items() if not name]),
        *_counted("added", 2, [key for key in result if key not in moves.values()]),
    ]


def _counted(what: str, depth: int, keys: Sequence[str]) -> list[str]:
    modules = Counter(".".join(key.split(".")[:-1][:depth]) for key in keys)
    counts = ", ".join(f"{name}.* ({count})" for name, count in modules.items())
    return [f"{what:<8} {counts}"] if counts else []


def _stems(old: str, new: str) -> tuple[str, str]:
    """Two names up to where they end alike."""
    parts, others = old.split("."), new.split(".")
    while parts and others and parts[-1] == others[-1]:
        parts.pop()
        others.pop()
    return ".".join([*parts, "*"]), ".".join([*others, "*"])


def _write(content: Any, out: Path) -> None:
    """A file that appears whole or not at all."""
    data = io.BytesIO()
    torch.save(content, data)
    try:
        files.write(out, data.getvalue(), new=True)
    except OSError as error:
        raise files.disk_error(error) from error
