"""Plots as PNG and SVG files, and their key figures in words, for readers who cannot see them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
    "phases": ("Seconds a step in each phase, stacked, for every loop", ""),
    "speedup": ("Speedup of every loop with its interval", "Right of 1x is faster."),
    "breakeven": (
        "Time since the start over the baseline's, as steps go by",
        "A loop has made up for its start where its line crosses 1x.",
    ),
    "distribution": (
        "Distribution of every loop's step times, with the median of each launch",
        "Separate humps are launches that differ as a whole.",
    ),
    "steps": ("Step time of every loop over the rounds of the run", "All lines rise if the machine is slower."),
    "losses": ("Loss of every loop over its steps", "A band holds the losses of all launches."),
    "roofline": (
        "Operations a second over operations a byte in each phase, below the roofline that was measured",
        "The nearer to its line, the less a faster kernel can gain.",
    ),
    "quality": ("Quality on held-out data as time goes by, for every loop", "At a marker the target is reached."),
    "training": ("Loss of every loop as it trained to its target", "A band holds the losses of all seeds."),
    "batches": ("Samples a second of every loop over its batch size", ""),
    "machines": ("Samples a second of every loop, side by side", ""),
    "speedups": ("Speedups of every loop side by side, as a heat map", ""),
    "shares": ("Share of a step in each phase, for every loop side by side", ""),
    "history": ("Speedup of every loop, run by run", ""),
    "memory": ("Bytes in use from moment to moment within a step", ""),
}  # the content of each plot, and how to read it, by the stem of its file's name, in order of importance

NARROW = ("phases", "speedup")  # the plots whose functions draw a narrow version too


@dataclass(frozen=True)
class Plot:
    """A plot that was drawn for a workload."""

    workload: str
    file: str  # its name in ``plots/``
    stem: str
    text: str  # a description, for readers who cannot see it; or the reason why there is no drawing
    svg: str = ""  # the drawing itself
    narrow: str = ""  # a drawing for narrow screens
    caption: str = ""  # what its title does not say: its key figures, and how to read it


Figures = Iterable[tuple[str, str, Callable[..., Any]]]
"""Workload, stem, and a function that returns the figure, a reason why it would say nothing, or None without data."""


def draw_plots(folder: Path, figures: Figures, told: Mapping[tuple[str, str], str] | None = None) -> list[Plot]:
    """Draw ``figures`` into ``folder``, and remove the old files of one that is not drawn now.

    No other file is touched: the folder, or other files in it, may be a user's own.

    Args:
        told: the key figures of a plot in words, by its stem and workload; the tables have all figures.
    """
    # Only drawing needs matplotlib, whose import takes longer than all others together.
    from loopmark.bench.report import style

    if folder.is_symlink():
        raise BadInput(f"{folder} is a link; remove it, since plots are written to the run's own folder")
    figures = list(figures)
    slug = slugs(workload for workload, *_ in figures)

    def draw(workload: str, stem: str, figure_of: Callable[..., Any]) -> Plot | None:
        figure = figure_of()
        png, svg = (folder / f"{stem}-{slug[workload]}.{kind}" for kind in ("png", "svg"))
        if figure is None or isinstance(figure, str):
            png.unlink(missing_ok=True)
            svg.unlink(missing_ok=True)
            return Plot(workload, svg.name, stem, figure) if figure else None
        folder.mkdir(exist_ok=True)
        replace_file(png, style.save(figure, "png"))
        drawing = style.save(figure, "svg")
        replace_file(svg, drawing)
        (content, reading), figures = PLOTS[stem], (told or {}).get((stem, workload), "")
        text = ": ".join(filter(None, (f"{content}, on {workload}", figures)))
        caption = ". ".join(filter(None, (figures, reading)))
        narrow = style.save(figure_of(narrow=True), "svg") if stem in NARROW else b""
        return Plot(workload, svg.name, stem, text, drawing.decode(), narrow.decode(), caption)

    with style.styled():
        return [plot for plot in over_cores(lambda figure: draw(*figure), figures) if plot is not None]


@contextmanager
def redrawing(folder: Path) -> Iterator[None]:
    """Raise BadInput if ``folder`` cannot be written, or has a file in a folder's place or the reverse."""
    try:
        yield
    except OSError as error:
        path = Path(error.filename2 or error.filename or folder)
        said = f"cannot write {error.filename or folder}: {error.strerror}; copy the run elsewhere"
        if path.is_dir() and path != folder and isinstance(error, (IsADirectoryError, PermissionError)):
            said = f"{path} is a folder, but must be a file; move it away"
        elif isinstance(error, (FileExistsError, NotADirectoryError)):
            said = f"{path} is not a folder, but must be one; move it away"
        raise BadInput(said) from None


Told = tuple[float, str] | None  # the figure to choose a row by, and its text
KeyFigure = tuple[Case | TrainedRow, float, str]  # the same, after its case


def case_figures(workloads: Sequence[WorkloadSummary], trained: TrainingSummary | None) -> dict[tuple[str, str], str]:
    """The key figures of the plots of a run or a training, for ``draw_plots``."""
    told: dict[tuple[str, str], list[KeyFigure]] = {}
    for workload in workloads:
        for plot, (of, chosen) in _KEY_FIGURES.items():
            known: list[KeyFigure] = [(row.case, *found) for row in workload.rows if (found := of(row))]
            told[plot, workload.workload] = chosen(known, workload.baseline)
    for one in trained.workloads if trained else ():
        reached: list[KeyFigure] = [(row, *found) for row in one.rows if (found := _quality(row))]
        told["quality", one.workload] = _baseline_and_least(reached, one.baseline)
    return {key: "; ".join(f"{short(case.label)} {text}" for case, _, text in of) for key, of in told.items()}


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
