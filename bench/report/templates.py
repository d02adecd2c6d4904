"""The pages' templates."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from loopmark.bench.report.table import Table
from loopmark.bench.report.text import code_block, markdown

Filters = Mapping[str, Callable[..., str]]


def template(name: str) -> Template:
    """The template of that file name; its filters make any text safe: ``md``, ``code`` and, of a Table, ``table``."""
    return _environment().get_template(name)


def environment(folder: str, filters: Filters, **options: Any) -> Environment:
    """Where the templates of that folder of the package are found, and how they are read."""
    made = Environment(
        loader=PackageLoader("loopmark.bench", folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    made.filters |= filters
    return made


@cache
def _environment() -> Environment:
    filters: Filters = {"md": markdown, "code": code_block, "table": Table.as_markdown}
    # autoescape is for HTML; here every text from outside goes through the md filter
    return environment("report", filters, keep_trailing_newline=True, autoescape=False)
