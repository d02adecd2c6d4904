"""The layout of plots, in inches: every text has its own place for any number of loops."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopmark.bench.judge.summary import Row
from loopmark.bench.report import style

WIDTH, NARROW = 9.0, 4.0  # of a figure, and of its version for a narrow screen
NAMES = 2.1  # the margin for loops' names beside bars
LEGEND = 2.35  # the margin for a legend beside lines
TITLE = 0.42
LEGEND_ROW = 0.22
BAR, NAMED_BAR = 0.3, 0.46  # from bar to bar, with names beside them or above them
ABOVE = 13.0  # points from a bar's middle to the text above it
LEGEND_LINE = 0.19
NOTE_LINE = 0.15
AXIS = 0.55
EDGE = 0.1
BESIDE = ("axes fraction", "data")  # coordinates of text beside a line or a bar
LEGEND_COLUMNS = 7
ENTRY = 0.85  # the longest entry of three columns in a narrow figure
LOSS_BINS = 120  # the most points across a plot
FEW_STEPS, SAME_LINE = 10, 0.01  # so few points of a loss, all within this share of the scale, say nothing
NOTE = 0.92 * (WIDTH - 2 * EDGE)  # small letters are drawn up to 8 % wider than designed


def bar_axes(rows: Sequence[Row], title: str, entries: Sequence[Line2D], *, right: float, narrow: bool = False) -> Axes:
    """Axes with one line for each row, the first on top, and a legend above; ``narrow`` has names above the bars."""
    labels = style.fitted_all(row.case.label for row in rows)
    if narrow:
        axes = lined_axes(len(rows), NAMED_BAR, title, entries, left=0.15, right=0.15, width=NARROW)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        for y, row in enumerate(rows):
            weight = "bold" if row.is_baseline else "normal"
            above_bar(axes, labels[row.case.label], (0, y), size=9, weight=weight)
        return axes
    axes = lined_axes(len(rows), BAR, title, entries, left=NAMES, right=right)
    axes.set_yticks(range(len(rows)), [labels[row.case.label] for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.is_baseline else "normal")
    return axes


def lined_axes(
    lines: float, line: float, title: str, entries: Sequence[Line2D], *, left: float, right: float, note: str = "",
    width: float = WIDTH,
) -> Axes:  # fmt: skip
    """Axes with places 0, 1, … from the top, ``line`` inches apart, below a title, a note and a legend."""
    below = NOTE_LINE if note else 0.0
    top = TITLE + below + LEGEND_ROW * -(-len(entries) // _legend_columns(entries, width))
    height = top + line * lines + AXIS
    axes = blank_axes(height, left=left, right=right, top=top, bottom=AXIS, title=title, width=width)
    axes.set_ylim(lines - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    write_note(axes, height - TITLE, note)
    legend_above(figure_of(axes), entries, below=below)
    return axes


def line_axes(title: str, entries: Sequence[Line2D], *, note: str = "") -> Axes:
    """Axes for lines, as high as the legend to their right needs."""
    lines = sum(1 + str(entry.get_label()).count("\n") for entry in entries)
    bottom = AXIS + (NOTE_LINE + EDGE if note else 0)
    height = TITLE + max(3.2, LEGEND_LINE * lines + EDGE) + bottom
    axes = blank_axes(height, left=0.95, right=LEGEND, top=TITLE, bottom=bottom, title=title)
    axes.grid(True, color=style.GRID, linewidth=0.6)
    axes.legend(handles=list(entries), loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, handlelength=2.4)
    write_note(axes, EDGE, note)
    return axes


def phase_bars(
    axes: Axes,
    bars: Sequence[tuple[float, Mapping[str, float]]],
    colours: Mapping[str, str],
    thick: float,
    *,
    least: float,
    text: Callable[[float], str],
) -> None:
    """Stack the phases of each bar, given with its place; one longer than ``least`` has the ``text`` of its share."""
    widths = pd.DataFrame([phases for _, phases in bars], [y for y, _ in bars], list(colours), dtype=float).fillna(0.0)
    lefts, shares = widths.cumsum(axis=1) - widths, widths.div(widths.sum(axis=1), axis=0)
    for phase, colour in colours.items():  # all bars at once: hundreds of single calls take twice as long
        own, left, share = widths[phase], lefts[phase], shares[phase]
        axes.barh(widths.index, own, thick, left, color=colour, edgecolor=style.MUTED, linewidth=0.4)
        for y in own.index[own > least]:
            look: dict[str, Any] = {"color": style.DARK_INK, "size": style.SMALL, "ha": "center", "va": "center"}
            axes.text(left[y] + own[y] / 2, y, text(share[y]), **look)


def banded_line(axes: Axes, bands: pd.DataFrame, look: style.LineStyle) -> None:
    """Draw ``median`` over ``at`` as a line, with a band from ``min`` to ``max`` unless it is in the background."""
    if not look.behind:
        axes.fill_between(bands["at"], bands["min"], bands["max"], color=look.colour, alpha=0.12, linewidth=0)
    axes.plot(bands["at"], bands["median"], **look.line)


def loss_lines(
    losses: Mapping[str, pd.DataFrame],
    process: str,
    styles: Mapping[str, style.LineStyle],
    title: str,
    entries: Sequence[Line2D],
    xlabel: str,
) -> Figure | str | None:
    """Loss over steps: the median over processes, and a band from the lowest to the highest; None without a loss.

    A reason not to draw it where all loops have the same few losses.

    Args:
        losses: each loop's table with columns ``step``, ``loss`` and the one named by ``process``, launch or trial.
    """
    losses = {label: table[style.drawn(table["loss"])] for label, table in losses.items()}
    losses = {label: table for label, table in losses.items() if len(table)}
    if not losses:
        return None
    last = max(int(table["step"].max()) for table in losses.values())
    width = max(1, math.ceil((last + 1) / LOSS_BINS))
    drawn = {}
    for label, table in losses.items():
        # A launch reads losses at its lapped steps only, which are random. Bins give launches common steps.
        binned = table.assign(at=table["step"] // width * width + (width - 1) / 2)
        bands = binned.groupby(["at", process])["loss"].mean().groupby("at").agg(["median", "min", "max"])
        drawn[label] = bands
    every = pd.concat(drawn.values())
    low, high = float(every["min"].min()), float(every["max"].max())
    steps = every.groupby("at")
    apart = (steps["max"].max() - steps["min"].min()).max()
    if len(drawn) > 1 and len(steps) <= FEW_STEPS and apart <= SAME_LINE * (high - low):
        return f"No plot of the losses: every loop has the same ones in the {len(steps)} steps that were read."
    axes = line_axes(title, entries)
    for label, bands in drawn.items():
        banded_line(axes, bands.reset_index(), styles[label])
    if low > 0 and high / low > 50:
        axes.set_yscale("log")
        style.log_ticks(axes.yaxis, low, high, lambda value: f"{value:g}")
    processes = {"launch": "launches", "trial": "seeds"}[process]
    axes.set(xlim=(0, last + 1), xlabel=xlabel, ylabel=f"loss, median over {processes}")
    return figure_of(axes)


def figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes are on no figure")
    return figure


def blank_figure(height: float, title: str, width: float = WIDTH) -> Figure:
    """A figure of ``height`` inches with a title."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)  # no window, no global state
    title = style.fitted(title, 0.8 * width, 10.5)  # bold letters are wider
    figure.text(EDGE / width, 1 - 0.12 / height, title, size=10.5, weight="bold", va="top")
    return figure


