"""Which run it is: twelve hexadecimal digits of all that its figures depend on.

Not the seed and the machine, and not where files lie: of weights that a run starts from, the
content counts, as `config.start` has it (`digest`), by the key at which the config names the file.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

# What an interrupted run must have in common with the one that goes on.
SAME_RUN = (
    *("data_name", "model", "train_dataloader", "val_dataloader.dataset", "val_cfg"),
    *("val_evaluator", "optim_wrapper", "auto_scale_lr", "param_scheduler", "sync_bn"),
    *("custom_hooks", "default_hooks", "load_from"),
)
SAME_FIGURES = (  # another machine may hold fewer images at once: each attempt says how many
    *SAME_RUN,
    *("train_cfg.max_iters", "train_cfg.micro_batch_size"),
)
# What changes no figure: where files lie, how fast they are read, what is reported of a run.
LOADING = {"num_workers", "persistent_workers", "pin_memory", "prefetch_factor", "timeout"}
WITHOUT = {
    *("data_root", "palette", "serialize_data", "lazy_init", "with_cp", "map_location"),
    "also",  # what else is scored
}
PLACES = {"train", "val", "test"}  # of a data file
PATHS = {"img_path", "seg_map_path", "ann_file", *PLACES}
REPORTERS = {
    *("ReportHook", "PanelHook", "ProfileHook", "CheckpointHook", "LoggerHook", "IterTimerHook"),
    *("DistSamplerSeedHook", "RuntimeInfoHook", "SegVisualizationHook"),
    "ValidationLossHook",
}
# By these a config names files of weights.
FILES = {"checkpoint", "pretrained", "load_from"}
Config = Mapping[str, Any]


def fingerprint(config: Config) -> str:
    """The fingerprint of the run that `config` describes."""
    return _digest(json.dumps(parts(config, SAME_FIGURES), sort_keys=True))


def parts(config: Config, keys: Iterable[str], contents: bool = True) -> dict[str, Any]:
    """What two runs can be compared by, at each of the dotted `keys`.

    Args:
        config: of a run, with the digests of its weights at `start`.
        keys: of `SAME_FIGURES`.
        contents: of weights, their content; without it only that there are some, for records and
            checkpoints that know no more.
    """
    start = config.get("start") or {}

    def weights(where: str, source: str) -> str:
        return start.get(where, Path(source).name) if contents else "weights"

    found = {key: _portable(look_up(config, key), key, weights) for key in keys}
    if config.get("data_file"):  # whatever folder it lies in, which names it
        found.pop("data_name", None)
    for key in ("custom_hooks", "default_hooks"):
        if key in found:
            found[key] = _acting(found[key])
    return found


def sources(config: Config) -> dict[str, str]:
    """Files and addresses of weights that a run starts from, by the key that names each."""
    found: dict[str, str] = {}

    def note(where: str, source: str) -> str:
        found[where] = source
        return source

    for key in ("load_from", "model"):
        _portable(config.get(key), key, note)
    return found


def digest(path: Path) -> str:
    """The content of a file, as `config.start` has it."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def of_data(*datasets: Any) -> str:
    """Twelve hexadecimal digits of names and sizes of all images and masks, in their order.

    Args:
        *datasets: mmengine's, such as those of training and validation.
    """
    return _digest("\n".join(line for dataset in datasets for line in _files(dataset)))


def look_up(config: Config, key: str) -> Any:
    """What stands at a dotted `key`, in lists by number; None where a part of it is not there."""
    value: Any = config
    for part in key.split("."):
        if isinstance(value, list | tuple):
            value = value[int(part)]
        else:
            value = value.get(part) if hasattr(value, "get") else None
    return value


def difference(where: str, there: Any, here: Any) -> str:
    """The first value in which two of `parts` differ; empty if they do not."""
    if isinstance(there, list) and isinstance(here, list):
        if len(there) != len(here):
            return f"{where} has {len(there)} entries there, and {len(here)} here"
        there, here = dict(enumerate(there)), dict(enumerate(here))
    if isinstance(there, dict) and isinstance(here, dict):
        found = (
            difference(f"{where}.{key}", there.get(key), here.get(key))
            for key in dict.fromkeys([*there, *here])
        )
        return next(filter(None, found), "")
    return "" if there == here else f"{where} is {there!r} there, and {here!r} here"


def _portable(value: Any, where: str, weights: Any) -> Any:
    """`value` as plain JSON, the same on every machine and however it is written."""
    if isinstance(value, Mapping):
        return {
            str(key): _portable(part, f"{where}.{key}", weights)
            for key, part in value.items()
            if key not in WITHOUT | LOADING and not (key == "backend_args" and not part)
        }
    if isinstance(value, list | tuple):
        return [_portable(part, f"{where}.{i}", weights) for i, part in enumerate(value)]
    if isinstance(value, str):
        return _text(value, where.rpartition(".")[2], lambda: weights(where, value))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, type):
        return value.__name__
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _text(value: str, key: str, weights: Callable[[], str]) -> str:
    if key in FILES:
        return weights()
    if key == "type":  # without the name of its library
        return value.rpartition(".")[2]
    if key in PATHS and Path(value).is_absolute():  # where files lie: `of_data` knows them by name
        return Path(value).name
    return value


def _acting(hooks: Any) -> Any:
    """Hooks without those that only report, by their names or in their order."""
    if isinstance(hooks, dict):
        taken_away = {name for name, hook in hooks.items() if hook is None} - {"param_scheduler"}
        return {n: hook for n, hook in hooks.items() if _acts(hook) and n not in taken_away}
    return [hook for hook in hooks or [] if _acts(hook)]


def _acts(hook: Any) -> bool:
    return not (isinstance(hook, dict) and hook.get("type") in REPORTERS)


def _files(dataset: Any) -> Iterator[str]:
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        for key in ("img_path", "seg_map_path"):
            path = Path(info[key])
            yield f"{path.parent.name}/{path.name} {path.stat().st_size}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]
