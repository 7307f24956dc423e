"""What `--help` says of every argument of every program here."""

import argparse
import importlib
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PARSES = re.compile(r"def main\(.*parse(_args|\(parser)", re.S)
PROGRAMS = sorted(
    path.relative_to(ROOT)
    for folder in ("tools", "benchmarks")
    for path in (ROOT / folder).glob("*.py")
    if PARSES.search(path.read_text())
)
IDENTIFY = ["identify"]  # which has a parser of its own


class Parsed(Exception):
    """A parser got to where it reads a command line."""


def parser_of(path, arguments, monkeypatch):
    """The parser that a program has made when it comes to read its command line."""

    def stop(parser, *_):
        raise Parsed(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [path.name, *arguments])
    with pytest.raises(Parsed) as parsed:
        importlib.import_module(".".join(path.with_suffix("").parts)).main()
    return parsed.value.args[0]


@pytest.mark.parametrize(
    ("path", "arguments"),
    [*((path, []) for path in PROGRAMS), (Path("tools/convert_checkpoint.py"), IDENTIFY)],
    ids=lambda value: getattr(value, "stem", None),
)
def test_every_argument_is_told_in_a_sentence_with_its_default(path, arguments, monkeypatch):
    parser = parser_of(path, arguments, monkeypatch)
    if path.parts[0] == "tools":
        assert f"\npython tools/{path.name} " in parser.description, "an example"
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        said = parser._get_formatter()._expand_help(action)
        assert re.fullmatch(r"[A-Z].*[^.]\.", said), (action.dest, said)
        default = action.default
        if default in (None, False, "", [], argparse.SUPPRESS):
            continue
        if isinstance(default, Path) and default.is_absolute():
            default = default.relative_to(ROOT)
        values = default if isinstance(default, list) else [default]
        where = said.partition("(default: ")[2]
        assert all(str(value) in where for value in values), (action.dest, said)
