"""The templates of pages, in which whatever others wrote is text and nothing else."""

import base64
import hashlib
import re
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from loopmark.bench.report.html.plots import embedded
from loopmark.bench.report.templates import Filters, environment
from loopmark.bench.report.text import elide, plain

SCRIPT, STYLE = "page.js", "page.css"


def render(name: str, **context: Any) -> str:
    """The page that the template of that file name makes of ``context``."""
    style, script = _source(STYLE), _source(SCRIPT)
    given = {"style": Markup(style), "script": Markup(script), "script_hash": _digest(script)}
    return _environment().get_template(name).render(given, **context)


@cache
def _environment() -> Environment:
    filters: Filters = {
        "short": elide,
        "embedded": embedded,
        "spans": _code_spans,
        "breakable": _breakable,
        "with_units": _with_units,
    }
    return environment("report/html", filters, autoescape=True, finalize=_sound)


def _sound(value: Any) -> Any:
    """Text of others without the control and direction characters that could rewrite a page, or a surrogate alone."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _code_spans(text: str) -> Markup:
    """A sentence of our own, with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _breakable(name: str) -> Markup:
    """A name that may be broken where its parts meet, before a browser has to break it within a word."""
    return Markup(re.sub(r"([+_/:.])", r"\1<wbr>", str(escape(plain(name)))))


def _with_units(text: str) -> Markup:
    """``text`` with each unit on the line of its figure."""
    unit = r"(?<=\d) (?=(?:[a-zµ]{1,3}|[KMGT]iB|[km]?J|%)(?!\w))"
    return Markup(re.sub(unit, "&nbsp;", str(escape(plain(text)))))


@cache
def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _digest(script: str) -> str:
    """By which the page's policy knows its own script, and lets no other run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
