"""Plots of a device's capacity: throughput by batch size, memory within a step, and the roofline."""

import math
from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy
from matplotlib.typing import FillStyleType

from loopmark.bench.judge.batches import BatchFinding, BatchRow
from loopmark.bench.judge.bounds import Roof, kinds_of
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, WorkloadSummary
from loopmark.bench.records.ceilings import Ceiling, Ceilings
from loopmark.bench.records.footprint import FootprintCase
from loopmark.bench.report import layout, show, style
from loopmark.bench.report.batch_table import is_known
from loopmark.bench.report.text import grouped

RING, FRAME = 12, 14


def throughput(findings: Sequence[BatchFinding], styles: dict[str, style.LineStyle]) -> Figure | None:
    """Samples a second by batch size; None where nothing fits. A ring marks the size to use, a frame the largest."""
    drawn = [finding for finding in findings if finding.best is not None]
    if not drawn:
        return None
    entries = [styles[f.case.loop].proxy(marker=styles[f.case.loop].marker) for f in drawn]
    use_this = "use this: the smallest\nas good as the best"
    entries.append(style.mark(use_this, "o", style.GREY, RING, markerfacecolor="none"))
    entries.append(style.mark("the largest that fits", "s", style.GREY, FRAME, markerfacecolor="none"))
    title = f"{style.fitted(drawn[0].case.workload)}: throughput against batch size"
    axes = layout.line_axes(title, entries, note="bars are 95 % intervals of the median of all blocks")
    axes.set_xscale("log")
    measured = [pair for finding in drawn for pair in _measured(finding)]
    sizes, highest = [row.attempt.batch_size for row, _ in measured], max(rate.high for _, rate in measured)
    axes.set(xlim=(min(sizes) / 1.25, max(sizes) * 1.25), ylim=(0, highest * 1.08))
    for finding in drawn:
        _line(axes, finding, styles[finding.case.loop])
    shown: list[int] = []
    for size in sorted(set(sizes)):  # without those whose labels would overlap
        if not shown or size / shown[-1] >= (max(sizes) / min(sizes)) ** (1 / 12) * 1.02:
            shown.append(size)
    style.fixed_ticks(axes.xaxis, shown, [f"{size:,}" for size in shown])
    axes.set(xlabel="batch size, samples a step", ylabel="samples a second")
    axes.yaxis.set_major_formatter(lambda value, _: show.count(value))
    return layout.figure_of(axes)


def _measured(finding: BatchFinding) -> list[tuple[BatchRow, Estimate]]:
    """The rows with a rate; an unbounded rate has no interval."""
    found = []
    for row in finding.rows:
        if rate := row.samples_per_second:
            bounded = show.known(rate.low) and show.known(rate.high)
            found.append((row, rate if bounded else Estimate(rate.value, rate.value, rate.value)))
    return found


def _line(axes: Axes, finding: BatchFinding, look: style.LineStyle) -> None:
    measured = _measured(finding)
    sizes = [row.attempt.batch_size for row, _ in measured]
    values = [rate.value for _, rate in measured]
    ends = [[rate.value - rate.low for _, rate in measured], [rate.high - rate.value for _, rate in measured]]
    axes.errorbar(
        sizes, values, yerr=ends, color=look.colour, linestyle=look.dash, linewidth=look.width, marker=look.marker,
        markersize=5, markeredgecolor="white", elinewidth=1.1, capsize=2.5, zorder=3,
    )  # fmt: skip
    for row, rate in measured:
        at = row.attempt.batch_size
        if row is finding.recommended:
            axes.plot(at, rate.value, "o", markersize=RING, markerfacecolor="none", color=look.colour, zorder=4)
        if row is finding.largest and is_known(finding):
            axes.plot(at, rate.value, "s", markersize=FRAME, markerfacecolor="none", color=look.colour, zorder=4)


