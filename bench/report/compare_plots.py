"""Runs side by side as plots: throughput, shares of a step, and speedups as a heat map."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopmark.bench.judge.side_by_side import ComparedRun, Line, WorkloadComparison
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row
from loopmark.bench.report import cells, layout, show, style
from loopmark.bench.report import compare_words as words
from loopmark.bench.report.text import short

LINE = 0.19  # inches from one line to the next
LEFT = 2.25
NAME = LEFT - 0.2
INDENT = 0.12
APART = 0.35  # lines between two groups, so that a loop's name is nearer to its own bars than to those above
THICK = 0.78  # the height of a bar, in lines


class Place(NamedTuple):
    """A line of the plot."""

    y: float
    compared: ComparedRun
    row: Row


def board(
    comparison: WorkloadComparison, title: str, entries: Sequence[Line2D], *, right: float
) -> tuple[Axes, list[Place]]:
    """The axes, with a loop's name above each group, and the places of the rows with figures.

    A row without figures has its reason in that place.
    """
    groups = {loop: comparison.rows(loop) for loop in measured(comparison)}
    lines = sum(APART + 1 + len(rows) for rows in groups.values()) - APART
    axes = layout.lined_axes(lines, LINE, title, entries, left=LEFT, right=right, note=note_of(comparison))
    axes.tick_params(axis="y", labelsize=style.SMALL)
    axes.spines["left"].set_visible(False)
    return axes, list(_places(axes, groups))


def _places(axes: Axes, groups: dict[str, list[Line]]) -> Iterator[Place]:
    y, ticks = 0.0, {}
    names = style.fitted_all(groups, 3.5, 8.5)
    for loop, rows in groups.items():
        look = {"size": 8.5, "weight": "bold" if any(row.is_baseline for _, row in rows) else "normal", "va": "center"}
        layout.offset_text(axes, names[loop], (0, y), (72 * (layout.EDGE - LEFT), 0), layout.BESIDE, **look)
        for place in (Place(y + 1 + i, *pair) for i, pair in enumerate(rows)):
            ticks[place.y] = style.fitted(place.compared.name, NAME - INDENT, style.SMALL)
            if place.row.step_seconds is None:
                beside(axes, place.y, 0, cells.why(place.row), inches=4.0)
            else:
                yield place
        y += 1 + len(rows) + APART
    axes.set_yticks(list(ticks), list(ticks.values()))


def beside(axes: Axes, y: float, x: float, text: str, *, inches: float) -> None:
    """Write grey text on a line, from the axes' fraction ``x`` on."""
    short = style.fitted(text, inches, style.SMALL)
    layout.offset_text(axes, short, (x, y), (6, 0), layout.BESIDE, va="center", color="#555555")


def measured(comparison: WorkloadComparison) -> list[str]:
    """The loops with figures in any run; the table has the reasons for the rest."""
    return list(dict.fromkeys(row.case.loop for _, row in comparison.lines if row.step_seconds is not None))


def note_of(comparison: WorkloadComparison) -> str:
    """The note that the work is not the same; else empty."""
    return "" if comparison.is_same_work else words.other_work(comparison)


GREYS = ("#6E6E6E", "#B4B4B4", "#909090", "#D2D2D2")  # the machines in turn: a hue would mean a phase or a loop
RATE_INCHES = 2.0  # for the figures beside the bars
FAR_APART = 20  # a largest rate above this multiple of the smallest makes the smallest bar invisible
MOST_EMPTY = 1.5  # the longest scale, as a multiple of the longest bar, to show an interval's end


