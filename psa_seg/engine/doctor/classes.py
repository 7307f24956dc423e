"""A model has as many classes as its data, throughout, and ignores what they ignore."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from psa_seg import shipped
from psa_seg.datasets.labels import IGNORED
from psa_seg.engine.doctor.data import WHOLE, leaves, within
from psa_seg.engine.doctor.masks import ignored_id
from psa_seg.registry import name_of

BOUNDARIES = {"STDCHead"}  # which tells borders from the rest, whatever the classes are
FILLING = {  # steps that fill masks: the option, and what it is by default
    "RandomRotate": ("seg_pad_val", IGNORED),
    "RandomMosaic": ("seg_pad_val", IGNORED),
    "RandomCutOut": ("seg_fill_in", None),
}
REMEDY = "  do         --data FOLDER_OR_YAML sets all of these at once; or --cfg-options"


def check_classes(config: Config, *loaders: str) -> list[str]:
    """What is wrong with names of classes, and with what a model has for each of them."""
    found = _found(config, *loaders)
    untold = [one for one in found.values() if isinstance(one, str)]
    if untold:
        return untold[:1]
    names = {key: one for key, one in found.items() if isinstance(one, tuple)}
    if not names:
        return []
    (first, classes), *others = names.items()
    for key, other in others:
        if other != classes:
            return [
                f"{config.filename}: data sets have different classes\n"
                f"  where      {first}: {_few(classes)}\n             {key}: {_few(other)}\n"
                "  do         give both the same classes, in the same order"
            ]
    return [
        *_wrong_heads(config, len(classes)),
        *_wrong_ignored(config),
        *_wrong_fills(config, len(classes)),
    ]


def class_names(config: Config, *loaders: str) -> dict[str, tuple[str, ...]]:
    """Names of the classes of each data set, by its key, as far as it tells them."""
    found = _found(config, *loaders)
    return {key: names for key, names in found.items() if isinstance(names, tuple)}


def _found(config: Config, *loaders: str) -> dict[str, tuple[str, ...] | str]:
    """Of each data set the names of its classes, or what is wrong with them."""
    return {
        key: _names(config, key, dataset)
        for loader in filter(config.get, loaders)
        for key, dataset in leaves(config[loader].dataset, f"{loader}.dataset")
    }


def heads(model: Any) -> Iterator[tuple[str, Any]]:
    """Every part of a model's heads that is told the number of the data's classes, and its key."""
    for part in ("decode_head", "auxiliary_head"):
        yield from _telling(model.get(part), f"model.{part}")


def _telling(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, list | tuple):
        for number, one in enumerate(node):
            yield from _telling(one, f"{where}.{number}")
    elif isinstance(node, dict) and name_of(node.get("type")) not in BOUNDARIES:
        if "num_classes" in node:
            yield where, node
        for key, part in node.items():
            if not str(key).startswith("loss"):
                yield from _telling(part, f"{where}.{key}")


def _names(config: Config, key: str, dataset: Any) -> tuple[str, ...] | str:
    """Names of a set's classes, or what is wrong with them."""
    meta = dataset.get("metainfo") or {}
    kind = DATASETS.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    given, palette = meta.get("classes"), meta.get("palette")
    known = getattr(kind, "METAINFO", {}).get("classes")
    own = isinstance(given, list | tuple) and not known  # or a subset, whose palette is chosen
    if own and given is not None and palette is not None and len(palette) != len(given):
        return (
            f"{config.filename}: {len(palette)} colours for {len(given)} classes\n"
            f"  where      {key}.metainfo.palette\n"
            "  do         give one of each class, or leave the palette out"
        )
    try:
        built = DATASETS.build({**dataset, **WHOLE, "lazy_init": True, "test_mode": False})
        classes = built.metainfo.get("classes")
    except (AssertionError, OSError):  # its files are not there, which is told in its turn
        classes = given or known
    if not classes:
        return (
            f"{config.filename}: {key} does not tell its classes\n"
            "  do         give --data FOLDER_OR_YAML, or to each data set\n"
            "             metainfo=dict(classes=('background', 'crack'))"
        )
    return tuple(map(str, classes))


def _wrong_heads(config: Config, classes: int) -> list[str]:
    """Heads with another number of classes, or with options that do not go with it."""
    numbers = {key: head.get("num_classes") for key, head in heads(config.model)}
    wrong = {key: number for key, number in numbers.items() if number != classes}
    if wrong:
        options = " ".join(f"{key}.num_classes={classes}" for key in wrong)
        return [
            f"{config.filename}: the data have {classes} classes, and heads of the model have not\n"
            + "\n".join(f"  where      {key}.num_classes={n}" for key, n in wrong.items())
            + f"\n{REMEDY} {options}"
        ]
    return [found for key, head in heads(config.model) for found in _wrong_head(config, key, head)]


