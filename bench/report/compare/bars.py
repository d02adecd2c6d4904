"""Throughput of every loop, machine beside machine, as bars."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.side_by_side import ComparedRun, WorkloadComparison
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.report import format as show
from loopmark.bench.report import layout, style
from loopmark.bench.report.compare.board import THICK, beside, board, note_of

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY, style.VERMILLION, style.GREY, style.YELLOW)
RIGHT = 2.0
"""Inches for the figures beside the bars."""
FAR_APART = 20
"""How many times the smallest rate the largest is, from where on a bar of the smallest is no longer seen."""
MOST_EMPTY = 1.5
"""How many times as long as its longest bar the scale may be, for an interval's end to be in view."""


def throughput(contest: WorkloadComparison, entrants: Sequence[ComparedRun]) -> Figure | None:
    """Samples a second with their intervals; a mark where the same machine's baseline is, in each bar.

    Where machines are far apart, a dot on a log scale stands for each bar: of the slower ones nothing would show.

    Args:
        entrants: all of the comparison, which give a machine its colour in every workload.
    """
    rates = {
        (entrant.name, loop): rate
        for loop in contest.loops
        for entrant, row in contest.rows(loop)
        if (rate := row.samples_per_second) is not None and show.known(rate.value)
    }
    if not rates:
        return None
    title = f"{style.fitted(contest.workload)}: samples a second"
    entry = Line2D([], [], color=style.BLACK, marker="|", linestyle="", markersize=9, markeredgewidth=1.6)
    entry.set_label(f"{BASELINE} on the same machine, in the same run")
    axes, places = board(contest, title, [entry], right=RIGHT, note=note_of(contest))
    colours = {entrant.name: COLOURS[i % len(COLOURS)] for i, entrant in enumerate(entrants)}
    drawn: dict[float, tuple[Estimate, str]] = {}
    bases: dict[float, float] = {}
    for place in places:
        rate = rates.get((place.entrant.name, place.row.case.loop))
        if rate is None:
            beside(axes, place.y, 0, show.ABSENT, inches=0.5)
            continue
        drawn[place.y] = rate, colours[place.entrant.name]
        if (base := rates.get((place.entrant.name, BASELINE))) is not None:
            bases[place.y] = base.value
        beside(axes, place.y, 1, show.rate_range(rate), inches=RIGHT - 0.25)
    values = [rate.value for rate in rates.values()]
    far_apart = max(values) > FAR_APART * min(values)
    (_dots if far_apart else _bars)(axes, drawn)
    tops, bottoms = [y - 0.5 for y in bases], [y + 0.5 for y in bases]
    axes.vlines(list(bases.values()), tops, bottoms, color=style.BLACK, linewidth=1.6, zorder=4)
    # One interval that reaches far would flatten all bars: its end is told in figures.
    high = 1.05 * max(min(rate.high, MOST_EMPTY * max(values)) for rate in rates.values())
    if far_apart:
        low = min(max(rate.low, rate.value / MOST_EMPTY) for rate in rates.values()) / 1.3
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        style.log_ticks(axes.xaxis, low, high, show.rate)
    else:
        axes.set_xlim(0, high)
        first, second, *_ = [*style.round_values(high / 5, high, 5), high]
        ticks = [(second - first) * i for i in range(1 + math.floor(high / (second - first)))]
        style.fixed_ticks(axes.xaxis, ticks, [show.rate(tick) if tick else "0" for tick in ticks])
    axes.set_xlabel("samples a second, with the 95 % interval" + ("; log scale" if far_apart else ""))
    return layout.figure_of(axes)


def _bars(axes: Axes, drawn: dict[float, tuple[Estimate, str]]) -> None:
    """All at once: one by one, hundreds of bars take twice as long."""
    rates, colours = zip(*drawn.values(), strict=True)
    axes.barh(list(drawn), [rate.value for rate in rates], THICK, color=colours, linewidth=0)
    _whiskers(axes, drawn)


def _dots(axes: Axes, drawn: dict[float, tuple[Estimate, str]]) -> None:
    """On a log scale, where a bar's length would say nothing: it has no zero to begin at."""
    rates, colours = zip(*drawn.values(), strict=True)
    axes.hlines(list(drawn), 0, 1, color=style.GRID, linewidth=0.8, zorder=0, transform=axes.get_yaxis_transform())
    axes.scatter([rate.value for rate in rates], list(drawn), s=46, color=colours, linewidths=0, zorder=2)
    _whiskers(axes, drawn)


def _whiskers(axes: Axes, drawn: dict[float, tuple[Estimate, str]]) -> None:
    bounded = {y: rate for y, (rate, _) in drawn.items() if math.isfinite(rate.low) and math.isfinite(rate.high)}
    lows, highs = ([getattr(rate, end) for rate in bounded.values()] for end in ("low", "high"))
    for colour, width in (("white", 2.6), (style.BLACK, 1.0)):  # a light edge, or it would not show on dark bars
        axes.hlines(list(bounded), lows, highs, color=colour, linewidth=width, zorder=3)
