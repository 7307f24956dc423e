"""Modules of a user's own, by where they are written: `attention.py:PSA`, `package.module:PSA`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from psa_seg.checkpoints import identify
from psa_seg.errors import UserError
from psa_seg.files import missing

FILES = (".py", ".pt", ".pth", ".ckpt", ".bin", ".safetensors")
NAMES = ("in_channels", "channel", "channels", "dim", "inplanes", "in_planes", "c1")


def about(where: str) -> list[str]:
    """What the attentions in a module are, in lines for the user; the module is run.

    Args:
        where: a Python file, or a module's name; with `:CLASS`, that class alone.

    Raises:
        UserError: where it cannot be imported, has no such class, or none that can be built.
    """
    place, _, name = where.partition(":")
    module = _imported(place)
    own = f"{module.__name__}."
    there = [getattr(module, name, None)] if name else list(vars(module).values())
    kinds = [
        kind
        for kind in there
        if isinstance(kind, type) and issubclass(kind, nn.Module)
        if name or f"{kind.__module__}.".startswith(own)
    ]
    if not kinds:
        raise UserError(
            f"no such class: {where}\n  do         name a class of nn.Module that {place} has"
        )
    made = {kind.__name__: _built(kind) for kind in kinds}
    result = []
    for kind, part in made.items():
        if part is None:
            if name:
                raise UserError(
                    f"{where} cannot be built of a number of channels alone\n"
                    "  do         torch.save(module.state_dict(), FILE), and name FILE"
                )
            continue
        found = identify.identify(part.state_dict())
        if found or name:
            result += [f"class    {kind}", *_told(part, found)]
    unknown = [kind for kind, part in made.items() if part is None]
    why = f" (not built, of a number of channels alone: {', '.join(unknown)})" if unknown else ""
    return result or [f"found    no class in {place} that is known, of {', '.join(made)}{why}"]


def _told(part: nn.Module, found: list[identify.Found]) -> list[str]:
    """What it is by its keys, and what it computes if by these it is one of ours."""
    if [one.prefixes for one in found if one.kind in identify.OURS] == [("",)]:
        return [f"found    {found[0].kind.name}", *identify.run(part)]
    return identify.lines(found)


def _imported(place: str) -> ModuleType:
    file = Path(place)
    if not file.is_file() and (file.suffix in FILES or len(file.parts) > 1 or not file.stem):
        raise missing("file", place)
    try:
        if file.suffix != ".py":
            sys.path.insert(0, "")
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(f"_of_{file.stem}", file)
        assert spec  # a .py has it, and a loader
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(file.parent))  # as `python FILE` has it
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:  # whatever a program of the user's raises
        raise UserError(
            f"neither a checkpoint nor a module that can be imported: {place}\n"
            f"  because    {type(error).__name__}: {error}\n"
            "  do         name a file of weights, FILE.py:CLASS or PACKAGE.MODULE:CLASS"
        ) from error


def _built(kind: type[nn.Module]) -> nn.Module | None:
    """One for `identify.WIDTH` channels, however it is told of them."""
    width = identify.WIDTH
    ways = [((width,), {}), ((width, width), {}), *(((), {name: width}) for name in NAMES)]
    x = torch.zeros(1, width, 4, 4)
    for positional, named in ways:
        try:
            part = kind(*positional, **named).eval()
            with torch.no_grad():
                part(x)
        except Exception:  # it wants something else
            continue
        return part
    return None