def blank_axes(
    height: float, *, left: float, right: float, top: float, bottom: float, title: str, width: float = WIDTH
) -> Axes:
    """Axes on a figure of their own, with margins in inches and a title in the top one."""
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return blank_figure(height, title, width).add_axes(box)


def legend_above(figure: Figure, entries: Sequence[Line2D], *, below: float = 0.0) -> None:
    """Draw a legend under the title, ``below`` inches further down."""
    width = figure.get_figwidth()
    corner = EDGE / width, 1 - (TITLE - 0.08 + below) / figure.get_figheight()
    figure.legend(
        handles=list(entries), loc="upper left", bbox_to_anchor=corner, ncols=_legend_columns(entries, width),
        handletextpad=0.4, columnspacing=1.2, borderaxespad=0, borderpad=0,
    )  # fmt: skip


def _legend_columns(entries: Sequence[Line2D], width: float) -> int:
    if width == WIDTH:
        return LEGEND_COLUMNS
    labels = [str(entry.get_label()) for entry in entries]
    return 3 if all(style.fitted(label, ENTRY, 8.0) == label for label in labels) else 2


def offset_text(
    axes: Axes, text: str, at: tuple[float, float], points: tuple[float, float], coordinates: Any, **look: Any
) -> None:
    """Write small text at a distance in ``points`` from ``at``, which may be outside the axes."""
    axes.annotate(
        text, at, points, xycoords=coordinates, textcoords="offset points", annotation_clip=False,
        **{"size": style.SMALL, **look},
    )  # fmt: skip


def above_bar(axes: Axes, text: str, at: tuple[float, float], **look: Any) -> None:
    """Write a text above the bar of a narrow figure, on a ground that hides the lines behind it."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    offset_text(axes, text, at, (0, ABOVE), BESIDE, va="center", bbox=ground, **look)


def write_note(axes: Axes, bottom: float, text: str) -> None:
    """Write a grey line, ``bottom`` inches above the figure's lower edge."""
    figure, line = figure_of(axes), style.fitted(text, NOTE, style.SMALL)
    figure.text(EDGE / WIDTH, bottom / figure.get_figheight(), line, size=style.SMALL, color="#555555")
