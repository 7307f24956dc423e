"""Variables of the environment in a config, `{{$NAME:default}}`, as mmengine has them.

mmengine puts a value into the text of the file, where a backslash of a Windows path would begin an
escape, and tells of it each time that it reads the file. Values stand in plain strings, not in raw
ones; those of a YAML are taken as they are.
"""

import json
import os
import re
from functools import cache
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from psa_seg.errors import UserError

# With a quote inside the braces, the value stands for code; else, within a string.
PLACE = re.compile(r"""\{\{(['"]?)\s*\$(\w+)\s*:\s*(\S*?)\s*['"]?\}\}""")


def read(path: str) -> Config:
    """The config at `path`; nothing that it names is imported."""
    return Config.fromfile(path, import_custom_modules=False)


def _substitute(filename: str, temp_config_name: str) -> dict[str, str]:
    """Write a config to another file with the values of its variables: those that were set.

    Raises:
        UserError: for one that is empty.
    """
    found: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        quote, name, default = match.groups()
        text = os.environ.get(name, default)
        if not text:
            raise UserError(
                f"the variable {name} of the environment is empty, or not set, without a default\n"
                f"  do         export {name}=..."
            )
        if name not in os.environ:
            return text
        found[name] = text
        _tell(name, text)
        if quote or not filename.endswith((".py", ".json")):
            return text
        escaped = json.dumps(text, ensure_ascii=False)[1:-1]
        return escaped.replace("'", "\\'") if filename.endswith(".py") else escaped

    text = PLACE.sub(value, Path(filename).read_text("utf-8"))
    Path(temp_config_name).write_text(text, "utf-8")
    return found


@cache
def _tell(name: str, value: str) -> None:
    """Say once where a value comes from."""
    print_log(f"{name}={value}, from the environment, is in the config", logger="current")


Config._substitute_env_variables = staticmethod(_substitute)
