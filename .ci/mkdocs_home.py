"""README as the site's first page; links that leave docs/ become names of files.

A hook of mkdocs: `on_files` and `on_page_markdown` are its names.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the first page."""
    text = (ROOT / "README.md").read_text()
    text = re.sub(r"\]\(docs/", "](", text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Name a file of the repository that is no page of the site; it has to be there."""
    here = ROOT if page.file.src_uri == "index.md" else ROOT / "docs"

    def named(match: re.Match[str]) -> str:
        text, target = match[1], match[2].partition("#")[0]
        if not target.startswith(("../", ".github/")):
            return match[0]
        path = (here / target).resolve()
        if not path.exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {target}, which is not there")
        return f"{text} (`{path.relative_to(ROOT)}`)"

    return LINK.sub(named, markdown)
