"""``report.md``: everything a run has to say on one page that renders anywhere."""

from typing import Any

from loopmark.bench.report.templates import template


def page(contents: dict[str, Any]) -> str:
    """The page in Markdown, of what ``contents`` made of a run."""
    return template("report.md.jinja").render(contents)
