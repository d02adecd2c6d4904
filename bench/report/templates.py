"""The pages' templates."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from bench.report.markdown_table import as_markdown
from bench.report.text import code_block, markdown


def template(name: str) -> Template:
    """The template of that file name; its filters make any text safe: ``md``, ``code`` and, of a Grid, ``table``."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bench", "report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )  # autoescape is for HTML; here every text from outside goes through the md filter
    environment.filters |= {"md": markdown, "code": code_block, "table": as_markdown}
    return environment
