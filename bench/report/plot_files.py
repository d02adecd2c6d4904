"""Plots as files: each drawn once, kept as PNG and SVG, and named by what it shows and on which workload."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopmark.bench.cores import over_cores
from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import replace_file
from loopmark.bench.report.text import slugs

PLOTS = {
    "phases": "Seconds a step in each phase, stacked, for every loop",
    "speedup": "Speedup of every loop with its interval",
    "breakeven": "Time since the start over the baseline's, as steps go by",
    "distribution": "Distribution of every loop's step times, with the median of each launch",
    "steps": "Step time of every loop over the rounds of the run",
    "losses": "Loss of every loop over its steps",
    "roofline": "Operations a second over operations a byte in each phase, below the roofline that was measured",
    "quality": "Quality on held-out data as time goes by, for every loop",
    "training": "Loss of every loop as it trained to its target",
    "batches": "Samples a second of every loop over its batch size",
    "machines": "Samples a second of every loop, side by side",
    "speedups": "Speedups of every loop side by side, as a heat map",
    "shares": "Share of a step in each phase, for every loop side by side",
    "memory": "Bytes in use from moment to moment within a step",
}
"""File name stem of each plot and what it shows, in the order of the page."""


@dataclass(frozen=True)
class Plot:
    """A plot that was drawn for a workload."""

    workload: str
    file: str
    """Its file's name in ``plots/``."""
    stem: str
    text: str
    """What it shows, for who cannot see it."""
    svg: str = ""
    """The drawing itself."""


Figures = Iterable[tuple[str, str, Callable[[], Any]]]
"""Workload, stem, and what makes the figure or None."""


def draw_plots(folder: Path, workloads: Iterable[str], figures: Figures) -> list[Plot]:
    """Draw ``figures`` into ``folder``, and take away an earlier drawing of one that has nothing to show now.

    No other file is touched: the folder may be a person's own, and so may whatever else lies in it.
    """
    # Drawing is the only command that needs matplotlib, which takes longer to import than all the rest.
    from loopmark.bench.report import style

    if folder.is_symlink():
        raise BadInput(f"{folder} is a link; remove it, since plots are written to the run's own folder")
    slug = slugs(workloads)

    def draw(workload: str, stem: str, figure_of: Callable[[], Any]) -> Plot | None:
        figure = figure_of()
        png, svg = (folder / f"{stem}-{slug[workload]}.{kind}" for kind in ("png", "svg"))
        if figure is None:
            png.unlink(missing_ok=True)
            svg.unlink(missing_ok=True)
            return None
        folder.mkdir(exist_ok=True)
        replace_file(png, style.save(figure, "png"))
        drawing = style.save(figure, "svg")
        replace_file(svg, drawing)
        return Plot(workload, svg.name, stem, f"{PLOTS[stem]}, on {workload}", drawing.decode())

    with style.styled():
        return [plot for plot in over_cores(lambda figure: draw(*figure), figures) if plot is not None]
