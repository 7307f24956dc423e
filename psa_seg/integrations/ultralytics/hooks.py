"""Where Ultralytics is told of the attention: what is put around functions of its own.

The parser finds a layer's class among the globals of `ultralytics.nn.tasks`, and there is no other
way to tell it of one.
"""

import difflib
import functools
import sys
import warnings
from typing import Any

import torch
from ultralytics.engine import model as engine
from ultralytics.engine import trainer
from ultralytics.nn import tasks
from ultralytics.utils import LOGGER, dist, torch_utils

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.errors import UserError
from psa_seg.integrations.ultralytics import description, layer
from psa_seg.integrations.ultralytics import weights as reading
from psa_seg.integrations.ultralytics.description import NAME, Description

MARK = "knows_polarized"  # a function of theirs within one of ours
PREAMBLE = """\
import sys
sys.path[:0] = {path!r}
from psa_seg.integrations.ultralytics import register
register()
"""


def are_in() -> bool:
    """Whether the parser is the one that has been told."""
    return hasattr(tasks.parse_model, MARK)


def put_in() -> bool:
    """Tell Ultralytics; nothing is done, and False returned, where the parser does not follow."""
    parse = _around(tasks.parse_model, _parse)
    before = vars(tasks).get(NAME)
    setattr(tasks, NAME, layer.Layer)
    with torch.random.fork_rng(devices=[]):  # to look at the parser moves no run's numbers
        if not _is_understood(parse):
            if before is None:
                delattr(tasks, NAME)
            else:
                setattr(tasks, NAME, before)
            return False
    tasks.parse_model = parse
    tasks.yaml_model_load = engine.yaml_model_load = _around(tasks.yaml_model_load, _read)
    tasks.BaseModel.load = _around(tasks.BaseModel.load, _load)
    dist.generate_ddp_file = _around(dist.generate_ddp_file, _write_program)
    torch_utils.get_flops = _around(torch_utils.get_flops, _count)
    command = getattr(trainer, "_YOLO_CLI_COMMAND", None)  # of one training after the other
    if command:
        command[-1] = "psa_seg.yolo"
    return True


def _around(theirs: Any, ours: Any) -> Any:
    """A function in the place of `theirs`, which `ours` gets as its first argument."""
    theirs = getattr(theirs, MARK, theirs)

    @functools.wraps(theirs)
    def function(*args: Any, **kwargs: Any) -> Any:
        return ours(theirs, *args, **kwargs)

    setattr(function, MARK, theirs)
    return function


def _parse(theirs: Any, config: Description, *args: Any, **kwargs: Any) -> Any:
    try:
        return theirs(layer.prepared(config), *args, **kwargs)
    except KeyError as error:
        named = [row[2] for row in (*config["backbone"], *config["head"])]
        if not error.args or error.args[0] not in named:
            raise
        meant = difflib.get_close_matches(error.args[0], [NAME, *vars(tasks)], 1)
        hint = f"; did you mean {meant[0]}?" if meant else ""
        raise UserError(
            f"no layer of that name: {error.args[0]}{hint}\n"
            f"  where      {config.get('yaml_file', 'the model description')}"
        ) from error


def _read(theirs: Any, path: Any) -> Description:
    return description.read(path, theirs) or theirs(path)


def _load(theirs: Any, model: Any, weights: Any, verbose: bool = True) -> None:
    source = (weights.get("ema") or weights["model"]) if isinstance(weights, dict) else weights
    fitting = reading.fitting(model, source)
    theirs(model, fitting, verbose)
    if reading.places(model) and (unlike := reading.unlike(model, source)):
        LOGGER.warning(unlike)
    if fitting is source:
        return
    told = reading.begin(model, source)
    if verbose and told:
        LOGGER.info(told)
    unnamed = {i: str(i) for i in range(len(getattr(source, "names", ())))}
    if getattr(model, "names", None) == unnamed:  # as theirs does where all that it reads fits
        model.names = dict(source.names)


def _write_program(theirs: Any, *args: Any, **kwargs: Any) -> str:
    """The program of each of several processes that train: in it, too, the layer is known."""
    name = theirs(*args, **kwargs)
    with open(name, encoding="utf-8") as file:
        text = file.read()
    with open(name, "w", encoding="utf-8") as file:
        file.write(PREAMBLE.format(path=sys.path) + text)
    return name


def _count(theirs: Any, *args: Any, **kwargs: Any) -> float:
    """Their counter hangs hooks on a copy's layers: there, the textbook runs, and would say so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f"{NAME} runs as its textbook")
        return theirs(*args, **kwargs)


def _is_understood(parse: Any) -> bool:
    """Whether the parser builds the layer, with its options, for the width that a scale makes."""
    rows = [
        [-1, 1, "Conv", [16, 1]],
        [-1, 1, NAME, [16, "paper", "sequential"]],
        [-1, 1, "Conv", [32, 1]],
        [1, 1, NAME, [{"layout": "sequential"}]],
    ]
    config = {"nc": 1, "width_multiple": 0.5, "backbone": rows, "head": []}
    try:
        layers = parse(config, 3, verbose=False)[0]
        built = [(type(layers[i]), layers[i].in_channels, layers[i].layout) for i in (1, 3)]
    except Exception:  # whatever a parser of another kind raises
        return False
    return built == [(PolarizedSelfAttention, 8, "sequential")] * 2
