"""Which run it is: its config, its attention, its code and its data, each in a line of a record."""

import copy
import hashlib
import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from psa_seg.engine.config import look_up

# What makes two runs the same experiment; the first of these let one go on with the other.
SAME_RUN = (
    "data_name",
    "model",
    "train_dataloader.batch_size",
    "train_dataloader.dataset",
    "optim_wrapper",
    "param_scheduler",
    "val_dataloader.dataset",
    "val_evaluator",
    "custom_hooks",  # an average of weights, say
)
SAME_FIGURES = (
    *SAME_RUN,
    "train_cfg.max_iters",
    "train_cfg.micro_batch_size",  # another machine may hold fewer images: each sitting says
)
ANYWHERE = {"data_root", "init_cfg"}  # where files lie may change while a run is interrupted


def fingerprint(config: Config) -> str:
    """Twelve hexadecimal digits of all that figures depend on, but for the seed and the machine.

    Of pretrained weights it has that there are some, of a checkpoint to start from its name, and
    not where they lie.
    """
    parts = {key: _portable(look_up(config, key)) for key in SAME_FIGURES}
    parts["load_from"] = start(config)
    return _digest(json.dumps(parts, sort_keys=True))


def start(config: Config) -> str | None:
    """Name of the checkpoint that a run starts from, wherever it has come to since."""
    path = config.get("start_from", config.load_from)
    return Path(path).name if path else None


def setting(config: Config) -> str:
    """The fingerprint of the plain twin: runs that share it differ in the attention alone."""
    plain = copy.deepcopy(config)
    plain.model = without_attention(plain.model)
    by_name = plain.optim_wrapper.get("paramwise_cfg") or {}
    by_name.get("custom_keys", {}).pop("attention", None)  # it would have nothing to act on
    if not any(by_name.values()):
        plain.optim_wrapper.pop("paramwise_cfg", None)
    return fingerprint(plain)


def decode_heads(model: ConfigDict) -> list[ConfigDict]:
    """Configs of a model's decode heads: one, or a cascade whose last one's logits count."""
    return model.decode_head if isinstance(model.decode_head, list) else [model.decode_head]


def attentions(model: ConfigDict) -> dict[str, dict[str, Any]]:
    """Configs of a model's attentions by placement: `backbone`, `neck`, `head`."""
    plugins = model.backbone.get("plugins")
    neck = model.get("neck") or {}
    found = {
        "backbone": model.backbone.get("attention") or (plugins and plugins[0]["cfg"]),
        "neck": neck.get("attention", dict(type="PolarizedSelfAttention"))
        if neck.get("type") == "PolarizedNeck"
        else None,
        "head": next(filter(None, (h.get("attention") for h in decode_heads(model))), None),
    }
    return {placement: dict(attention) for placement, attention in found.items() if attention}


def without_attention(model: ConfigDict) -> ConfigDict:
    """The config of the plain twin: no attention in head or backbone, no neck of ours."""
    plain = copy.deepcopy(model)
    for head in decode_heads(plain):
        head.pop("attention", None)
    for option in ("plugins", "attention", "blocks"):
        plain.backbone.pop(option, None)
    plain.backbone.type = _plain_name(plain.backbone.type)
    if plain.get("neck", {}).get("type") == "PolarizedNeck":
        plain.pop("neck")
    return plain


def backbone(model: ConfigDict) -> str:
    """A backbone's name as in model zoos: `R-50-D8` with its output stride, `HRNetV2-W48`."""
    part, kind = model.backbone, _plain_name(model.backbone.type)
    if kind == "HRNet":
        return f"HRNetV2-W{part.extra.stage2.num_channels[0]}"
    if "strides" not in part:
        return kind
    stride = 2 * math.prod(part.strides) * (2 if "depth" in part else 1)
    letter = "X" if kind == "ResNeXt" else "R"
    name = f"{letter}-{part.depth}" if "depth" in part else kind
    return f"{name}-D{stride}"


def decoder(model: ConfigDict) -> str:
    """What a network is called after, beside its backbone: `DeepLabV3+`, `OCR`."""
    kind = decode_heads(model)[-1].type
    return "DeepLabV3+" if "ASPP" in kind else kind.removesuffix("Head")


def _plain_name(kind: str) -> str:
    """Of the backbone that a `Polarized...` one is when nothing attends."""
    return kind.removeprefix("Polarized")


def label(config: Config) -> str:
    """What a table calls the run: its own `label`, or its attentions with options and placement."""
    named = []
    for placement, options in attentions(config.model).items():
        kind = options.pop("type")
        values = [f"{key}={value}" for key, value in options.items()]
        named.append(", ".join([kind, *values, placement]))
    return config.get("label") or " + ".join(named) or "none"


def commit() -> str | None:
    """The commit of the code, `-dirty` after it where files differ; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed, maybe within somebody's own checkout
        return None
    try:
        run = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "describe",
                "--always",
                "--dirty",
                "--abbrev=12",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def fingerprint_data(*datasets: Any) -> str:
    """Twelve hexadecimal digits of names and sizes of all images and masks, in their order.

    Args:
        *datasets: mmengine's, such as those of training and validation.
    """
    return _digest("\n".join(line for dataset in datasets for line in _files(dataset)))


def _files(dataset: Any) -> Iterator[str]:
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        for key in ("img_path", "seg_map_path"):
            path = Path(info[key])
            yield f"{path.parent.name}/{path.name} {path.stat().st_size}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _portable(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            str(key): (bool(part) if key in ANYWHERE else _portable(part))
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_portable(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
