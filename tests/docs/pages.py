"""The pages of the documentation, and the contents of their fences."""

import re
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), ROOT / "results" / "README.md", *(ROOT / "docs").rglob("*.md"))
    if path.name != "CHANGELOG.md" and "_build" not in path.parts
)
FILE = re.compile(r"# (\S+\.(?:py|toml|yml))\n")


def text_of(page: Path) -> str:
    return (ROOT / page).read_text()


def fences(page: Path) -> Iterator[tuple[str, str]]:
    """The language and text of each fence, in order."""
    for token in MarkdownIt().parse(text_of(page)):
        if token.type == "fence":
            yield token.info, token.content


def write_file(text: str, folder: Path) -> bool:
    """Write a fence to the file named in its first comment line; return False for any other fence."""
    name = FILE.match(text)
    if name is None:
        return False
    file = folder / name[1]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return True
