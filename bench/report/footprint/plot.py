"""The plot of a step's memory: bytes in use from moment to moment, its phases shaded."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopmark.bench.records.footprint import Footprint, FootprintCase
from loopmark.bench.report import format as show
from loopmark.bench.report import layout, style

ALONG = {
    "tensors alive": "operators of the step, in order",
    "device memory allocated": "each time the allocator gave or took, in order",
}
HEADROOM = 1.12


def timeline(case: FootprintCase) -> Figure | None:
    """One loop's step; None where there is nothing to draw."""
    step = case.footprint
    if step is None or not any(stretch.moments for stretch in step.stretches):
        return None
    phases = [phase.phase for phase in step.phases]
    colours = style.phase_colours(phases)
    moments = [step.before_bytes, *(bytes_ for stretch in step.stretches for bytes_ in stretch.moments)]
    size, unit = show.data_unit(max(moments))
    entries = [
        Line2D([], [], linestyle="", marker="s", markersize=8, alpha=0.35, color=colours[phase],
               label=f"{style.fitted(phase, 1.1)}\npeak {show.data(_peak_of(step, phase))}")
        for phase in phases
    ]  # fmt: skip
    entries.append(Line2D([], [], color=style.GREY, linestyle=style.DASHES[1], label="before the step"))
    title = (
        f"{style.fitted(case.workload)}, {style.fitted(case.loop)}: memory within a step of {step.batch_size:,} samples"
        f"{', run without compiling it' if step.ran_eagerly else ''}"
    )
    axes = layout.line_axes(title, entries)
    _shade(axes, step, colours)
    axes.step(range(len(moments)), [moment / size for moment in moments], where="post", color=style.BLACK, linewidth=1)
    axes.axhline(step.before_bytes / size, color=style.GREY, linestyle=style.DASHES[1], linewidth=0.9)
    axes.set_xlim(0, len(moments) - 1)
    axes.set_ylim(0, max(moments) / size * HEADROOM)
    _name_peak(axes, moments, size, step)
    axes.set_xlabel(ALONG[step.kind])
    axes.set_ylabel(f"{unit}, {step.kind}")
    return layout.figure_of(axes)


def _shade(axes: Axes, step: Footprint, colours: dict[str, str]) -> None:
    ends = list(accumulate(len(stretch.moments) for stretch in step.stretches))
    for stretch, first, last in zip(step.stretches, [0, *ends], ends, strict=False):
        axes.axvspan(first, last, color=colours[stretch.phase], alpha=0.22, linewidth=0)


def _name_peak(axes: Axes, moments: Sequence[int], size: float, step: Footprint) -> None:
    at = moments.index(max(moments))
    axes.plot(at, max(moments) / size, "v", color=style.BLACK, markersize=6, zorder=3)
    where = "right" if at > len(moments) / 2 else "left"
    text = style.fitted(f"{show.data(max(moments))}  {step.peak_operator or ''}", 3.0, style.SMALL)
    axes.annotate(
        text, (at, max(moments) / size), (0, 7), textcoords="offset points", size=style.SMALL, ha=where,
    )  # fmt: skip


def _peak_of(step: Footprint, phase: str) -> int:
    return next(one.peak_bytes for one in step.phases if one.phase == phase)
