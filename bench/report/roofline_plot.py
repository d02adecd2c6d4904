"""The roofline of one workload: what each phase of each loop reaches, below what its device was seen to do."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopmark.bench.judge.bounds import Roof, kinds_of
from loopmark.bench.judge.summary import Row, WorkloadSummary
from loopmark.bench.records.ceilings import Ceiling, Ceilings
from loopmark.bench.report import layout, style

PHASE_MARKERS = {"forward": ">", "backward": "<"}
OTHER_MARKER = "o"
BAND = "#D9D9D9"
LARGEST_MARKER, SMALLEST_MARKER = 16.0, 4.0
LARGEST, SMALLEST = 1e18, 1e-3


def rooflines(
    workload: WorkloadSummary, ceilings: Ceilings | None, styles: dict[str, style.LineStyle]
) -> Figure | None:
    """Operations a second over operations a byte, on logarithmic axes; None where nothing of it is known.

    A phase that multiplies nothing has no place on these axes; the table has it.
    """
    copy = ceilings.bytes_per_second() if ceilings else None
    rows = [row for row in workload.rows if row.roofline is not None and not row.case.repeat]
    points = [(row, name, roof) for row in rows for name, roof in _multiplying(row)]
    if ceilings is None or copy is None or not points:
        return None
    kinds = dict.fromkeys(kind for row in rows for kind in kinds_of(row.case.work))
    roofs = [ceiling for kind in kinds if (ceiling := ceilings.flops_per_second(kind)) is not None]
    phases = dict.fromkeys(name for _, name, _ in points)
    looks = [styles[row.case.label] for row in rows]
    entries = [_entry(look.label, "s", look.colour) for look in looks if not look.behind]
    if behind := sum(look.behind for look in looks):
        entries.append(_entry(f"{behind} other loop{'' if behind == 1 else 's'}", "s", style.BEHIND))
    entries += [_entry(name, _marker(name), style.GREY) for name in phases]
    axes = layout.line_axes(
        f"{style.fitted(workload.workload)}: what the phases reach of what the device can do", entries,
        note="Bands: the 95 % intervals of what was measured. Phases without matrix products are in the table.",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    intensities = [roof.intensity for _, _, roof in points]
    marked = [*intensities, *(roof.value / copy.value for roof in roofs)]
    left, right = min(marked) / 4, max(marked) * 4
    _draw_roofs(axes, copy, roofs, left, right)
    # Hollow, each loop's smaller than the one's before it: where loops reach the same, all of them show.
    sizes = np.linspace(LARGEST_MARKER, SMALLEST_MARKER, len(rows))
    for row, name, roof in points:
        axes.plot(
            roof.intensity, roof.flops_per_second, _marker(name), color=styles[row.case.label].colour,
            markersize=sizes[rows.index(row)], markerfacecolor="none", markeredgewidth=1.3,
            zorder=1 + styles[row.case.label].zorder,
        )  # fmt: skip
    lowest = min(min(roof.flops_per_second for _, _, roof in points), left * copy.low)
    highest = max([ceiling.high for ceiling in roofs] + [roof.flops_per_second for _, _, roof in points])
    axes.set_xlim(left, right)
    axes.set_ylim(lowest / 2, highest * 3)
    style.log_ticks(axes.xaxis, left, right, lambda value: f"{value:g}")
    style.log_ticks(axes.yaxis, *axes.get_ylim(), _rate)
    axes.set_xlabel("floating-point operations for each byte that has to move")
    axes.set_ylabel("floating-point operations a second")
    return layout.figure_of(axes)


def _entry(label: str, marker: str, colour: str) -> Line2D:
    return Line2D([], [], color=colour, linestyle="", marker=marker, markersize=7, label=style.fitted(label))


def _multiplying(row: Row) -> list[tuple[str, Roof]]:
    found = row.roofline.phases if row.roofline else {}
    return [
        (name, roof)
        for name, roof in found.items()
        if roof.flops > 0 and SMALLEST < roof.intensity < LARGEST and SMALLEST < roof.flops_per_second < LARGEST
    ]


def _draw_roofs(axes: Axes, copy: Ceiling, roofs: list[Ceiling], left: float, right: float) -> None:
    """The slope of memory up to the highest roof, and a line for each type, named above its right end."""
    top = max((roof.value for roof in roofs), default=right * copy.value)
    bend = top / copy.value
    slope = [left, bend]
    axes.fill_between(slope, [x * copy.low for x in slope], [x * copy.high for x in slope], color=BAND, linewidth=0)
    axes.plot(slope, [left * copy.value, top], color=style.BLACK, linewidth=1.0)
    for roof in roofs:
        begin = roof.value / copy.value
        axes.fill_between([begin, right], roof.low, roof.high, color=BAND, linewidth=0)
        axes.plot([begin, right], [roof.value, roof.value], color=style.BLACK, linewidth=1.0)
    axes.annotate(
        f"copy {_rate(copy.value)}B/s", (left, left * copy.value), (8, 0), textcoords="offset points",
        size=style.SMALL, va="top",
    )  # fmt: skip
    _name_roofs(axes, roofs)


def _name_roofs(axes: Axes, roofs: list[Ceiling]) -> None:
    """Each above its line, but no two on top of each other."""
    last = math.inf
    for number, roof in enumerate(sorted(roofs, key=lambda one: -one.value)):
        below = number > 0 and last / roof.value < 2
        last = roof.value
        name = f"{style.fitted(roof.dtype or '', 0.9)} {_rate(roof.value)}FLOP/s"
        axes.annotate(
            name, (1, roof.value), (-4, -3 if below else 3),
            xycoords=("axes fraction", "data"), textcoords="offset points", size=style.SMALL, ha="right",
            va="top" if below else "bottom",
        )  # fmt: skip


def _marker(phase: str) -> str:
    return PHASE_MARKERS.get(phase, OTHER_MARKER)


def _rate(value: float) -> str:
    """``1.5 T``, ``300 G``: with a prefix of SI."""
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "
