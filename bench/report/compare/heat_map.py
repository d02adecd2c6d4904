"""Speedup of every loop on every machine as a heat map."""

import math
import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.side_by_side import WorkloadComparison
from loopmark.bench.judge.summary import Row
from loopmark.bench.report import cells, layout, style
from loopmark.bench.report import format as show
from loopmark.bench.report.compare.board import measured, note_of

COLOURS = LinearSegmentedColormap.from_list("slower to faster", [style.VERMILLION, style.LIGHT_INK, style.BLUE])
"""Orange and blue differ to every eye, and in grey both are darker than the middle."""
LEAST_REACH = math.log(1.25)
"""The scale ends no nearer to 1, so that a few per cent look like a few per cent."""
MOST_REACH = math.log(8)
"""Nor further away: beyond, all is the darkest."""
RIGHT = 1.25
CELL, WIDEST = 0.4, 1.5
LABEL_LINES, NAME_LINES = 3, 2
"""Of a machine's name above its column, and of a loop's beside its row: cut short, those of a family look alike."""
TINY = 6.0
DARK = 0.7
"""The share of the scale from which blue takes white letters."""
KEY = f"below each figure its 95 % interval; {cells.SAME} no claim; grey: not measured"
ABSENT = "#DDDDDD"
"""Light on every page, as its letters are dark."""


def speedups(contest: WorkloadComparison) -> Figure | None:
    """Rows are loops, columns machines. What is no claim is a ~ on the middle colour; what was not measured is grey."""
    loops = [loop for loop in measured(contest) if loop != BASELINE]
    rows = [[entrant.row(contest.workload, loop) for entrant in contest.runs] for loop in loops]
    logs = np.array([[_log(row) for row in line] for line in rows], dtype=float)
    if not any(row is not None and row.speedup for line in rows for row in line):
        return None
    note = note_of(contest)
    columns = len(contest.runs)
    width = min(WIDEST, (layout.WIDTH - layout.NAMES - RIGHT) / columns)
    labels = [_wrapped(entrant.name, width - 0.08, LABEL_LINES) for entrant in contest.runs]
    lines = 1 + max(label.count("\n") for label in labels)
    top = layout.TITLE + layout.NOTE_LINE * (lines + bool(note)) + layout.EDGE
    height = top + max(CELL * len(loops), 1.2) + 0.5
    left_over = layout.WIDTH - layout.NAMES - width * columns
    title = f"{style.fitted(contest.workload)}: speedup over {BASELINE}"
    axes = layout.blank_axes(
        height, left=layout.NAMES, right=left_over, top=top, bottom=height - top - CELL * len(loops), title=title
    )
    if note:
        layout.small_text(axes, layout.EDGE, height - layout.TITLE, style.fitted(note, layout.NOTE, style.SMALL))
    known = np.abs(logs[np.isfinite(logs)])
    reach = min(max(float(known.max()) if known.size else 0.0, LEAST_REACH), MOST_REACH)
    scale = Normalize(-reach, reach)
    axes.set_facecolor(ABSENT)
    axes.pcolormesh(np.ma.masked_invalid(logs), cmap=COLOURS, norm=scale, edgecolors="white", linewidth=1.5)
    axes.set_ylim(len(loops), 0)
    axes.set_xlim(0, columns)
    axes.set_xticks([])
    names = [_wrapped(loop, layout.NAMES - 0.2, NAME_LINES) for loop in loops]
    if len(set(names)) < len(names):  # on one line they are told apart
        names = list(style.fitted_all(loops, layout.NAMES - 0.2, style.SMALL).values())
    axes.set_yticks([i + 0.5 for i in range(len(loops))], names, linespacing=1.1)
    axes.tick_params(length=0, labelsize=style.SMALL)
    axes.spines[:].set_visible(False)
    for x, label in enumerate(labels):
        axes.annotate(
            label, (x + 0.5, 1), (0, 4), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", va="bottom", size=style.SMALL, annotation_clip=False, linespacing=1.1,
        )  # fmt: skip
    for y, line in enumerate(rows):
        for x, row in enumerate(line):
            dark = logs[y, x] > DARK * reach  # the orange end is light enough for black
            _write(axes, x + 0.5, y + 0.5, row, style.LIGHT_INK if dark else style.DARK_INK, width)
    layout.small_text(axes, layout.EDGE, layout.EDGE, KEY)
    _colour_bar(axes, scale, reach, top, height)
    return layout.figure_of(axes)


def _log(row: Row | None) -> float:
    """The logarithm of the speedup; 0 where it is no claim, NaN where there is none."""
    if row is None or row.speedup is None or not 0 < row.speedup.value < math.inf:
        return math.nan
    return math.log(row.speedup.value) if row.verdict in ("faster", "slower") else 0.0


def _write(axes: Axes, x: float, y: float, row: Row | None, ink: str, inches: float) -> None:
    if row is None or row.speedup is None:
        text = show.ABSENT if row is None or row.step_seconds is not None else cells.status(row)
        axes.text(
            x,
            y,
            style.fitted(text, inches - 0.1, style.SMALL),
            size=style.SMALL,
            color=style.DARK_INK,
            ha="center",
            va="center",
        )
        return
    claimed = row.verdict in ("faster", "slower")
    value, _, ends = show.ratio_range(row.speedup).partition(" ")
    value = value if claimed else cells.SAME
    axes.text(x, y - 0.04, value, size=9, color=ink, ha="center", va="bottom", weight="bold" if claimed else "normal")
    ends = style.fitted(ends, inches - 0.06, TINY)
    axes.text(x, y + 0.12, ends, size=TINY, color=ink, ha="center", va="top")


def _wrapped(name: str, inches: float, most: int) -> str:
    """``name`` on at most so many lines, broken behind hyphens, plus signs and spaces."""
    lines = [""]
    for word in re.split(r"(?<=[-+ ])", style.drawable(name)):
        if lines[-1] and style.fitted(lines[-1] + word, inches, style.SMALL) != (lines[-1] + word).rstrip():
            lines.append("")
        lines[-1] += word
    kept = [*lines[: most - 1], "".join(lines[most - 1 :])]
    return "\n".join(style.fitted(line, inches, style.SMALL) for line in kept if line)


def _colour_bar(axes: Axes, scale: Normalize, reach: float, top: float, height: float) -> None:
    figure = layout.figure_of(axes)
    right = axes.get_position().x1
    tall = max(1.0, height - top - 0.6)
    box = (right + 0.2 / layout.WIDTH, 1 - (top + tall) / height, 0.14 / layout.WIDTH, tall / height)
    bar_axes = figure.add_axes(box)
    bar = figure.colorbar(ScalarMappable(scale, COLOURS), cax=bar_axes)
    half = style.round_values(1.0, math.exp(reach), 3)
    ticks = sorted({*half, *(1 / value for value in half)})
    style.fixed_ticks(bar_axes.yaxis, [math.log(tick) for tick in ticks], [f"{tick:.3g}x" for tick in ticks])
    bar_axes.axhline(0, color=style.BLACK, linewidth=1.2)
    bar_axes.tick_params(labelsize=style.SMALL)
    bar.outline.set_visible(False)
    bar_axes.annotate(
        "log scale", (0, 0), (0, -5), xycoords="axes fraction", textcoords="offset points", va="top",
        size=style.SMALL, color="#555555", annotation_clip=False,
    )  # fmt: skip
