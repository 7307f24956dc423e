"""What comes along with the library, configs and tools: where they are, how they are called."""

import difflib
import os
import re
import sys
from pathlib import Path

from psa_seg.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
_HOME = _PACKAGE if (_PACKAGE / "tools").is_dir() else _PACKAGE.parent  # installed, or a clone
CONFIGS, TOOLS = _HOME / "configs", _HOME / "tools"
COMMAND, MODULE = "psa-seg", "python -m psa_seg"
_SAME = ("train", "test", "predict", "export", "doctor", "sweep", "leaderboard", "share")
FILES = {  # of the tools, by their names as commands
    **{tool: f"{tool}.py" for tool in _SAME},
    "convert": "convert_checkpoint.py",
    "format-cityscapes": "format_cityscapes.py",
}


def begin(program: str, tool: str, arguments: list[str]) -> None:
    """Let `sys.argv` be a tool's, in a form by which the functions below know who called it.

    Args:
        program: path of the command, or `MODULE`.
        tool: its name as a command.
        arguments: of the tool.
    """
    sys.argv = [f"{program} {tool}", *arguments]  # argparse calls it by what is behind a slash


def _by_command() -> tuple[str, str] | None:
    """Program and tool, as `begin` had them; None of a tool's file, or of no tool."""
    program, _, tool = sys.argv[0].rpartition(" ")
    return (program, tool) if program and tool in FILES else None


def words(tool: str) -> str:
    """How this user calls a tool: `python tools/train.py`, `psa-seg train`."""
    script = Path(sys.argv[0])
    if script.resolve().parent == TOOLS:
        return f"python {script.with_name(FILES[tool])}"
    program, _ = _by_command() or (COMMAND, "")
    return f"{os.path.basename(program)} {tool}"


def command() -> list[str]:
    """What has started this tool, and would start it again, without its arguments."""
    called = _by_command()  # the module starts wherever the command does, on Windows, too
    return [sys.executable, *(["-m", "psa_seg", called[1]] if called else [sys.argv[0]])]


def told(text: str) -> str:
    """A help text, which is written for a clone, with tools and configs as this user calls them."""
    if not _by_command():
        return text
    names = {file: tool for tool, file in FILES.items()}
    tools = "|".join(map(re.escape, names))
    text = re.sub(rf"(python )?\btools/({tools})", lambda found: words(names[found[2]]), text)
    return re.sub(r"\bconfigs/([\w/]+)\.py\b", r"\1", text)


def names() -> list[str]:
    """Of all configs that come along: `psa_deeplabv3plus_cityscapes`, `timm/psa_...`."""
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.py"))
    return sorted(p.with_suffix("").as_posix() for p in paths if p.parts[0] != "_base_")


def is_name(given: str) -> bool:
    """Whether this is the name of a config that comes along, as `config` takes it."""
    found = _known(given)
    return bool(found and "_base_" not in found.parts)  # a part of a config is none


def name(path: str) -> str:
    """What finds this config again: its path, or the name, by which it was found."""
    inside = Path(path).is_absolute() and Path(path).is_relative_to(CONFIGS)
    return Path(path).relative_to(CONFIGS).with_suffix("").as_posix() if inside else path


def _known(given: str) -> Path | None:
    """The file of the config of this name, with or without `.py` and `configs/`."""
    path = CONFIGS / f"{given.replace(os.sep, '/').removeprefix('configs/').removesuffix('.py')}.py"
    inside = CONFIGS in Path(os.path.normpath(path)).parents
    return path if inside and path.is_file() else None


def base(given: str) -> Path:
    """The config file that `psa_seg::` before this name means.

    Raises:
        UserError: where there is none.
    """
    if found := _known(given):
        return found
    raise UserError(
        f"no base psa_seg::{given}\n"
        + meant(_near(given))
        + f"  do         name one of those in {CONFIGS}, such as psa_seg::_base_/default_runtime.py"
    )


def _near(given: str) -> list[str]:
    known, name = names(), Path(given).with_suffix("").name
    return [name] if name in known else difflib.get_close_matches(name, known)


def meant(near: list[str]) -> str:
    """A message's line for what may have been meant; nothing if nothing is near."""
    return f"  meant      {', or '.join(near)}?\n" * bool(near)


def config(given: str, folder: Path = Path()) -> Path:
    """The config file that is meant: the user's own, or else one that comes along.

    Args:
        given: a path, or a name out of `names`, with or without `.py` and `configs/`.
        folder: from which a path starts.

    Raises:
        UserError: where there is neither.
    """
    path = folder / os.path.expanduser(given)
    if path.is_file():
        return path
    if is_name(given):
        return base(given)
    kind = "is a folder" if path.is_dir() else "not found"
    there = sorted(p.name for p in path.parent.glob("*.*")) if path.parent.is_dir() else []
    near = [str(Path(given).with_name(one)) for one in difflib.get_close_matches(path.name, there)]
    raise UserError(
        f"config {kind}: {given}\n  looked for {path.resolve()}\n"
        + meant([*near, *_near(given)])
        + f"  do         name a file, or, by its name, one of those in {CONFIGS}"
    )
