"""The attention as a layer of YOLO's model files: a row, and what the parser makes of it.

    - [-1, 1, PolarizedSelfAttention, [1024]]                      # as blogs write it
    - [-1, 1, PolarizedSelfAttention, []]                          # the same: the width is known
    - [-1, 1, PolarizedSelfAttention, [1024, paper, sequential]]   # options by their places
    - [-1, 1, PolarizedSelfAttention, [{layout: sequential}]]      # or by their names

Ultralytics' parser knows which of its own layers have a width, and scales it (1024 is 256 in a
YOLOv10n); of any other layer it hands the arguments on as they stand. But it puts its variables in
the place of arguments that bear their names, and so can tell a layer `c2`, the width of the layer
before, or `ch`, the widths of all layers so far, and `f`, the layer whose map it takes.
"""

import ast
import contextlib
import inspect
import math
from typing import Any

from torch import nn

from psa_seg.attention import PolarizedSelfAttention
from psa_seg.errors import UserError
from psa_seg.integrations.ultralytics import description
from psa_seg.integrations.ultralytics.description import NAME, NARROWEST, Description

FORMER = "c2"  # how this package's rows said the width before: the parser's variable
DIVISOR = 8  # to multiples of which Ultralytics rounds a width up


def prepared(config: Description) -> Description:
    """A description whose rows of the attention tell `Layer` what it has to know."""
    width, most = _scaling(config)
    result = dict(config)
    for part in ("backbone", "head"):
        result[part] = [
            _told(row, _Row(row[3], width, most)) if row[2] == NAME else row for row in config[part]
        ]
    return result


def _told(row: list[Any], arguments: "_Row") -> list[Any]:
    source = row[0]
    if isinstance(source, list):
        raise arguments.refusal(f"it takes the map of one layer, not of {source}", "name one")
    return [*row[:3], [arguments, "c2"] if source == -1 else [arguments, "ch", "f"]]


def _scaling(config: Description) -> tuple[float, float]:
    """By what widths are multiplied, and what they are limited to before."""
    scales = config.get("scales")
    if not scales:
        return config.get("width_multiple", 1.0), math.inf
    _, width, most = scales[config.get("scale") or next(iter(scales))]
    return width, most


class _Row:
    """A row's arguments, and the scaling of its model."""

    def __init__(self, arguments: list[Any], width: float, most: float) -> None:
        given = [_literal(argument) for argument in arguments or []]
        self.written = f"[{', '.join(map(str, given))}]"
        named = given.pop() if given and isinstance(given[-1], dict) else {}
        claim = given.pop(0) if given and _is_width(given[0]) else None
        self.widths: tuple[int, ...] = ()  # what the claim may mean
        if isinstance(claim, int):
            scaled = math.ceil(min(claim, most) * width / DIVISOR) * DIVISOR
            self.widths = (scaled, claim)
        try:
            bound = inspect.signature(PolarizedSelfAttention).bind(NARROWEST, *given, **named)
        except TypeError as error:
            raise self.refusal(str(error)) from error
        self.options = dict(list(bound.arguments.items())[1:])
        description.check(self.options, f"[{NAME}, {self.written}]: ".__add__)

    def refusal(self, reason: str, remedy: str = "") -> UserError:
        """What is wrong with the row."""
        return UserError(
            f"[{NAME}, {self.written}]: {reason}\n"
            f"  do         {remedy or 'write its options by name'}: "
            f"[-1, 1, {NAME}, [{{layout: sequential}}]]"
        )

    def __repr__(self) -> str:
        return self.written  # in the parser's table


def _literal(argument: Any) -> Any:
    """As the parser reads text: `None` is none."""
    with contextlib.suppress(ValueError, SyntaxError):
        return ast.literal_eval(argument) if isinstance(argument, str) else argument
    return argument


def _is_width(argument: Any) -> bool:
    whole = isinstance(argument, int) and not isinstance(argument, bool)
    return whole or argument is None or argument == FORMER


class Layer(nn.Module):
    """What model files name; what it makes is a `PolarizedSelfAttention`."""

    __module__, __qualname__ = PolarizedSelfAttention.__module__, NAME  # in the parser's table

    def __new__(cls, row: _Row, width: Any, source: Any = None) -> Any:
        """The attention for the map of a layer.

        Args:
            row: what the model file says of it.
            width: of the map; with a `source`, the widths of all layers so far.
            source: index of the layer whose map it takes.

        Raises:
            UserError: for a width that the map does not have.
        """
        width = width if source is None else width[source]
        if row.widths and width not in row.widths:
            raise row.refusal(
                f"the map has {width} channels, and {row.widths[1]} is {row.widths[0]} at this "
                "scale",
                "leave the width out",
            )
        try:
            layer: Any = PolarizedSelfAttention(width, **row.options)
        except ValueError as error:
            raise row.refusal(str(error), "put it behind a wider layer") from error
        layer.known = Known()
        return layer


class Known:
    """What a layer in YOLO carries: where it is read again, model files may name the layer."""

    def __reduce__(self) -> Any:
        return known, ()


def known() -> Known:
    """Make the layer known, so that a model that was read can be built anew: trained, resumed."""
    from psa_seg.integrations.ultralytics import register

    with contextlib.suppress(UserError):  # to predict, it need not be
        register()
    return Known()