def _wrong_head(config: Config, key: str, head: Any) -> Iterator[str]:
    one, classes = head.get("out_channels") == 1, head["num_classes"]
    if head.get("out_channels") not in (None, classes) and not (one and classes == 2):
        yield (
            f"{config.filename}: {key}.out_channels={head.out_channels} for {classes} classes\n"
            "  do         leave it out; 1 is for two classes"
        )
    losses = head.get("loss_decode") or {}
    several = isinstance(losses, list | tuple)
    for number, loss in enumerate(losses if several else [losses]):
        where = f"{key}.loss_decode.{number}" if several else f"{key}.loss_decode"
        if one and name_of(loss.get("type")) == "CrossEntropyLoss" and not loss.get("use_sigmoid"):
            yield (
                f"{config.filename}: {key} has one output channel, and a softmax takes two\n"
                f"  do         --cfg-options {where}.use_sigmoid=True"
            )
        weights, wanted = loss.get("class_weight"), 1 if one else classes
        if not isinstance(weights, list | tuple):
            continue
        if len(weights) != wanted:
            yield (
                f"{config.filename}: {len(weights)} weights for {wanted} "
                f"{'output channel' if one else 'classes'}\n"
                f"  where      {where}.class_weight\n"
                "  do         give one for each, in the order of the data set's; "
                f"{shipped.words('doctor')}\n             --suggest-weights makes some, "
                f"{where}.class_weight=None has none"
            )
        elif any(isinstance(w, bool) or not isinstance(w, int | float) or w < 0 for w in weights):
            yield (
                f"{config.filename}: weights must be numbers from 0 on, not {list(weights)}\n"
                f"  where      {where}.class_weight\n  do         correct them"
            )


def _wrong_ignored(config: Config) -> list[str]:
    """Places that do not ignore what the decode head ignores."""
    there = dict(_ignored(config))
    ignored = ignored_id(config.model)
    others = {key: value for key, value in there.items() if value != ignored}
    if not others:
        return []
    return [
        f"{config.filename}: what is ignored differs from place to place\n"
        f"  where      model.decode_head.ignore_index={ignored}\n"
        + "\n".join(f"             {key}={value}" for key, value in others.items())
        + "\n  do         give all of them the same number; 255 is the default of each"
    ]


def _ignored(config: Config) -> Iterator[tuple[str, Any]]:
    for key, head in heads(config.model):
        yield f"{key}.ignore_index", head.get("ignore_index", IGNORED)
    for name in ("val_evaluator", "test_evaluator"):
        scorers = config.get(name) or []
        for number, scorer in enumerate(scorers if isinstance(scorers, list) else [scorers]):
            where = f"{name}.{number}" if isinstance(scorers, list) else name
            if name_of(scorer.get("type")) in ("ConfusionMetric", "IoUMetric"):
                yield f"{where}.ignore_index", scorer.get("ignore_index", IGNORED)
    preprocessor = config.model.get("data_preprocessor") or {}
    if preprocessor.get("size") or preprocessor.get("size_divisor"):
        value = preprocessor.get("seg_pad_val", IGNORED)
        yield "model.data_preprocessor.seg_pad_val", value
    for key, step in _training_steps(config, "Pad"):
        fill = step.get("pad_val")
        yield f"{key}.pad_val.seg", (fill if isinstance(fill, dict) else {}).get("seg", IGNORED)


def _wrong_fills(config: Config, classes: int) -> list[str]:
    """Steps that write into masks what is neither a class nor ignored."""
    ignored = ignored_id(config.model)
    return [
        f"{config.filename}: a step fills masks with {fill}, which is no class\n"
        f"  where      {key}.{option}\n"
        f"  do         make it {ignored}, which is ignored"
        for kind, (option, usual) in FILLING.items()
        for key, step in _training_steps(config, kind)
        if step.get("prob") != 0
        if (fill := step.get(option, usual)) not in (None, ignored, *range(classes))
    ]


def _training_steps(config: Config, kind: str) -> Iterator[tuple[str, Any]]:
    """Steps of one type in the pipelines of training, those of wrappers included."""
    yield from _steps(config.train_dataloader.dataset, "train_dataloader.dataset", kind)


def _steps(dataset: Any, where: str, kind: str) -> Iterator[tuple[str, Any]]:
    for number, step in enumerate(dataset.get("pipeline") or []):
        if isinstance(step, dict) and name_of(step.get("type")) == kind:
            yield f"{where}.pipeline.{number}", step
    for key, inner in within(dataset, where).items():
        yield from _steps(inner, key, kind)


def _few(names: tuple[str, ...]) -> str:
    return f"{len(names)}: {', '.join(names[:4])}{', ...' * (len(names) > 4)}"