ALONG = {
    "tensors alive": "operators of the step, in order",
    "device memory allocated": "allocations and releases, in order",
}
HEADROOM = 1.12


def timeline(case: FootprintCase) -> Figure | None:
    """Memory within one loop's step; None where there is nothing to draw."""
    step = case.footprint
    if step is None or not any(stretch.moments for stretch in step.stretches):
        return None
    colours = style.phase_colours([one.phase for one in step.phases])
    moments = [step.before_bytes, *(bytes_ for stretch in step.stretches for bytes_ in stretch.moments)]
    size, unit = show.data_unit(max(moments))
    peaks = {one.phase: f"{style.fitted(one.phase, 1.1)}\npeak {show.data(one.peak_bytes)}" for one in step.phases}
    entries = [style.mark(label, "s", colours[phase], alpha=0.6) for phase, label in peaks.items()]
    entries.append(Line2D([], [], color=style.GREY, linestyle=style.DASHES[1], label="before the step"))
    title = (
        f"{style.fitted(case.workload)}, {style.fitted(case.loop)}: memory within a step of {step.batch_size:,} samples"
        f"{', run without compiling it' if step.ran_eagerly else ''}"
    )
    axes = layout.line_axes(title, entries)
    ends = list(accumulate(len(stretch.moments) for stretch in step.stretches))
    for stretch, first, last in zip(step.stretches, [0, *ends], ends, strict=False):
        axes.axvspan(first, last, color=colours[stretch.phase], alpha=0.6, linewidth=0)
    axes.step(range(len(moments)), [moment / size for moment in moments], where="post", color=style.BLACK, linewidth=1)
    axes.axhline(step.before_bytes / size, color=style.GREY, linestyle=style.DASHES[1], linewidth=0.9)
    axes.set(xlim=(0, len(moments) - 1), ylim=(0, max(moments) / size * HEADROOM))
    axes.set(xlabel=ALONG[step.kind], ylabel=f"{unit}, {step.kind}")
    peak = moments.index(max(moments))
    axes.plot(peak, max(moments) / size, "v", color=style.BLACK, markersize=6, zorder=3)
    where = "right" if peak > len(moments) / 2 else "left"
    text = style.fitted(f"{show.data(max(moments))}  {step.peak_operator or ''}", 3.0, style.SMALL)
    layout.offset_text(axes, text, (peak, max(moments) / size), (0, 7), "data", ha=where)
    return layout.figure_of(axes)


FILLS: dict[str, FillStyleType] = {"forward": "none", "backward": "full"}  # of a phase's markers; others are half full
BAND = "#D9D9D9"
PITCH = 6.5  # points from one loop's marker to the next at one intensity
LARGEST, SMALLEST = 1e18, 1e-3


