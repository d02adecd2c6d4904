"""Plots of trends: the training of loops step by step, and speedups run by run."""

import math
import statistics
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopmark.bench.judge.history import Point, Series, SeriesSubject
from loopmark.bench.judge.training import TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.records.training import TrainingSamples
from loopmark.bench.report import layout, show, style
from loopmark.bench.report.history import signed, where
from loopmark.bench.report.training_table import Starts

MOST_EVALUATIONS = 240  # of a loop in a plot; with more, neighbouring steps are drawn as one


def quality(
    workload: TrainedWorkload,
    summary: TrainingSummary,
    samples: TrainingSamples,
    styles: dict[str, style.LineStyle],
    starts: Starts,
) -> Figure | None:
    """Quality on held-out data against the seconds spent training: the median over seeds, and a band over all seeds.

    Start-up is not on the axis but in the legend: a compilation of twenty seconds would leave no room for a training
    of one second. A dot marks the time when the target was reached.
    """
    rows = _trained(workload)
    if workload.target is None or not rows:
        return None
    entries, drawn = [], []
    target = Line2D([], [], color=style.BLACK, linestyle=style.DASHES[1], linewidth=0.9, label="target")
    for row in rows:
        course = _course(row, summary, samples.evaluations)
        if course is not None:
            known = starts.get((row.workload, row.loop))
            start = row.learning.start_seconds if known is None and row.learning else known
            late = f"\nafter {show.seconds(start)} to start" if start else ""
            if not styles[row.label].behind:
                entries.append(styles[row.label].proxy(late))
            drawn.append((row, course))
    if not drawn:
        return None
    title = f"{style.fitted(workload.workload)}: {style.fitted(workload.target.metric)} on held-out data"
    entries += style.legend(styles[row.label] for row, _ in drawn if styles[row.label].behind)
    axes = layout.line_axes(title, [*entries, target])
    axes.axhline(workload.target.value, color=style.BLACK, linestyle=style.DASHES[1], linewidth=0.9)
    longest = max(float(course["seconds"].max()) for _, course in drawn)
    size, unit = show.seconds_unit(longest or 1.0)
    for row, course in drawn:
        look = styles[row.label]
        layout.banded_line(axes, course.assign(at=course["seconds"] / size), look)
        if row.learning and row.learning.seconds and not look.behind:
            at = row.learning.seconds.value / size, workload.target.value
            axes.plot(*at, look.marker, color=look.colour, markersize=7, markeredgecolor="white", zorder=3)
    values = [workload.target.value]
    for _, course in drawn:
        values += [float(course["min"].min()), float(course["max"].max())]
    room = (max(values) - min(values)) * 0.05 or 0.5
    axes.set(xlim=(0, longest / size * 1.02 or 1.0), ylim=(min(values) - room, max(values) + room))
    axes.set_xlabel(f"{unit} of training, without set-up and compilation; median over seeds")
    axes.set_ylabel(style.fitted(workload.target.metric))
    return layout.figure_of(axes)


def losses(
    workload: TrainedWorkload, summary: TrainingSummary, samples: TrainingSamples, styles: dict[str, style.LineStyle]
) -> Figure | str | None:
    """The training loss over steps: the median over seeds, and a band over all seeds."""
    rows = [row for row in _trained(workload) if row.learning]
    read = samples.training_losses
    losses = {row.label: read[read["trial"].isin(_trials(row, summary))] for row in rows}
    title, entries = f"{style.fitted(workload.workload)}: the loss in training", [styles[row.label] for row in rows]
    trials = [trial for trial in summary.training.trials if trial.workload == workload.workload]
    epochs = {trial.steps_per_epoch for trial in trials if trial.steps_per_epoch}
    epoch = f"; an epoch is {epochs.pop():,} of them" if len(epochs) == 1 else ""
    return layout.loss_lines(losses, "trial", styles, title, style.legend(entries), f"step{epoch}")


def _trained(workload: TrainedWorkload) -> list[TrainedRow]:
    return [row for row in workload.rows if row.learning and row.learning.trials]


def _trials(row: TrainedRow, summary: TrainingSummary) -> list[int]:
    return [i for i, trial in enumerate(summary.training.trials) if trial.key == (row.workload, row.loop)]


