"""A plot with a group for each loop and, in it, a line for each machine or run: every text has a place of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.side_by_side import ComparedRun, WorkloadComparison
from loopmark.bench.judge.summary import Row
from loopmark.bench.report import cells, layout, style
from loopmark.bench.report.compare import words as words

LINE = 0.19
"""Inches from one line to the next."""
LEFT = 2.25
NAME = LEFT - 0.2
INDENT = 0.12
APART = 0.35
"""Lines between two groups, or a loop's name would stand as near to the bars above as to its own."""
THICK = 0.78
"""Of a bar, in lines."""


@dataclass(frozen=True)
class Place:
    """A line of the plot."""

    y: float
    entrant: ComparedRun
    row: Row


def board(
    contest: WorkloadComparison, title: str, entries: Sequence[Line2D], *, right: float, note: str = ""
) -> tuple[Axes, list[Place]]:
    """The axes, a loop's name above each group, and the places of the rows that have figures.

    A row without figures says why in its place.
    """
    notes = [note] if note else []
    legend = -(-len(entries) // layout.LEGEND_COLUMNS)
    top = layout.TITLE + layout.NOTE_LINE * len(notes) + layout.LEGEND_ROW * legend
    groups = {loop: contest.rows(loop) for loop in measured(contest)}
    lines = sum(APART + 1 + len(rows) for rows in groups.values()) - APART
    height = top + LINE * lines + layout.AXIS
    axes = layout.blank_axes(height, left=LEFT, right=right, top=top, bottom=layout.AXIS, title=title)
    axes.set_ylim(lines - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelsize=style.SMALL)
    axes.spines["left"].set_visible(False)
    for text in notes:
        layout.small_text(axes, layout.EDGE, height - layout.TITLE, style.fitted(text, layout.NOTE, style.SMALL))
    if entries:
        layout.legend_above(axes, entries, below=layout.NOTE_LINE * len(notes))
    return axes, list(_places(axes, groups))


def _places(axes: Axes, groups: dict[str, list[tuple[ComparedRun, Row]]]) -> Iterator[Place]:
    y, ticks = 0.0, {}
    names = style.fitted_all(groups, 3.5, 8.5)
    for loop, rows in groups.items():
        weight = "bold" if loop == BASELINE else "normal"
        axes.annotate(
            names[loop], (0, y), (72 * (layout.EDGE - LEFT), 0),
            xycoords=("axes fraction", "data"), textcoords="offset points", size=8.5, weight=weight, va="center",
            annotation_clip=False,
        )  # fmt: skip
        for place in (Place(y + 1 + i, *pair) for i, pair in enumerate(rows)):
            ticks[place.y] = style.fitted(place.entrant.name, NAME - INDENT, style.SMALL)
            if place.row.step_seconds is None:
                beside(axes, place.y, 0, cells.why(place.row), inches=4.0)
            else:
                yield place
        y += 1 + len(rows) + APART
    axes.set_yticks(list(ticks), list(ticks.values()))


def beside(axes: Axes, y: float, x: float, text: str, *, inches: float) -> None:
    """A grey text in a line, from the axes' fraction ``x`` on."""
    axes.annotate(
        style.fitted(text, inches, style.SMALL), (x, y), (6, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", size=style.SMALL, va="center", color="#555555", annotation_clip=False,
    )  # fmt: skip


def measured(contest: WorkloadComparison) -> list[str]:
    """The loops that have figures anywhere; the table says why the others have none."""
    return [loop for loop in contest.loops if any(row.step_seconds is not None for _, row in contest.rows(loop))]


def note_of(contest: WorkloadComparison) -> str:
    """What the title does not say: that the work is not the same."""
    return "" if contest.is_same_work else words.other_work(contest)
