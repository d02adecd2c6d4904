"""The plots of one workload: phases, speedups, the cost of a slow start, and the spread of step times."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.judge.laps import counted_blocks
from loopmark.bench.judge.summary import WorkloadSummary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import cells, layout, show, style
from loopmark.bench.report.text import short

Floats = NDArray[np.float64]
VERDICTS = {
    "faster": (">", style.FASTER),
    "slower": ("<", style.SLOWER),
    "same": ("o", style.MUTED),
    "inconclusive": ("D", style.MUTED),
    "noise check": ("x", style.GREY),
    show.ABSENT: (".", style.GREY),
}  # marker and colour
SMALLEST, LARGEST = 1e-9, 1e9  # ratios beyond these are not drawn: such times are not usable
BASELINE_MARK: dict[str, Any] = {"color": style.BLACK, "linestyle": style.DASHES[2], "linewidth": 0.8}


def phases(workload: WorkloadSummary, *, narrow: bool = False) -> Figure | None:
    """Seconds a step in each phase, stacked, one bar for each loop; on a GPU, by the device's clock."""
    rows = [row for row in workload.rows if sum(row.phases.values()) > 0]
    if not rows:
        return None
    names = cells.phase_names(rows)
    colours = style.phase_colours(names)
    lengths = [sum(row.phases.values()) for row in rows]
    longest = max(lengths)
    size, unit = show.seconds_unit(longest)
    title = f"{style.fitted(workload.workload)}: where a step's time goes"
    entries = [style.mark(style.fitted(phase, 0.85), "s", colours[phase]) for phase in names]
    if any(row.is_baseline for row in rows):
        entries.append(Line2D([], [], label="baseline", **BASELINE_MARK))
    axes = layout.bar_axes(rows, title, entries, right=0.3, narrow=narrow)
    bars = [(y, {phase: seconds / size for phase, seconds in row.phases.items()}) for y, row in enumerate(rows)]
    share, thick = (lambda share: f"{share * 100:.0f}", 0.4) if narrow else (show.percent, 0.72)
    layout.phase_bars(axes, bars, colours, thick, least=0.055 * longest / size, text=share)
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    for y, (row, seconds) in enumerate(zip(rows, lengths, strict=True)):
        if narrow:
            layout.above_bar(axes, show.seconds(seconds), (1, y), size=8, ha="right")
        else:
            at = (seconds + 0.008 * longest) / size
            axes.text(at, y, show.seconds(seconds), size=8, va="center", bbox=behind, zorder=2)
        if row.is_baseline:
            axes.axvline(seconds / size, zorder=0.5, **BASELINE_MARK)
    clock = "device" if any(row.device_phases for row in rows) else "host"
    room, how = (1.01, ", and % of it") if narrow else (1.12, ", timed phase by phase")
    axes.set(xlim=(0, longest / size * room), xlabel=f"{unit} a step on the {clock}'s clock{how}")
    return layout.figure_of(axes)


def speedup(workload: WorkloadSummary, *, narrow: bool = False) -> Figure | str | None:
    """Each loop's speedup over the baseline with its interval, and the noise floor as a band around 1.

    A reason not to draw it where there is only the baseline's repetition.
    """
    found = [(row, row.speedup) for row in workload.rows if row.speedup and SMALLEST < row.speedup.value < LARGEST]
    if not found:
        return None
    if all(row.case.repeat for row, _ in found):
        return f"No plot of speedups: only {short(workload.baseline)}'s repetition has one."
    entries, base = [], style.fitted(workload.baseline)
    for verdict in dict.fromkeys(cells.verdict(row) for row, _ in found):
        marker, colour = VERDICTS[verdict]
        entries.append(style.mark(verdict, marker, colour, 7, markeredgewidth=1.4, markerfacecolor="white"))
    entries.append(Line2D([], [], color=style.BLACK, linewidth=0.9, label=base))
    floor = math.exp(workload.noise_floor or 0.0)
    if floor > 1:
        entries.append(style.mark(f"noise floor {show.noise_floor(workload.noise_floor)}", "s", "#D9D9D9"))
    title = f"{style.fitted(workload.workload)}: speedup over {base}"
    axes = layout.bar_axes([row for row, _ in found], title, entries, right=1.85, narrow=narrow)
    axes.axvspan(1 / floor, floor, color="#D9D9D9", linewidth=0, zorder=0)
    axes.axvline(1, color=style.BLACK, linewidth=0.9, zorder=1)
    known = [1 / floor, floor, 1 / 1.01, 1.01]
    for y, (row, estimate) in enumerate(found):
        ends = [end for end in (estimate.low, estimate.value, estimate.high) if SMALLEST < end < LARGEST]
        known += ends
        _whisker(axes, y, estimate.value, ends, *VERDICTS[cells.verdict(row)])
        if narrow:
            layout.above_bar(axes, cells.speedup(row), (1, y), size=8, ha="right")
        else:
            layout.offset_text(axes, cells.speedup(row), (1, y), (8, 0), layout.BESIDE, va="center", size=8)
    low, high = min(known), max(known)
    low, high = low / (high / low) ** 0.06, high * (high / low) ** 0.06
    label = "with the 95 % interval" if narrow else f"{base}'s seconds a step over the loop's, with the 95 % interval"
    style.log_scale(axes.xaxis, low, high, lambda value: f"{value:g}x", label)
    return layout.figure_of(axes)


def break_even(workload: WorkloadSummary, styles: dict[str, style.LineStyle]) -> Figure | None:
    """Time since the start, set-up and compilation included, over the baseline's, as steps go by.

    A loop has made up for its slower start where its line crosses 1. Lines of seconds would hide that: at a
    speedup of 1.2 they differ by a line's width.
    """
    base = workload.base
    found = [
        (styles[row.case.label], row.break_even_steps.value, row.step_seconds.value, row.speedup.value)
        for row in workload.rows
        if row.break_even_steps and row.step_seconds and row.speedup and 1 <= row.break_even_steps.value < math.inf
    ]
    if base is None or not base.case.launches or not found:
        return None
    shown = [(look, crossing) for look, crossing, *_ in found if not look.behind]
    entries = [look.proxy(f"\n{show.count(crossing)} steps", look.marker) for look, crossing in shown]
    entries += style.legend(look for look, *_ in found if look.behind)
    title = f"{style.fitted(workload.workload)}: steps until a slower start is made up for"
    axes = layout.line_axes(title, [styles[base.case.label].proxy(), *entries])
    last = 30 * max(crossing for _, crossing, *_ in found)
    steps = [last ** (i / 200) for i in range(201)]
    start = base.start_seconds or 0.0
    axes.axhline(1, **styles[base.case.label].line)
    drawn = [1.0]
    for look, crossing, step, ratio in found:
        late = crossing * step * (ratio - 1)
        totals = [(start + late + n * step) / (start + n * step * ratio) for n in steps]
        axes.plot(steps, totals, **look.line)
        axes.plot(crossing, 1, look.marker, color=look.colour, markersize=8, markeredgecolor="white", zorder=3)
        drawn += totals
    label = f"time since the start, over {style.fitted(workload.baseline)}'s"
    style.log_scale(axes.xaxis, 1, last, show.count, "steps trained")
    style.log_scale(axes.yaxis, min(drawn) * 0.93, max(drawn) * 1.2, lambda value: f"{value:g}x", label)
    return layout.figure_of(axes)


def _whisker(axes: Axes, y: int, value: float, ends: list[float], marker: str, colour: str) -> None:
    # A hollow marker, and the interval drawn over it: a full one would hide a narrow interval.
    axes.plot(value, y, marker, color=colour, markersize=9, markeredgewidth=1.4, markerfacecolor="white", zorder=2)
    axes.plot(
        [min(ends), max(ends)], [y, y], "|-", color=colour, linewidth=1.6, markersize=5, markeredgewidth=1.6,
        solid_capstyle="butt", zorder=3,
    )  # fmt: skip


MOST_BINS, FEWEST_BINS = 120, 30
TAIL = 0.01  # of a loop's blocks may lie beyond the axis at either end: an outlier would compress all others
DENSE = 0.65  # the opacity of a density, visible on a dark page too
FLOOR, HEIGHT = 0.3, 0.72  # the base of a density below its loop's line, and its greatest height; loops are 1 apart


def distribution(
    workload: WorkloadSummary, cases: dict[str, int], samples: Samples, styles: dict[str, style.LineStyle]
) -> Figure | None:
    """Seconds a step of the counted blocks without laps: density, middle half, each launch's median, and the step.

    The step is the table's figure. Where launches differ, the median of all blocks is not the same.
    """
    plain = samples.blocks[counted_blocks(samples.blocks) & ~samples.blocks["lapped"]]
    plain = plain[plain["case"].isin(cases.values())]
    if plain.empty:
        return None
    plain = plain.assign(seconds=block_seconds(plain))
    groups = dict(tuple(plain.groupby("case")))
    rows = [row for row in workload.rows if cases.get(row.case.label) in groups]
    ends = [np.quantile(group["seconds"], (TAIL, 1 - TAIL)) for group in groups.values()]
    low, high = min(end[0] for end in ends) / 1.03, max(end[1] for end in ends) * 1.03
    if not 0 < low < high < math.inf:
        return None
    entries = [
        style.mark("density of blocks", "s", style.GREY, alpha=DENSE),
        Line2D([], [], color=style.BLACK, linewidth=3, label="middle half"),
        style.mark("a step", "|", style.BLACK, 11, markeredgewidth=2),
        style.mark("median of a launch", "^", style.BLACK, 5),
    ]
    title = f"{style.fitted(workload.workload)}: how step times are spread"
    axes = layout.bar_axes(rows, title, entries, right=1.35)
    label = "seconds a step, of blocks whose phases are not timed"
    style.log_scale(axes.xaxis, low, high, show.round_seconds, label)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    fewest = min(len(group) for group in groups.values())
    edges = np.geomspace(low, high, int(np.clip(4 * np.sqrt(fewest), FEWEST_BINS, MOST_BINS)) + 1)
    for y, row in enumerate(rows):
        group = groups[cases[row.case.label]]
        medians = group.groupby("launch")["seconds"].median().to_numpy()
        step = row.step_seconds.value if row.step_seconds else float(np.median(medians))
        _spread(axes, y, group["seconds"].to_numpy(), medians, step, edges, styles[row.case.label].colour)
    return layout.figure_of(axes)


def _spread(axes: Axes, y: int, seconds: Floats, launches: Floats, step: float, edges: Floats, colour: str) -> None:
    counts, _ = np.histogram(seconds, edges)
    if counts.max():
        height = np.append(counts, counts[-1]) / counts.max() * HEIGHT
        axes.fill_between(edges, y + FLOOR - height, y + FLOOR, step="post", color=colour, alpha=DENSE, linewidth=0)
    quarter, three_quarters = np.quantile(seconds, (0.25, 0.75))
    axes.plot([quarter, three_quarters], [y + FLOOR] * 2, color=style.BLACK, linewidth=3, solid_capstyle="butt")
    axes.plot(step, y + FLOOR - 0.1, "|", color=style.BLACK, markersize=11, markeredgewidth=2)
    below = [y + FLOOR + 0.1] * len(launches)
    axes.plot(launches, below, "^", color=style.BLACK, markersize=5, markeredgecolor="white", zorder=3)
    beyond = int(np.sum((seconds < edges[0]) | (seconds > edges[-1])))
    text = show.seconds(step) + (f"\n{show.percent(beyond / len(seconds))} beyond" if beyond else "")
    layout.offset_text(axes, text, (1, y), (8, 0), layout.BESIDE, va="center")
