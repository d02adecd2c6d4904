"""The plot of a search for a batch size: samples a second against the size, a line a loop."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopmark.bench.judge.batches import BatchFinding, BatchRow
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.report import format as show
from loopmark.bench.report import layout, style
from loopmark.bench.report.batches import words

RING, FRAME = 12, 14


def throughput(findings: Sequence[BatchFinding], styles: dict[str, style.LineStyle]) -> Figure | None:
    """One workload's loops; None where nothing fits. A ring marks the size to use, a frame the largest that fits."""
    drawn = [finding for finding in findings if finding.best is not None]
    if not drawn:
        return None
    entries = [styles[f.case.loop].proxy(marker=styles[f.case.loop].marker) for f in drawn]
    entries += [
        Line2D([], [], linestyle="", marker="o", markersize=RING, markerfacecolor="none", color=style.GREY,
               label="smallest that is as\ngood as the best: use it"),
        Line2D([], [], linestyle="", marker="s", markersize=FRAME, markerfacecolor="none", color=style.GREY,
               label="the largest that fits"),
    ]  # fmt: skip
    title = f"{style.fitted(drawn[0].case.workload)}: throughput against batch size"
    axes = layout.line_axes(title, entries, note="bars are 95 % intervals of the median of all blocks")
    axes.set_xscale("log")
    sizes, rates = [], []
    for finding in drawn:
        for row, rate in _measured(finding):
            sizes.append(row.attempt.batch_size)
            rates += [rate.value, rate.high]
    axes.set_xlim(min(sizes) / 1.25, max(sizes) * 1.25)
    axes.set_ylim(0, max(rates) * 1.08)
    for finding in drawn:
        _line(axes, finding, styles[finding.case.loop])
    _ticks(axes, sorted(set(sizes)))
    axes.set_xlabel("batch size, samples a step")
    axes.set_ylabel("samples a second")
    axes.yaxis.set_major_formatter(lambda value, _: show.count(value))
    return layout.figure_of(axes)


def _measured(finding: BatchFinding) -> list[tuple[BatchRow, Estimate]]:
    """The rows that have a rate; one that nothing bounds is drawn without its interval."""
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
        if row is finding.largest and words.is_known(finding):
            axes.plot(at, rate.value, "s", markersize=FRAME, markerfacecolor="none", color=look.colour, zorder=4)


def _ticks(axes: Axes, sizes: Sequence[int]) -> None:
    """The sizes that were tried, without those that would run into their neighbour's label."""
    shown: list[int] = []
    for size in sizes:
        if not shown or size / shown[-1] >= (sizes[-1] / sizes[0]) ** (1 / 12) * 1.02:
            shown.append(size)
    style.fixed_ticks(axes.xaxis, shown, [f"{size:,}" for size in shown])