def _course(row: TrainedRow, summary: TrainingSummary, evaluations: pd.DataFrame) -> pd.DataFrame | None:
    """Median seconds, and median, least and greatest quality, for each step with an evaluation of any seed.

    Neighbouring steps are joined where a plot has no room for all.
    """
    judged = {one.trial: one for one in row.learning.trials} if row.learning else {}
    trials = {i: judged[trial] for i, trial in enumerate(summary.training.trials) if trial in judged}
    own = evaluations[evaluations["trial"].isin(list(trials)) & style.drawn(evaluations["quality"])]
    if own.empty:
        return None
    late = {i: one.start_seconds - (one.trial.setup_seconds or 0.0) for i, one in trials.items()}
    order = np.unique(own["step"], return_inverse=True)[1]
    group = order // math.ceil((int(order.max()) + 1) / MOST_EVALUATIONS)
    steps = own.assign(seconds=(own["seconds"] - own["trial"].map(late)).clip(lower=0.0)).groupby(group)
    bands = steps["quality"].agg(["median", "min", "max"])
    return bands.assign(seconds=steps["seconds"].median())


# Inches. LEFT is the margin for axis labels, RIGHT for the names of the runs with changes.
LEFT, RIGHT = 0.75, 2.45
TOP, BOTTOM = 0.76, 0.55
PANEL = 0.85
HEADING = 0.24  # above each panel: the loop's name and its latest figure
LINE = 0.15
RUN_INCHES = 1.3
DAYS = 5  # labels along the runs, at most
MOST_EMPTY = 4.0  # the greatest height of a panel with the baseline, as a multiple of what its figures need
LEAST_SPAN = 0.02
LARGEST_LOG = 700.0  # a larger logarithm overflows a float


def history(series: Sequence[Series]) -> Figure:
    """The loops of one subject, one below the other along the same runs; each has its own scale."""
    runs = sorted({(p.started, p.run.name, p.folder) for one in series for p in one.points})
    place = {folder: i for i, (_, _, folder) in enumerate(runs)}
    heights = [max(PANEL, LINE * len(one.changes)) for one in series]
    height = TOP + sum(heights) + HEADING * len(heights) + BOTTOM
    figure = _history_figure(height, series[0].subject)
    top = height - TOP
    for one, tall in zip(series, heights, strict=True):
        top -= HEADING + tall
        box = (LEFT / layout.WIDTH, top / height, 1 - (LEFT + RIGHT) / layout.WIDTH, tall / height)
        axes = figure.add_axes(box)
        _history_panel(axes, one, [place[point.folder] for point in one.points])
        _run_axis(axes, [started for started, _, _ in runs], last=one is series[-1])
    return figure


def _history_figure(height: float, subject: SeriesSubject) -> Figure:
    """A figure with its title, note and legend, and room for the panels."""
    base = style.fitted(subject.baseline)
    figure = layout.blank_figure(height, f"{style.fitted(subject.workload)}: speedup over {base}, run by run")
    note = style.fitted(where(subject), layout.NOTE, style.SMALL)
    figure.text(layout.EDGE / layout.WIDTH, 1 - 0.37 / height, note, size=style.SMALL, color="#555555", va="top")
    entries = [
        Line2D([], [], color=style.GREY, marker="o", markersize=4, linewidth=0.9, label="a run, 95 % interval"),
        Line2D([], [], color=style.BLACK, linewidth=2, label="level"),
        Line2D([], [], color=style.FASTER, linestyle=style.DASHES[1], label="became faster"),
        Line2D([], [], color=style.SLOWER, linestyle=style.DASHES[1], label="became slower"),
        Line2D([], [], color=style.BLACK, linewidth=0.9, label=f"{base} (1x), where in view"),
    ]
    layout.legend_above(figure, entries, below=0.22)
    return figure


