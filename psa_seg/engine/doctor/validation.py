"""Options that nothing looks at before the first validation, which may be hours away."""

from typing import Any

from mmengine.config import Config
from mmseg.registry import HOOKS

from psa_seg.engine.doctor.classes import class_names
from psa_seg.engine.explain import meant_by, near
from psa_seg.evaluation import ConfusionMetric, further
from psa_seg.records.scores import needed
from psa_seg.registry import name_of

LIBRARIES = ("mmengine.", "mmseg.", "psa_seg.")  # whose hooks, but for one, add no score


def check_windows(config: Config) -> list[str]:
    """What keeps windows from sliding over an image, where they are asked for."""
    test = config.model.get("test_cfg") or {}
    keys = ("crop_size", "stride") if test.get("mode") == "slide" else ()
    return [
        f"{config.filename}: model.test_cfg.{key} is {test.get(key)!r}, and mode='slide' needs it\n"
        "  do         give rows and columns, (512, 1024) say"
        for key in keys
        if not (isinstance(test.get(key), list | tuple) and len(test[key]) == 2)
    ]


def check_scores(config: Config) -> list[str]:
    """What is wrong with the scores that hooks go by: names that no validation gives."""
    metrics = config.get("val_evaluator") or [{}]
    metrics = metrics if isinstance(metrics, list) else [metrics]
    hooks = [hook for hook in config.get("custom_hooks") or [] if isinstance(hook, dict)]
    by_kind = {name_of(hook.get("type")): hook for hook in hooks}
    known = all(m.get("type") == "ConfusionMetric" and not m.get("prefix") for m in metrics)
    if not known or any(not _of_a_library(kind) for kind in by_kind):
        return []  # what other scores there are is not known here
    checkpoint = config.default_hooks.get("checkpoint") or {}
    best, stopping = checkpoint.get("save_best") or [], by_kind.get("EarlyStoppingHook", {})
    names = [
        (name, "default_hooks.checkpoint.save_best", checkpoint.get("rule"))
        for name in ([best] if isinstance(best, str) else best)
    ]
    if stopping.get("monitor"):
        names.append((stopping["monitor"], "EarlyStoppingHook.monitor", stopping.get("rule")))
    also = [further.SCORES[name] for name in also_scored(config)]
    scores = [
        *ConfusionMetric.SCORES,
        *also,
        *["val_loss"] * ("ValidationLossHook" in by_kind),
    ]
    for name, where, rule in names:
        if name in also and not rule:
            return [
                f"{config.filename}: of {name}, mmengine does not know which is the best\n"
                f"  do         {where.rpartition('.')[0]}.rule="
                + ("less" if name == "ECE" else "greater")
            ]
    return [
        f"{config.filename}: {where} is {name!r}, and no score has that name\n"
        f"{meant_by(near(str(name), scores))}  scores     {', '.join(scores)}"
        + ("" if "val_loss" in scores else "; with ValidationLossHook val_loss, too")
        for name, where, _ in names
        if name not in (*scores, "auto")
        and not ("val_loss" in scores and str(name).startswith("val_"))  # a part of it
    ]


def check_scored(config: Config) -> list[str]:
    """What is wrong with what is scored, and with the score by which models are compared."""
    for scorer in scorers(config.get("val_evaluator")):
        if wrong := further.wrong(scorer.get("also", [])):
            return [f"{config.filename}: {wrong}\n  do         correct val_evaluator.also"]
    names = next(iter(class_names(config, "val_dataloader").values()), None)
    try:
        wanted = needed(config.score, names) if names else ""
    except ValueError as error:
        return [f"{config.filename}: {error}\n  do         correct `score`"]
    if wanted and wanted not in also_scored(config):
        return [
            f"{config.filename}: score {config.score!r} is not scored\n"
            f"  do         val_evaluator.also=['{wanted}']"
        ]
    return []


def also_scored(config: Config, evaluator: str = "val_evaluator") -> list[str]:
    """What is scored besides, as of `psa_seg.evaluation.further`."""
    return [name for scorer in scorers(config.get(evaluator)) for name in scorer.get("also", [])]


def scorers(evaluator: Any) -> list[Any]:
    """Those of ours in an evaluator's config."""
    found = evaluator if isinstance(evaluator, list) else [evaluator or {}]
    return [scorer for scorer in found if name_of(scorer.get("type")) == "ConfusionMetric"]


def _of_a_library(kind: str) -> bool:
    return getattr(HOOKS.get(kind), "__module__", "").startswith(LIBRARIES)