def throughput(comparison: WorkloadComparison, compared_runs: Sequence[ComparedRun]) -> Figure | str | None:
    """Samples a second with intervals; a mark in each bar shows the baseline of the same machine.

    Where machines are far apart, dots on a log scale replace the bars: slow ones would be invisible.

    Args:
        compared_runs: all runs of the comparison; they set a machine's colour in every workload.
    """
    rates = {
        (compared.name, row.case.loop): rate
        for compared, row in comparison.lines
        if (rate := row.samples_per_second) is not None and show.known(rate.value)
    }
    if not rates:
        return None
    if len(rates) == 1:
        ((machine, loop),) = rates
        return f"No plot of samples a second: only {short(loop)} on {short(machine)} has any."
    title = f"{style.fitted(comparison.workload)}: samples a second"
    base_label = f"{style.fitted(words.baseline(comparison))} on the same machine, in the same run"
    entry = style.mark(base_label, "|", style.BLACK, 9, markeredgewidth=1.6)
    axes, places = board(comparison, title, [entry], right=RATE_INCHES)
    colours = {compared.name: GREYS[i % len(GREYS)] for i, compared in enumerate(compared_runs)}
    drawn: dict[float, tuple[Estimate, str]] = {}
    bases: dict[float, float] = {}
    for place in places:
        rate = rates.get((place.compared.name, place.row.case.loop))
        if rate is None:
            beside(axes, place.y, 0, show.ABSENT, inches=0.5)
            continue
        drawn[place.y] = rate, colours[place.compared.name]
        if (base := rates.get((place.compared.name, place.row.baseline))) is not None:
            bases[place.y] = base.value
        beside(axes, place.y, 1, show.rate_range(rate), inches=RATE_INCHES - 0.25)
    values = [rate.value for rate in rates.values()]
    far_apart = max(values) > FAR_APART * min(values)
    _draw_rates(axes, drawn, as_dots=far_apart)
    tops, bottoms = [y - 0.5 for y in bases], [y + 0.5 for y in bases]
    axes.vlines(list(bases.values()), tops, bottoms, color=style.BLACK, linewidth=1.6, zorder=4)
    # One long interval would flatten all bars: its end is printed as a figure.
    high = 1.05 * max(min(rate.high, MOST_EMPTY * max(values)) for rate in rates.values())
    label = "samples a second, with the 95 % interval"
    if far_apart:
        low = min(max(rate.low, rate.value / MOST_EMPTY) for rate in rates.values()) / 1.3
        style.log_scale(axes.xaxis, low, high, show.rate, f"{label}; log scale")
    else:
        axes.set(xlim=(0, high), xlabel=label)
        first, second, *_ = [*style.round_values(high / 5, high, 5), high]
        ticks = [(second - first) * i for i in range(1 + math.floor(high / (second - first)))]
        style.fixed_ticks(axes.xaxis, ticks, [show.rate(tick) if tick else "0" for tick in ticks])
    return layout.figure_of(axes)


def _draw_rates(axes: Axes, drawn: dict[float, tuple[Estimate, str]], *, as_dots: bool) -> None:
    """Draw all bars at once: hundreds of single calls take twice as long.

    Args:
        as_dots: for a log scale, which has no zero, so that a bar's length means nothing.
    """
    rates, colours = zip(*drawn.values(), strict=True)
    places, values = list(drawn), [rate.value for rate in rates]
    if as_dots:
        axes.hlines(places, 0, 1, color=style.GRID, linewidth=0.8, zorder=0, transform=axes.get_yaxis_transform())
        axes.scatter(values, places, s=46, color=colours, linewidths=0, zorder=2)
    else:
        axes.barh(places, values, THICK, color=colours, linewidth=0)
    bounded = {y: rate for y, (rate, _) in drawn.items() if math.isfinite(rate.low) and math.isfinite(rate.high)}
    lows, highs = ([getattr(rate, end) for rate in bounded.values()] for end in ("low", "high"))
    for colour, width in (("white", 2.6), (style.BLACK, 1.0)):  # a light edge, visible on dark bars
        axes.hlines(list(bounded), lows, highs, color=colour, linewidth=width, zorder=3)


LENGTH_INCHES = 1.3  # for the length of the step
LEAST_LABELLED = 0.06


def shares(comparison: WorkloadComparison) -> Figure | None:
    """Each phase's share of the step, stacked, on the device's clock where there is one, and the step's length."""
    rows = [row for _, row in comparison.lines if row.phases]
    if not rows:
        return None
    names = cells.phase_names(rows)
    colours = style.phase_colours(names)
    title = f"{style.fitted(comparison.workload)}: share of a step in each phase"
    entries = [style.mark(style.fitted(name, 0.85), "s", colours[name]) for name in names]
    axes, places = board(comparison, title, entries, right=LENGTH_INCHES)
    bars = [(place.y, cells.shares(place.row.phases)) for place in places]
    layout.phase_bars(axes, bars, colours, THICK, least=LEAST_LABELLED, text=lambda share: f"{share * 100:.0f}")
    for place, (_, own) in zip(places, bars, strict=True):
        length = show.seconds(sum(place.row.phases.values())) if own else show.ABSENT
        beside(axes, place.y, 1, length, inches=LENGTH_INCHES)
    axes.set_xlim(0, 1)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    style.fixed_ticks(axes.xaxis, ticks, [f"{tick * 100:.0f}" for tick in ticks])
    axes.set_xlabel("% of a step whose phases are timed; at the right, its length")
    return layout.figure_of(axes)


SPEEDUP_COLOURS = LinearSegmentedColormap.from_list("slower to faster", [style.SLOWER, style.LIGHT_INK, style.FASTER])
"""Every reader can distinguish brown and blue; in grey, both are darker than the middle."""
LEAST_REACH = math.log(1.25)  # the least end of the scale, so that a few per cent look small
MOST_REACH = math.log(8)  # the greatest end of the scale; larger ratios have the darkest colour
CELL, WIDEST = 0.4, 1.5
LABEL_LINES, NAME_LINES = 3, 2
"""Lines of a machine's name above its column and of a loop's beside its row: short forms can look alike."""
TINY = 6.0
DARK = 0.5  # the share of the scale from which letters are white
KEY = f"blue: faster; brown: slower; below each figure its 95 % interval; {cells.SAME} no claim; grey: not measured"
ABSENT = "#DDDDDD"  # light on every page, since its letters are dark