def _history_panel(axes: Axes, series: Series, places: Sequence[int]) -> None:
    low, high = _view(series)
    axes.set_yscale("log")
    axes.set_ylim(low, high)  # before drawing: matplotlib's automatic limits fail for absurd figures
    axes.axhline(1, color=style.BLACK, linewidth=0.9, zorder=1)
    # One line with gaps: hundreds of single lines take seconds to draw.
    across = [at for place in places for at in (place, place, math.nan)]
    ends = [end for point in series.points for end in (*_interval(point), math.nan)]
    axes.plot(across, ends, color=style.GREY, linewidth=0.9, solid_capstyle="butt", zorder=2)
    colour = style.loop_colour(series.loop)
    values = [point.speedup.value for point in series.points]
    axes.plot(places, values, "o", color=style.GREY, markersize=4 if len(values) < 100 else 2.5, zorder=2.5)
    for level in series.levels:
        first, last, ratio = places[level.start], places[level.end - 1], level.speedup
        across = [first - 0.4, last + 0.4]
        if series.is_long_enough:
            axes.fill_between(across, ratio.low, ratio.high, color=colour, alpha=0.18, linewidth=0, zorder=1.5)
            axes.plot(across, [ratio.value] * 2, color=colour, linewidth=1.6, solid_capstyle="butt", zorder=3)
    style.log_ticks(axes.yaxis, low, high, lambda value: f"{value:g}x", most=3)
    axes.grid(True, axis="y", color=style.GRID, linewidth=0.6)
    axes.tick_params(axis="y", labelsize=style.SMALL)
    name, latest = style.fitted(series.loop, 3.2), f"latest {show.ratio_range(series.points[-1].speedup)}"
    layout.offset_text(axes, name, (0, 1), (0, 4), "axes fraction", size=9, weight="bold")
    layout.offset_text(axes, latest, (1, 1), (0, 4), "axes fraction", ha="right", color="#555555")
    for number, change in enumerate(series.changes):
        at = (places[change.at - 1] + places[change.at]) / 2
        colour = style.FASTER if change.is_improvement else style.SLOWER
        axes.axvline(at, color=colour, linestyle=style.DASHES[1], linewidth=1.2, zorder=2)
        text = f"{style.fitted(change.point.run.name, RUN_INCHES, style.SMALL)}  {signed(change)}"
        below = 8, -72 * LINE * number
        layout.offset_text(axes, text, (1, 1), below, "axes fraction", va="top", color=colour)


def _run_axis(axes: Axes, starts: Sequence[datetime], *, last: bool) -> None:
    axes.set_xlim(-0.6, len(starts) - 0.4)
    days = {start.date() for start in starts}
    form = "%Y-%m-%d" if len(days) > 1 else "%H:%M"
    shown = range(0, len(starts), max(1, math.ceil((len(starts) - 1) / (DAYS - 1))))
    style.fixed_ticks(axes.xaxis, shown, [starts[i].strftime(form) if last else "" for i in shown])
    axes.tick_params(axis="x", labelsize=style.SMALL)
    if last:
        on = "" if len(days) > 1 else f" on {starts[0]:%Y-%m-%d}"
        axes.set_xlabel(f"runs in order, by their start (UTC){on}")


def _interval(point: Point) -> list[float]:
    """Both ends, or the value twice if the run has no interval."""
    ratio = point.speedup
    return [ratio.low, ratio.high] if ratio.low > 0 and ratio.high < math.inf else [ratio.value] * 2


def _view(series: Series) -> tuple[float, float]:
    """The ends of a panel's scale, for all values, a usual interval, and the baseline unless it is far away.

    The widest interval does not count: one disturbed run would flatten all others.
    """
    values = [math.log(point.speedup.value) for point in series.points if 0 < point.speedup.value < math.inf] or [0.0]
    halves = [(math.log(end[1]) - math.log(end[0])) / 2 for end in map(_interval, series.points)]
    half = max(statistics.median(halves), LEAST_SPAN / 2)
    low, high = min(values) - half, max(values) + half
    if series.is_long_enough:
        low = min([low, *(math.log(level.speedup.low) for level in series.levels if level.speedup.low > 0)])
        high = max([high, *(math.log(level.speedup.high) for level in series.levels if level.speedup.high < math.inf)])
    with_baseline = min(low, 0.0), max(high, 0.0)
    if with_baseline[1] - with_baseline[0] <= MOST_EMPTY * (high - low):
        low, high = with_baseline
    spare = 0.1 * (high - low)
    return math.exp(max(low - spare, -LARGEST_LOG)), math.exp(min(high + spare, LARGEST_LOG))
