"""Variables of the environment in a config, `{{$NAME:default}}`, as mmengine has them.

mmengine puts a value into the text of the file, where a backslash of a Windows path would begin an
escape, and tells of it each time that it reads the file.
"""

import os
import re
from functools import cache
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

# With a quote inside the braces, the value stands for code; else, within a string.
PLACE = re.compile(r"""\{\{(['"]?)\s*\$(\w+)\s*:\s*(\S*?)\s*['"]?\}\}""")


def read(path: str) -> Config:
    """The config at `path`; nothing that it names is imported."""
    return Config.fromfile(path, import_custom_modules=False)


def _substitute(filename: str, target: str) -> dict[str, str]:
    """Write `filename` to `target` with the values of its variables: those that were set."""
    found: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        quote, name, default = match.groups()
        text = os.environ.get(name, default)
        if not text:
            raise KeyError(f"{name} is empty: set it, or unset it for a default, if there is one")
        if name in os.environ:
            found[name] = text
            _tell(name, text)
        if quote or not filename.endswith(".py"):
            return text
        return re.sub(r"""([\\"'])""", r"\\\1", text)

    text = PLACE.sub(value, Path(filename).read_text("utf-8"))
    Path(target).write_text(text, "utf-8")
    return found


@cache
def _tell(name: str, value: str) -> None:
    """Say once where a value comes from."""
    print_log(f"{name}={value}, from the environment, is in the config", logger="current")


Config._substitute_env_variables = staticmethod(_substitute)
