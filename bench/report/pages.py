"""The pages of a run, of a training, and of runs side by side and over time: Markdown and self-contained HTML."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from loopmark.bench.records.files import replace_file
from loopmark.bench.report.plot_files import PLOTS, Plot
from loopmark.bench.report.table import Table
from loopmark.bench.report.text import code_block, elide, markdown, plain, slugs

MOST_BYTES = 4_900_000  # the size limit of a page
LONGEST_TEXT = 100_000
SPREADSHEETS = ("summary.csv", "training.csv", "compare.csv", "before_after.csv", "history.csv")
"""The files that a page links to where they lie beside it."""
COLOURS = {
    "#000000": "ink", "#ffffff": "paper", "#555555": "muted", "#8a8a8a": "grey", "#c4c4c4": "rule",
    "#d9d9d9": "band", "#e4e4e4": "grid", "#003f5c": "faster", "#6b2e00": "slower",
}  # fmt: skip
"""The plot colours that become colours of the page, light or dark; all others stay."""


def write_pages(folder: Path, stem: str, template: str, context: Mapping[str, Any], plots: Sequence[Plot]) -> None:
    """Write the pages made by ``template`` from ``context`` into ``folder``, as Markdown and as HTML.

    Args:
        context: with a dict of each workload, whose ``name`` gives its ``id`` on the page.
    """
    ids = slugs(workload["name"] for workload in context["workloads"])
    workloads = [{**workload, "id": ids[workload["name"]]} for workload in context["workloads"]]
    tables = [name for name in SPREADSHEETS if (folder / name).exists()]
    context = {**context, "workloads": workloads, "spreadsheets": tables}
    replace_file(folder / f"{stem}.md", markdown_page(template, context))
    replace_file(folder / f"{stem}.html", html_page(template, context, plots))


def markdown_page(name: str, context: Mapping[str, Any]) -> str:
    """The page made by the template ``name`` from ``context``, as Markdown."""
    page = _markdown_templates().get_template(name).render(context)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def html_page(name: str, context: Mapping[str, Any], plots: Sequence[Plot]) -> str:
    """The page made by the template ``name`` from ``context``, as HTML with the plots that fit."""
    rest = len(_html(name, context, ()).encode())
    return _html(name, context, fitting(plots, MOST_BYTES - rest))


def _html(name: str, context: Mapping[str, Any], shown: Sequence[Plot]) -> str:
    folder = files("loopmark.bench.report") / "templates/html"
    style, script = ((folder / file).read_text("utf-8") for file in ("page.css", "page.js"))
    # The page's policy allows only the script with this hash.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"style": Markup(style), "script": Markup(script), "script_hash": digest, "shown": shown}
    return _html_templates().get_template(name).render(own, **context)


def _environment(kind: str, **options: Any) -> Environment:
    """The templates of the pages, with the elements of one ``kind`` of page."""
    folders = [PackageLoader("loopmark.bench", f"report/templates{below}") for below in ("", f"/{kind}")]
    return Environment(
        loader=ChoiceLoader(folders), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )


@cache
def _markdown_templates() -> Environment:
    # autoescape is for HTML; here every text from outside goes through the filter text
    made = _environment("markdown", autoescape=False)
    made.filters |= {"text": lambda text, _=None: markdown(text), "code": code_block, "table": Table.as_markdown}
    return made


@cache
def _html_templates() -> Environment:
    """The HTML templates; text from outside is always escaped."""
    made = _environment("html", autoescape=True, finalize=_sound)
    made.filters |= {
        "text": lambda text, length=LONGEST_TEXT: elide(text, length),
        "embedded": embedded,
        "sections": sections,
        # Loopmark's own sentence, with text between backticks as code.
        "spans": _marked_up("`([^`]+)`", r"<code>\1</code>"),
        # A name that may break between its parts, so that a browser does not break it within a word.
        "breakable": _marked_up(r"([+_/:.])", r"\1<wbr>"),
        # A text with each unit on the line of its figure.
        "with_units": _marked_up(r"(?<=\d) (?=(?:[a-zµ]{1,3}|[KMGT]iB|[km]?J|%)(?!\w))", "&nbsp;"),
    }
    return made


def fitting(plots: Iterable[Plot], most_bytes: int) -> tuple[Plot, ...]:
    """The plots that fit into ``most_bytes``, in order of importance over all workloads."""
    ordered = sorted(plots, key=lambda plot: list(PLOTS).index(plot.stem))
    filled = accumulate(len(embedded(plot).encode()) for plot in ordered)
    return tuple(plot for plot, size in zip(ordered, filled, strict=True) if size <= most_bytes)


def embedded(plot: Plot) -> Markup:
    """The plot as an SVG element, and its narrow version as another; a style sheet shows one of them."""
    key = plot.file.removesuffix(".svg")
    narrow = _element(plot.narrow, f"{key}-narrow", "plot narrow", plot.text) if plot.narrow else ""
    return Markup(_element(plot.svg, key, "plot", plot.text) + narrow)


def _element(svg: str, key: str, kind: str, text: str) -> str:
    """``svg`` as an element whose ids begin with ``key``, so that no two of a page share any."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", svg)
    svg = re.sub("|".join(COLOURS), lambda found: f"var(--{COLOURS[found[0]]})", svg)
    svg = re.sub(r">\s+<", "><", svg)
    title = f'<title id="{key}-title">{escape(plain(text))}</title>'
    opening = f'<svg class="{kind}" role="img" aria-labelledby="{key}-title"'
    return re.sub(r"<svg\b([^>]*)>", lambda found: f"{opening}{found[1]}>{title}", svg, count=1)


def sections(content: str) -> list[tuple[Markup, Markup, list[Any]]]:
    """The id and title of each section of a page, and the same of its folds."""
    found: list[tuple[Markup, Markup, list[Any]]] = []
    titles = r'<(?:h2|details) id="([^"]+)".*?>(?:\s*<summary><h\d>)?(.*?)</h(\d)>'
    for identity, title, level in re.findall(titles, content):
        (found if level == "2" else found[-1][2]).append((Markup(identity), Markup(title), []))
    return found


def _sound(value: Any) -> Any:
    """Text without the control and direction characters that could rewrite a page, and without lone surrogates."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _marked_up(pattern: str, markup: str) -> Callable[[str], Markup]:
    return lambda text: Markup(re.sub(pattern, markup, str(escape(plain(text)))))
