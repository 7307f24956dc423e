"""README as the site's first page; links that leave docs/ become names of files.

A hook of mkdocs: `on_files` and `on_page_markdown` are its names.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the first page."""
    text = (ROOT / "README.md").read_text()
    text = re.sub(r"\]\(docs/", "](", text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Name a file of the repository that is no page of the site."""
    here = ROOT if page.file.src_uri == "index.md" else (DOCS / page.file.src_uri).parent

    def named(match: re.Match[str]) -> str:
        text, target = match[1], match[2]
        path = (here / target.partition("#")[0]).resolve()
        if path == ROOT / "README.md":
            return f"[{text}]({'../' * page.file.src_uri.count('/')}index.md)"
        outside = path.is_relative_to(ROOT) and not path.is_relative_to(DOCS)
        return f"{text} (`{path.relative_to(ROOT)}`)" if outside and path.exists() else match[0]

    return LINK.sub(named, markdown)
