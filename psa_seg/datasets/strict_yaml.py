"""YAML in which a key that stands twice is a mistake, and the first is not lost."""

import json
from collections.abc import Iterable
from typing import Any

import yaml

LONGEST = 2**20  # characters
MOST = 100_000  # values, each alias counted as all that it stands for


class _EachKeyOnce(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, if no key is there twice."""
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"a key stands twice, in the mapping from line {line} on")
        return found


def load(text: str) -> Any:
    """What `text` says, in plain values.

    Raises:
        yaml.YAMLError: where it cannot be read, has a key twice, or half a character, or aliases
            that make it endless, or very long.
    """
    if len(text) > LONGEST:
        raise yaml.YAMLError(f"it has {len(text)} characters: too many for a file that one writes")
    loader = _EachKeyOnce(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        found = loader.construct_document(node)
        json.dumps(found, ensure_ascii=False, default=str, skipkeys=True).encode()
    except UnicodeEncodeError as error:  # half of one, by an escape of two bytes
        raise yaml.YAMLError(
            f"{error.object[error.start]!a} is half a character: write the whole one, itself"
        ) from None
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None
    finally:
        loader.dispose()
    return found


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """How many values a node stands for."""
    if id(node) in counted:
        if not counted[id(node)]:
            raise yaml.YAMLError(f"an alias stands within what it names, {_where(node)}")
        return counted[id(node)]
    counted[id(node)] = 0  # until it is known
    parts: Iterable[yaml.Node] = ()
    if isinstance(node, yaml.MappingNode):
        parts = (part for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    counted[id(node)] = 1 + sum(_count(part, counted) for part in parts)
    if counted[id(node)] > MOST:
        raise yaml.YAMLError(f"there are more than {MOST} values in it, {_where(node)}")
    return counted[id(node)]


def _where(node: yaml.Node) -> str:
    return f"in what begins in line {node.start_mark.line + 1}"