def speedups(comparison: WorkloadComparison) -> Figure | str | None:
    """A heat map of loops by machines: ~ on the middle colour without a claim, grey if not measured."""
    loops = [loop for loop in measured(comparison) if loop != comparison.runs[0].run.plan.baseline]
    rows = [[compared.row(comparison.workload, loop) for compared in comparison.runs] for loop in loops]
    logs = np.array([[_log(row) for row in line] for line in rows], dtype=float)
    if not any(row is not None and row.speedup for line in rows for row in line):
        return None
    if not np.nan_to_num(logs).any():
        return "No heat map of speedups: no loop is faster or slower on any machine. The table has the intervals."
    note = note_of(comparison)
    columns = len(comparison.runs)
    width = min(WIDEST, (layout.WIDTH - layout.NAMES - layout.EDGE) / columns)
    labels = [_wrapped(compared.name, width - 0.08, LABEL_LINES) for compared in comparison.runs]
    lines = 1 + max(label.count("\n") for label in labels)
    top = layout.TITLE + layout.NOTE_LINE * (lines + bool(note)) + layout.EDGE
    height = top + CELL * len(loops) + layout.AXIS
    right = layout.WIDTH - layout.NAMES - width * columns
    title = f"{style.fitted(comparison.workload)}: speedup over {style.fitted(words.baseline(comparison))}"
    axes = layout.blank_axes(height, left=layout.NAMES, right=right, top=top, bottom=layout.AXIS, title=title)
    layout.write_note(axes, height - layout.TITLE, note)
    known = np.abs(logs[np.isfinite(logs)])
    reach = min(max(float(known.max()) if known.size else 0.0, LEAST_REACH), MOST_REACH)
    scale = Normalize(-reach, reach)
    axes.set_facecolor(ABSENT)
    axes.pcolormesh(np.ma.masked_invalid(logs), cmap=SPEEDUP_COLOURS, norm=scale, edgecolors="white", linewidth=1.5)
    axes.set(ylim=(len(loops), 0), xlim=(0, columns), xticks=[])
    names = [_wrapped(loop, layout.NAMES - 0.2, NAME_LINES) for loop in loops]
    if len(set(names)) < len(names):  # on one line they differ
        names = list(style.fitted_all(loops, layout.NAMES - 0.2, style.SMALL).values())
    axes.set_yticks([i + 0.5 for i in range(len(loops))], names, linespacing=1.1)
    axes.tick_params(length=0, labelsize=style.SMALL)
    axes.spines[:].set_visible(False)
    look = {"ha": "center", "va": "bottom", "linespacing": 1.1}
    for x, label in enumerate(labels):
        layout.offset_text(axes, label, (x + 0.5, 1), (0, 4), ("data", "axes fraction"), **look)
    for y, line in enumerate(rows):
        for x, row in enumerate(line):
            dark = abs(logs[y, x]) > DARK * reach
            _write(axes, x + 0.5, y + 0.5, row, style.LIGHT_INK if dark else style.DARK_INK, width)
    layout.write_note(axes, layout.EDGE, KEY)
    return layout.figure_of(axes)


def _log(row: Row | None) -> float:
    """The logarithm of the speedup; 0 without a claim, NaN without a speedup."""
    if row is None or row.speedup is None or not 0 < row.speedup.value < math.inf:
        return math.nan
    return math.log(row.speedup.value) if row.verdict in ("faster", "slower") else 0.0


def _write(axes: Axes, x: float, y: float, row: Row | None, ink: str, inches: float) -> None:
    if row is None or row.speedup is None:
        text = show.ABSENT if row is None or row.step_seconds is not None else cells.status(row)
        text = style.fitted(text, inches - 0.1, style.SMALL)
        axes.text(x, y, text, size=style.SMALL, color=style.DARK_INK, ha="center", va="center")
        return
    claimed = row.verdict in ("faster", "slower")
    value, _, ends = show.ratio_range(row.speedup).partition(" ")
    value = value if claimed else cells.SAME
    axes.text(x, y - 0.04, value, size=9, color=ink, ha="center", va="bottom", weight="bold" if claimed else "normal")
    ends = style.fitted(ends, inches - 0.06, TINY)
    axes.text(x, y + 0.12, ends, size=TINY, color=ink, ha="center", va="top")


def _wrapped(name: str, inches: float, most: int) -> str:
    """``name`` on at most ``most`` lines, broken after hyphens, plus signs and spaces."""
    lines = [""]
    for word in re.split(r"(?<=[-+ ])", style.drawable(name)):
        if lines[-1] and style.fitted(lines[-1] + word, inches, style.SMALL) != (lines[-1] + word).rstrip():
            lines.append("")
        lines[-1] += word
    kept = [*lines[: most - 1], "".join(lines[most - 1 :])]
    return "\n".join(style.fitted(line, inches, style.SMALL) for line in kept if line)
