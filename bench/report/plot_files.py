"""Plots as PNG and SVG files, and their key figures in words, for readers who cannot see them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from loopmark.bench.cores import over_cores
from loopmark.bench.errors import BadInput
from loopmark.bench.judge.summary import Row, WorkloadSummary
from loopmark.bench.judge.training import TrainedRow, TrainingSummary
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.run import Case
from loopmark.bench.report import cells, show
from loopmark.bench.report import training_words as words
from loopmark.bench.report.text import short, slugs

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
    "history": "Speedup of every loop, run by run",
    "memory": "Bytes in use from moment to moment within a step",
}  # what each plot shows, by the stem of its file's name, in the order of the page


@dataclass(frozen=True)
class Plot:
    """A plot that was drawn for a workload."""

    workload: str
    file: str  # its name in ``plots/``
    stem: str
    text: str  # a description, for readers who cannot see it
    svg: str = ""  # the drawing itself


Figures = Iterable[tuple[str, str, Callable[[], Any]]]  # workload, stem, and a function that returns the figure or None


def draw_plots(folder: Path, workloads: Iterable[str], figures: Figures) -> list[Plot]:
    """Draw ``figures`` into ``folder``, and remove the old files of a figure that is None now.

    No other file is touched: the folder, or other files in it, may be a user's own.
    """
    # Only drawing needs matplotlib, whose import takes longer than all others together.
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


def unwritable_folder(folder: Path, error: OSError) -> BadInput:
    """The error for a folder that cannot be written, or has a file in a folder's place or the reverse."""
    path = Path(error.filename2 or error.filename or folder)
    if path.is_dir() and path != folder and isinstance(error, (IsADirectoryError, PermissionError)):
        return BadInput(f"{path} is a folder, but must be a file; move it away")
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return BadInput(f"{path} is not a folder, but must be one; move it away")
    return BadInput(f"cannot write {error.filename or folder}: {error.strerror}; copy the run elsewhere")


Told = tuple[float, str] | None  # the figure to choose a row by, and its text
KeyFigure = tuple[Case | TrainedRow, float, str]  # the same, after its case


def with_case_figures(
    plots: Sequence[Plot], workloads: Sequence[WorkloadSummary], trained: TrainingSummary | None
) -> list[Plot]:
    """The plots, each with its key figures at the end of its text; the tables have all figures."""
    told: dict[tuple[str, str], list[KeyFigure]] = {}
    for workload in workloads:
        for plot, (of, chosen) in _KEY_FIGURES.items():
            known: list[KeyFigure] = [(row.case, *found) for row in workload.rows if (found := of(row))]
            told[plot, workload.workload] = chosen(known, workload.baseline)
    for one in trained.workloads if trained else ():
        reached: list[KeyFigure] = [(row, *found) for row in one.rows if (found := _quality(row))]
        told["quality", one.workload] = _baseline_and_least(reached, one.baseline)
    said = {key: "; ".join(f"{short(case.label)} {text}" for case, _, text in of) for key, of in told.items()}
    return [
        replace(plot, text=f"{plot.text}: {figures}") if (figures := said.get((plot.stem, plot.workload))) else plot
        for plot in plots
    ]


def _phases(row: Row) -> Told:
    share, seconds = cells.shares(row.phases), sum(row.phases.values())
    if not share:
        return None
    longest = max(share, key=lambda name: share[name])
    return seconds, f"{show.seconds(seconds)}, {show.percent(share[longest])} of it in {short(longest)}"


def _step(row: Row) -> Told:
    step = row.step_seconds
    return (step.value, f"{show.seconds_of(step)} a step") if step else None


def _speedup(row: Row) -> Told:
    if row.speedup is None or row.case.repeat:
        return None
    return -row.speedup.value, f"{cells.speedup(row)}, {cells.verdict(row)}"


def _break_even(row: Row) -> Told:
    steps = row.break_even_steps
    if steps is None or not show.known(steps.value) or steps.value < 1:
        return None
    return steps.value, f"after {show.count_range(steps)} steps"


def _roofline(row: Row) -> Told:
    utilisation = row.roofline.utilisation.value if row.roofline else None
    return None if utilisation is None else (-utilisation, f"MFU {show.percent(utilisation)}")


def _quality(row: TrainedRow) -> Told:
    if row.learning is None or row.learning.seconds is None:
        return None
    return row.learning.seconds.value, f"at the target in {words.seconds(row.learning)}"


def _baseline_and_least(figures: list[KeyFigure], baseline: str) -> list[KeyFigure]:
    others = [one for one in figures if not one[0].repeat]
    least = min(others, key=itemgetter(1), default=None)
    return [one for one in others if one[0].loop == baseline or one is least]


def _least_and_most(figures: list[KeyFigure], _: str) -> list[KeyFigure]:
    ordered = sorted(figures, key=itemgetter(1))
    return ordered[:1] + ordered[1:][-1:]


_KEY_FIGURES = {
    "phases": (_phases, _baseline_and_least),
    "speedup": (_speedup, _least_and_most),
    "breakeven": (_break_even, lambda figures, _: sorted(figures, key=itemgetter(1))[:2]),
    "distribution": (_step, _baseline_and_least),
    "steps": (_step, _baseline_and_least),
    "roofline": (_roofline, _baseline_and_least),
}
