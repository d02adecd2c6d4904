"""Everything a run, a training or several runs side by side have to say, on one page that stands alone."""

from collections.abc import Sequence
from typing import Any

from loopmark.bench.report import format as show
from loopmark.bench.report.html.plots import fitting
from loopmark.bench.report.html.templates import render
from loopmark.bench.report.plot_files import Plot

MOST_BYTES = 4_900_000
"""Of a page."""


def run_page(contents: dict[str, Any], plots: Sequence[Plot]) -> str:
    """The page of what ``contents`` made of a run; ``plots`` in the order of their importance."""
    return _page("run.html.jinja", plots, **contents, duration=show.seconds(contents["run"].seconds))


def training_page(contents: dict[str, Any], plots: Sequence[Plot]) -> str:
    """The page of a training where nothing was timed."""
    return _page("training.html.jinja", plots, **contents)


def comparison_page(contents: dict[str, Any], plots: Sequence[Plot]) -> str:
    """``compare.html``, of what ``contents`` made of runs side by side."""
    return _page("compare.html.jinja", plots, **contents)


def _page(template: str, plots: Sequence[Plot], **contents: Any) -> str:
    """With all the plots that there is room for beside the rest; the others stay files."""
    rest = len(render(template, **contents, shown=()).encode())
    return render(template, **contents, shown=fitting(plots, MOST_BYTES - rest))