def rooflines(
    workload: WorkloadSummary, ceilings: Ceilings | None, styles: dict[str, style.LineStyle]
) -> Figure | None:
    """Operations a second over operations a byte, on logarithmic axes; None where none is known.

    A phase without matrix products is not on these axes; the table has it. Loops that do the same operations on
    the same bytes have one intensity: their markers stand side by side around it.
    """
    copy = ceilings.bytes_per_second() if ceilings else None
    rows = [row for row in workload.rows if row.roofline is not None and not row.case.repeat]
    points = [(row, name, roof) for row in rows for name, roof in _multiplying(row)]
    if ceilings is None or copy is None or not points:
        return None
    kinds = dict.fromkeys(kind for row in rows for kind in kinds_of(row.case.work))
    roofs = [ceiling for kind in kinds if (ceiling := ceilings.flops_per_second(kind)) is not None]
    phases = dict.fromkeys(name for _, name, _ in points)
    entries = style.legend((styles[row.case.label] for row in rows), as_markers=True)
    entries += [style.mark(style.fitted(name), "o", style.GREY, 7, fillstyle=_fill(name)) for name in phases]
    axes = layout.line_axes(
        f"{style.fitted(workload.workload)}: the phases and the device's limits", entries,
        note="Loops of one intensity stand side by side. Bands: 95 % intervals of the ceilings. Phases without matrix "
        "products: in the table.",
    )  # fmt: skip
    axes.set(xscale="log", yscale="log")
    intensities = [roof.intensity for _, _, roof in points]
    marked = [*intensities, *(roof.value / copy.value for roof in roofs)]
    left, right = min(marked) / 1.7, max(marked) * 1.7
    _draw_roofs(axes, copy, roofs, left, right)
    together = grouped((f"{name} {roof.intensity:.3g}", row.case.label) for row, name, roof in points)
    for row, name, roof in points:
        look = styles[row.case.label]
        group = [label for label in together[f"{name} {roof.intensity:.3g}"] if not styles[label].behind]
        aside = 0.0 if look.behind else (group.index(row.case.label) - (len(group) - 1) / 2) * PITCH
        axes.plot(
            roof.intensity, roof.flops_per_second, look.marker, color=look.colour, markersize=6, fillstyle=_fill(name),
            markeredgewidth=1.2, zorder=2.5 if look.behind else 3.0,
            transform=offset_copy(axes.transData, layout.figure_of(axes), aside, units="points"),
        )  # fmt: skip
    lowest = min(min(roof.flops_per_second for _, _, roof in points), left * copy.low)
    highest = max([ceiling.high for ceiling in roofs] + [roof.flops_per_second for _, _, roof in points])
    axes.set(xlim=(left, right), ylim=(lowest / 1.5, highest * 2))
    style.log_ticks(axes.xaxis, left, right, lambda value: f"{value:g}")
    style.log_ticks(axes.yaxis, *axes.get_ylim(), _rate)
    axes.set(xlabel="floating-point operations for each byte that has to move")
    axes.set(ylabel="floating-point operations a second")
    return layout.figure_of(axes)


def _fill(phase: str) -> FillStyleType:
    return FILLS.get(phase, "left")


def _multiplying(row: Row) -> list[tuple[str, Roof]]:
    found = row.roofline.phases if row.roofline else {}
    return [
        (name, roof)
        for name, roof in found.items()
        if roof.flops > 0 and SMALLEST < roof.intensity < LARGEST and SMALLEST < roof.flops_per_second < LARGEST
    ]


def _draw_roofs(axes: Axes, copy: Ceiling, roofs: list[Ceiling], left: float, right: float) -> None:
    """Draw the memory's slope up to the highest roof, and a line for each type, named at its right end."""
    top = max((roof.value for roof in roofs), default=right * copy.value)
    bend = top / copy.value
    slope = [left, bend]
    axes.fill_between(slope, [x * copy.low for x in slope], [x * copy.high for x in slope], color=BAND, linewidth=0)
    axes.plot(slope, [left * copy.value, top], color=style.BLACK, linewidth=1.0)
    for roof in roofs:
        begin = roof.value / copy.value
        axes.fill_between([begin, right], roof.low, roof.high, color=BAND, linewidth=0)
        axes.plot([begin, right], [roof.value, roof.value], color=style.BLACK, linewidth=1.0)
    layout.offset_text(axes, f"copy {_rate(copy.value)}B/s", (left, left * copy.value), (8, 0), "data", va="top")
    last = math.inf
    for roof in sorted(roofs, key=lambda one: -one.value):
        below = last / roof.value < 2  # a name above this line would overlap the one before
        last = roof.value
        name = f"{style.fitted(roof.dtype or '', 0.9)} {_rate(roof.value)}FLOP/s"
        where = {"ha": "right", "va": "top" if below else "bottom"}
        layout.offset_text(axes, name, (1, roof.value), (-4, -3 if below else 3), ("axes fraction", "data"), **where)


def _rate(value: float) -> str:
    """``1.5 T``, ``300 G``: a rate with an SI prefix."""
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "
