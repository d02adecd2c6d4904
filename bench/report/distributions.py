"""The plot of how step times are spread: a density for each loop, since a median says nothing of its tail."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.judge.summary import WorkloadSummary, is_baseline
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import format as show
from loopmark.bench.report import layout, style

MOST_BINS, FEWEST_BINS = 120, 30
TAIL = 0.01
"""Of a loop's blocks at either end: they may lie beyond the axis, where one of them would press all others together."""
DENSE = 0.65
"""How opaque a density is: it has to show on a dark page as well."""
FLOOR, HEIGHT = 0.3, 0.72
"""Where a density stands below its loop's line, and how high it is at most; of 1 from loop to loop."""


def step_times(workload: WorkloadSummary, cases: dict[str, int], samples: Samples) -> Figure | None:
    """Seconds a step of all blocks without laps: their density and middle half, each launch's median, and the step.

    The step is the table's, in the middle of the launches' medians; the median of all blocks would be another figure
    where launches differ.
    """
    rows = [row for row in workload.rows if row.case.label in cases]
    plain = samples.blocks[samples.blocks["case"].isin(cases.values()) & ~samples.blocks["lapped"]]
    if plain.empty:
        return None
    plain = plain.assign(seconds=block_seconds(plain))
    groups = dict(tuple(plain.groupby("case")))
    rows = [row for row in rows if cases[row.case.label] in groups]
    ends = [np.quantile(group["seconds"], (TAIL, 1 - TAIL)) for group in groups.values()]
    low, high = min(end[0] for end in ends) / 1.03, max(end[1] for end in ends) * 1.03
    if not 0 < low < high < math.inf:
        return None
    entries = [
        Line2D(
            [], [], linestyle="", marker="s", markersize=8, alpha=DENSE, color=style.BLUE, label="density of blocks"
        ),
        Line2D([], [], color=style.BLACK, linewidth=3, label="middle half"),
        Line2D([], [], linestyle="", marker="|", markersize=11, markeredgewidth=2, color=style.BLACK, label="a step"),
        Line2D([], [], linestyle="", marker="^", markersize=5, color=style.VERMILLION, label="median of a launch"),
    ]
    title = f"{style.fitted(workload.workload)}: how step times are spread"
    axes = layout.bar_axes(rows, title, entries, right=1.35)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    fewest = min(len(group) for group in groups.values())
    edges = np.geomspace(low, high, int(np.clip(4 * np.sqrt(fewest), FEWEST_BINS, MOST_BINS)) + 1)
    for y, row in enumerate(rows):
        group = groups[cases[row.case.label]]
        colour = style.GREY if row.case.repeat else style.BLACK if is_baseline(row.case) else style.BLUE
        medians = group.groupby("launch")["seconds"].median().to_numpy()
        step = row.step_seconds.value if row.step_seconds else float(np.median(medians))
        _spread(axes, y, group["seconds"].to_numpy(), medians, step, edges, colour)
    style.log_ticks(axes.xaxis, low, high, show.round_seconds)
    axes.set_xlabel("seconds a step, of blocks whose phases are not timed")
    return layout.figure_of(axes)


def _spread(
    axes: Axes,
    y: int,
    seconds: NDArray[np.float64],
    launches: NDArray[np.float64],
    step: float,
    edges: NDArray[np.float64],
    colour: str,
) -> None:
    counts, _ = np.histogram(seconds, edges)
    if counts.max():
        height = np.append(counts, counts[-1]) / counts.max() * HEIGHT
        axes.fill_between(edges, y + FLOOR - height, y + FLOOR, step="post", color=colour, alpha=DENSE, linewidth=0)
    quarter, three_quarters = np.quantile(seconds, (0.25, 0.75))
    axes.plot([quarter, three_quarters], [y + FLOOR] * 2, color=style.BLACK, linewidth=3, solid_capstyle="butt")
    axes.plot(step, y + FLOOR - 0.1, "|", color=style.BLACK, markersize=11, markeredgewidth=2)
    axes.plot(launches, [y + FLOOR + 0.05] * len(launches), "^", color=style.VERMILLION, markersize=4.5, zorder=3)
    beyond = int(np.sum((seconds < edges[0]) | (seconds > edges[-1])))
    text = show.seconds(step) + (f"\n{show.percent(beyond / len(seconds))} beyond" if beyond else "")
    axes.annotate(
        text, (1, y), (8, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        size=style.SMALL, va="center", annotation_clip=False,
    )  # fmt: skip
