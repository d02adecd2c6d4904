"""Everything a run, a training or several runs side by side have to say, on one page that stands alone."""

from collections.abc import Sequence
from typing import Any

from bench.report import format as show
from bench.report.html.plots import fitting
from bench.report.html.templates import render
from bench.report.plot_files import Plot


def run_page(contents: dict[str, Any], plots: Sequence[Plot]) -> str:
    """The page of what ``contents`` made of a run; ``plots`` in the order of their importance."""
    return render("run.html.jinja", **contents, duration=show.seconds(contents["run"].seconds), shown=fitting(plots))


def training_page(contents: dict[str, Any], plots: Sequence[Plot]) -> str:
    """The page of a training where nothing was timed."""
    return render("training.html.jinja", **contents, shown=fitting(plots))


def comparison_page(contents: dict[str, Any], plots: Sequence[Plot]) -> str:
    """``compare.html``, of what ``contents`` made of runs side by side."""
    return render("compare.html.jinja", **contents, shown=fitting(plots))
