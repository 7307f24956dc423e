"""What of a config that lies in a checkpoint may be used: its types, its places.

mmengine would import and call whatever a dotted type leads to, import a module of the name of one
of another registry, fetch what begins as an address does, and unpickle what it reads, if told so.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmseg.registry import DATASETS

from psa_seg.errors import UserError

SCOPES = ("mmseg", "mmengine", "mmcv")
HOMES = (*SCOPES, "psa_seg", "torch")  # of what is registered here
# What names files of weights, which those of the checkpoint replace.
STARTS = ("init_cfg", "pretrained", "checkpoint_path")
# How files are read, and pixels chosen in training: mmengine's backends import what they are told.
LOADERS = ("backend_args", "file_client_args", "io_backend", "sampler")
# Whose options fetch weights, or import by name.
DOORS = {"TIMMBackbone", "VPD", "DSDLSegDataset", "InferencerLoader"}
# Steps that load; others unpickle what they read, if they are told so.
READERS = {"LoadImageFromFile", "LoadLabelIds", "LoadAnnotations"}


def is_plain(validation: Any, path: str) -> bool:
    """Whether a config is of one data set that is registered here, and of files on this disk.

    A text in `metainfo` would be read as the name of a file. Like `require_known`, it takes out of
    the config what it does not look at.
    """
    if not isinstance(validation, dict) or {"dataset", "datasets"} & validation.keys():
        return False
    validation.pop("pipeline", None)  # it is the test's
    try:
        require_known(validation, names_of(DATASETS), path)
    except UserError:
        return False
    named = validation.get("metainfo") or {}
    read = not isinstance(named, Mapping) or any(isinstance(value, str) for value in named.values())
    return not read and not any("://" in text for text in _texts(validation))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping | list | tuple):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _texts(value)


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turn whatever a checkpoint's config makes these lines raise into a message."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(f"{error}".split())[:200]
        raise UserError(
            f"the config in the checkpoint does not make a segmentor: {path}\n"
            f"  because    {type(error).__name__}: {reason}\n"
            "  do         give the one it was trained with: --config FILE"
        ) from error


def names_of(registry: Any) -> set[str]:
    """What a registry builds; a name of another's would be imported, as a module of that name."""
    found: set[str] = set()
    while registry is not None:
        registry.import_from_location()
        found |= registry.module_dict.keys()
        registry = registry.parent
    return {name for name in found - DOORS if not name.startswith("Load") or name in READERS}


def require_known(part: Any, known: set[str], path: str) -> None:
    """Leave nothing in a part of a config that names files; raise UserError for unknown types."""
    for node in nodes([part]):
        for key in (*STARTS, *LOADERS):
            node.pop(key, None)
        if node.get("_scope_", SCOPES[0]) not in SCOPES:
            raise _unknown(path, f"_scope_={node['_scope_']!r}")
        if "type" in node:
            # mmengine would import what a dotted name leads to, whatever it is, and call it.
            kind = str(node["type"])
            home, name = kind.partition(".")[0], kind.rpartition(".")[2]
            if name not in known or (name != kind and home not in HOMES):
                raise _unknown(path, kind)
            node["type"] = name


def _unknown(path: str, what: str) -> UserError:
    return UserError(
        f"the config in the checkpoint names what is not registered here: {what}\n"
        f"  where      {path}\n"
        "  do         if it is a module of yours, give the config itself: --config FILE; what its\n"
        "             custom_imports name is imported then"
    )


def nodes(node: Any) -> Iterator[Any]:
    """All mappings in a config."""
    if isinstance(node, Mapping):
        yield node
    for value in node.values() if isinstance(node, Mapping) else node:
        if isinstance(value, Mapping | list | tuple):
            yield from nodes(value)
