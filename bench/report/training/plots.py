"""The plots of how loops trained: quality as time goes by, and the loss as steps do."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopmark.bench.judge.training import TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.records.training import TrainingSamples
from loopmark.bench.report import format as show
from loopmark.bench.report import layout, style
from loopmark.bench.report.training.table import Starts

LOSS_BINS = 120
MOST_EVALUATIONS = 240
"""Of a loop; of more, those of neighbouring steps are drawn as one."""


def quality(
    workload: TrainedWorkload,
    summary: TrainingSummary,
    samples: TrainingSamples,
    styles: dict[str, style.LineStyle],
    starts: Starts,
) -> Figure | None:
    """Quality on held-out data against the seconds spent training: the median over seeds, and a band from end to end.

    Getting going is left aside on the axis, and told in the legend: a compilation of twenty seconds would leave a
    training of one no room. A dot marks where the target was reached.
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
        layout.banded_line(axes, course.assign(at=course["seconds"] / size), styles[row.label])
        _mark_target(axes, row, size, workload.target.value, styles[row.label])
    axes.set_xlim(0, longest / size * 1.02 or 1.0)
    axes.set_ylim(*_quality_limits([course for _, course in drawn], workload.target.value))
    axes.set_xlabel(f"{unit} of training, without set-up and compilation; median over seeds")
    axes.set_ylabel(style.fitted(workload.target.metric))
    return layout.figure_of(axes)


def losses(
    workload: TrainedWorkload, summary: TrainingSummary, samples: TrainingSamples, styles: dict[str, style.LineStyle]
) -> Figure | None:
    """The training loss over steps: the median over seeds, and a band from the least to the most of them."""
    rows = [row for row in _trained(workload) if row.learning]
    read = samples.training_losses[style.drawn(samples.training_losses["loss"])]
    trials = {row.label: _trials(row, summary) for row in rows}
    read = read[read["trial"].isin([trial for several in trials.values() for trial in several])]
    if read.empty:
        return None
    axes = layout.line_axes(
        f"{style.fitted(workload.workload)}: the loss in training",
        style.legend(styles[row.label] for row in rows),
    )
    width = max(1, math.ceil((int(read["step"].max()) + 1) / LOSS_BINS))
    binned = read.assign(at=read["step"] // width * width + (width - 1) / 2)
    drawn = []
    for row in rows:
        means = binned[binned["trial"].isin(trials[row.label])].groupby(["at", "trial"])["loss"].mean().groupby("at")
        bands = means.agg(["median", "min", "max"]).reset_index()
        if len(bands):
            drawn.append(bands)
            layout.banded_line(axes, bands, styles[row.label])
    low, high = (float(pd.concat(drawn)[column].agg(how)) for column, how in (("min", "min"), ("max", "max")))
    if low > 0 and high / low > 50:
        axes.set_yscale("log")
        style.log_ticks(axes.yaxis, low, high, lambda value: f"{value:g}")
    axes.set_xlim(0, float(read["step"].max()) + 1)
    epoch = _steps_per_epoch(workload, summary)
    axes.set_xlabel("step" if epoch is None else f"step; an epoch is {epoch:,} of them")
    axes.set_ylabel("loss, median over seeds")
    return layout.figure_of(axes)


def _trained(workload: TrainedWorkload) -> list[TrainedRow]:
    return [row for row in workload.rows if row.learning and row.learning.trials]


def _trials(row: TrainedRow, summary: TrainingSummary) -> list[int]:
    return [i for i, trial in enumerate(summary.training.trials) if trial.key == (row.workload, row.loop)]


def _course(row: TrainedRow, summary: TrainingSummary, evaluations: pd.DataFrame) -> pd.DataFrame | None:
    """For each step at which any seed was measured: median seconds, and the median, least and best quality.

    Of more steps than a plot has room for, neighbours are taken together.
    """
    lessons = {lesson.trial: lesson for lesson in row.learning.trials} if row.learning else {}
    trials = {i: lessons[trial] for i, trial in enumerate(summary.training.trials) if trial in lessons}
    own = evaluations[evaluations["trial"].isin(list(trials)) & style.drawn(evaluations["quality"])]
    if own.empty:
        return None
    late = {i: lesson.start_seconds - (lesson.trial.setup_seconds or 0.0) for i, lesson in trials.items()}
    order = np.unique(own["step"], return_inverse=True)[1]
    group = order // math.ceil((int(order.max()) + 1) / MOST_EVALUATIONS)
    steps = own.assign(seconds=(own["seconds"] - own["trial"].map(late)).clip(lower=0.0)).groupby(group)
    return pd.DataFrame(
        {
            "seconds": steps["seconds"].median(),
            "median": steps["quality"].median(),
            "min": steps["quality"].min(),
            "max": steps["quality"].max(),
        }
    )


def _mark_target(axes: Axes, row: TrainedRow, size: float, target: float, look: style.LineStyle) -> None:
    if row.learning and row.learning.seconds and not look.behind:
        at = row.learning.seconds.value / size
        axes.plot(at, target, look.marker, color=look.colour, markersize=7, markeredgecolor="white", zorder=3)


def _quality_limits(courses: list[pd.DataFrame], target: float) -> tuple[float, float]:
    """From the worst to the best that was seen, the target within, and a little room."""
    values = [target, *(float(c[name].agg(how)) for c in courses for name, how in (("min", "min"), ("max", "max")))]
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or 0.5
    return low - room, high + room


def _steps_per_epoch(workload: TrainedWorkload, summary: TrainingSummary) -> int | None:
    known = {
        t.steps_per_epoch for t in summary.training.trials if t.workload == workload.workload and t.steps_per_epoch
    }
    return known.pop() if len(known) == 1 else None
