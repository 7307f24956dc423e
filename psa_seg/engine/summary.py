"""The first screen of a run's log: what is trained, on what, and on which hardware."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_backend
from mmengine.runner import Runner
from torch import nn

from psa_seg.engine.autocast import precision
from psa_seg.engine.describe import environment
from psa_seg.engine.doctor.data import first_steps
from psa_seg.engine.doctor.sizes import VARYING, crops, seen
from psa_seg.engine.flops import count_flops
from psa_seg.models.placement import find
from psa_seg.registry import name_of

NOT_COUNTED = "FLOPs not counted"
PARTS = ("backbone", "neck", "decode_head")


def summarize(runner: Runner) -> str:
    """Model, attention's share, data, batch arithmetic, device and seed, a line or two each.

    Args:
        runner: with its training loop built.
    """
    model = runner.bare_model
    size = screen_size(model)
    flops = count_flops(model, (1, 3, *size), mode="tensor")
    named = [part for name in PARTS if (part := getattr(model, name, None)) is not None]
    parts = chain(*(part if isinstance(part, nn.ModuleList) else [part] for part in named))
    cost = f"{flops['Global'] / 1e9:.1f} GFLOPs" if flops else NOT_COUNTED
    lines = [
        f"model      {' + '.join(type(part).__name__ for part in parts)}: "
        f"{_parameters(model) / 1e6:.2f} M parameters, {cost} forward at {size[0]}x{size[1]}"
    ]
    lines += _attention_lines(model, flops)
    train = runner.train_dataloader.dataset
    split, loop = runner.train_loop.split, runner.train_loop
    lines += [
        f"data       {runner.cfg.data_name}: {len(train)} training images, "
        f"{len(train.metainfo['classes'])} classes",
        f"sizes      {_sizes(runner.cfg)}",
        f"batch      {split}; {loop.max_iters} steps = "
        f"{loop.max_iters * split.images / len(train):.1f} epochs",
        f"device     {environment().device}"
        + (f", {runner.world_size} over {get_backend()}" if runner.distributed else "")
        + f", {precision(runner.cfg)}"
        + (", activations checkpointed" if runner.cfg.get("checkpoint_activations") else ""),
        f"seed       {runner.seed}",
    ]
    if runner._load_from and not runner._resume:
        lines.append(f"start      {runner._load_from}")
        lines += [f"           anew, for other classes: {key}" for key in runner.anew]
    return "\n".join(["", *(f"  {line}" for line in lines)])


def _sizes(config: Config) -> str:
    """What becomes of an image on its way into the network, in training and when it is scored."""
    loaders = (config.train_dataloader, config.get("val_dataloader"))
    train, val = (list(_resizes(first_steps(each.dataset))) if each else [] for each in loaders)
    cut = next((f"cropped to {rows}x{columns}" for _, (rows, columns) in crops(config)), "")
    own = ["at their own size"]
    seen = [*(train or own), *filter(None, [cut])]
    return f"{', '.join(seen)}; scored: {', '.join(val or own)}"


def _resizes(steps: Sequence[Any]) -> Iterator[str]:
    for step in steps:
        if not isinstance(step, dict):
            continue
        kind, scale, ratios = name_of(step.get("type")), step.get("scale"), step.get("ratio_range")
        size = seen(scale)
        if ratios:
            about = f"resized to {size[0]}x{size[1]} (width x height) " if len(size) == 2 else ""
            yield f"{about}times {ratios[0]:g} to {ratios[1]:g}"
        elif kind == "Resize" and len(size) == 2 and all(isinstance(n, int) for n in size):
            yield f"resized to {size[0]}x{size[1]} (width x height)"
        elif kind in VARYING and kind != "Pad":
            yield f"resized by {kind}"


def screen_size(model: Any) -> tuple[int, int]:
    """Rows and columns of the image that a model's cost is told for."""
    return tuple(model.data_preprocessor.size or (512, 512))


def _attention_lines(model: nn.Module, flops: dict[str, int]) -> list[str]:
    placed: dict[str, list[tuple[str, nn.Module]]] = {}
    for name, module in find(model).items():
        placed.setdefault(name.partition(".")[0], []).append((name, module))
    lines = []
    for where, found in placed.items():
        first, attention = found[0]
        parameters = sum(_parameters(module) for _, module in found)
        cost = sum(flops.get(name, 0) for name, _ in found)
        share = f", {cost / 1e9:.2g} GFLOPs ({100 * cost / flops['Global']:.3f} %)" if flops else ""
        options = {module.extra_repr().partition(", ")[2] for _, module in found}
        lines += [
            f"attention  {where}: {len(found)} x {type(attention).__name__}"
            f" ({'; '.join(sorted(options))}), {first}" + (", ..." if len(found) > 1 else ""),
            f"           {parameters / 1e6:.3g} M parameters "
            f"({100 * parameters / _parameters(model):.2f} %){share}",
        ]
    return lines or ["attention  none"]


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
