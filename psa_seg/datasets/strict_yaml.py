"""YAML in which a key that stands twice is a mistake, and the first is not lost."""

import json
from typing import Any

import yaml


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
        yaml.YAMLError: where it cannot be read, has a key twice, or half a character.
    """
    found = yaml.load(text, _EachKeyOnce)
    try:
        json.dumps(found, ensure_ascii=False, default=str, skipkeys=True).encode()
    except UnicodeEncodeError as error:  # half of one, by an escape of two bytes
        raise yaml.YAMLError(
            f"{error.object[error.start]!a} is half a character: write the whole one, itself"
        ) from None
    return found
