"""Plots as files, each kept as PNG and SVG, and in words: its key figures, for who cannot see it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loopmark.bench.cores import over_cores
from loopmark.bench.errors import BadInput
from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.summary import Row, WorkloadSummary
from loopmark.bench.judge.training import TrainedRow, TrainingSummary
from loopmark.bench.records.files import replace_file
from loopmark.bench.report import cells, rooflines
from loopmark.bench.report import format as show
from loopmark.bench.report.text import elide, slugs
from loopmark.bench.report.training import words

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


NAME_LENGTH = 48


def with_key_figures(
    plots: Sequence[Plot], workloads: Sequence[WorkloadSummary], trained: TrainingSummary | None
) -> list[Plot]:
    """The plots, each with its key figures at the end of its text; all figures are in the tables beside it."""
    timed = {(plot, one.workload): say(one) for plot, say in _OF_TIMING.items() for one in workloads}
    learnt = {("quality", one.workload): _quality(one.rows) for one in (trained.workloads if trained else ())}
    said = {**timed, **learnt}
    return [
        replace(plot, text=f"{plot.text}: {figures}") if (figures := said.get((plot.stem, plot.workload))) else plot
        for plot in plots
    ]


def _phases(workload: WorkloadSummary) -> str:
    def seconds(row: Row) -> float:
        return sum(row.phases.values())

    def say(row: Row) -> str:
        share = cells.shares(row.phases)
        longest = max(share, key=lambda name: share[name])
        return f"{show.seconds(seconds(row))}, {show.percent(share[longest])} of it in {elide(longest, NAME_LENGTH)}"

    return _baseline_and_least([row for row in workload.rows if seconds(row) > 0], seconds, say)


def _steps(workload: WorkloadSummary) -> str:
    measured = [row for row in workload.rows if row.step_seconds is not None]
    return _baseline_and_least(
        measured,
        lambda row: row.step_seconds.value if row.step_seconds else 0.0,
        lambda row: f"{show.seconds_of(row.step_seconds)} a step",
    )


def _speedup(workload: WorkloadSummary) -> str:
    known = [(row.speedup.value, row) for row in workload.rows if row.speedup and not row.case.repeat]
    if not known:
        return ""
    known.sort(key=lambda one: -one[0])
    ends = [row for _, row in ((known[0], known[-1]) if len(known) > 1 else known)]
    return "; ".join(f"{elide(row.case.label, NAME_LENGTH)} {cells.speedup(row)}, {cells.verdict(row)}" for row in ends)


def _break_even(workload: WorkloadSummary) -> str:
    known = [
        (row.break_even_steps, row)
        for row in workload.rows
        if row.break_even_steps and show.known(row.break_even_steps.value) and row.break_even_steps.value >= 1
    ]
    known.sort(key=lambda one: one[0].value)
    return "; ".join(
        f"{elide(row.case.label, NAME_LENGTH)} after {show.count_range(steps)} steps" for steps, row in known[:2]
    )


def _roofline(workload: WorkloadSummary) -> str:
    known = [row for row in workload.rows if row.roofline is not None]
    return _baseline_and_least(
        known,
        lambda row: -row.roofline.utilisation.value if row.roofline else 0.0,
        lambda row: f"MFU {rooflines.utilisation(row)}",
    )


def _baseline_and_least(rows: Sequence[Row], value: Callable[[Row], float], say: Callable[[Row], str]) -> str:
    """What there is to say of the baseline, and of the loop with the least value."""
    others = [row for row in rows if not row.case.repeat]
    least = min(others, key=value, default=None)
    told = [row for row in others if row.case.loop == BASELINE or row is least]
    return "; ".join(f"{elide(row.case.label, NAME_LENGTH)} {say(row)}" for row in told)


def _quality(rows: Sequence[TrainedRow]) -> str:
    """When the baseline and the soonest loop reached the target; empty where none did."""
    known = [(row.learning.seconds, row) for row in rows if row.learning and row.learning.seconds and not row.repeat]
    if not known:
        return ""
    soonest = min(known, key=lambda one: one[0].value)[1]
    told = [row for _, row in known if row.loop == BASELINE or row is soonest]
    said = (
        f"{elide(row.label, NAME_LENGTH)} at the target in {words.seconds(row.learning)}"
        for row in told
        if row.learning
    )
    return "; ".join(said)


_OF_TIMING: dict[str, Callable[[WorkloadSummary], str]] = {
    "phases": _phases,
    "speedup": _speedup,
    "breakeven": _break_even,
    "distribution": _steps,
    "steps": _steps,
    "roofline": _roofline,
}
