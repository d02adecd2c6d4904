"""Where a step's time goes on every machine, as shares."""

from matplotlib.figure import Figure

from loopmark.bench.judge.side_by_side import WorkloadComparison
from loopmark.bench.report import cells, layout, style
from loopmark.bench.report import format as show
from loopmark.bench.report.cells import phase_names
from loopmark.bench.report.compare.board import THICK, beside, board, note_of
from loopmark.bench.report.plots import LIGHT_TEXT_ON, square

RIGHT = 1.3
"""Inches for the length of the step."""
LEAST_LABELLED = 0.06


def shares(contest: WorkloadComparison) -> Figure | None:
    """Each phase's share of the step, stacked, on the device's clock where there is one; beside it, the whole step."""
    rows = [row for loop in contest.loops for _, row in contest.rows(loop) if row.phases]
    if not rows:
        return None
    names = phase_names(rows)
    colours = style.phase_colours(names)
    title = f"{style.fitted(contest.workload)}: what share of a step each phase takes"
    entries = [square(style.fitted(name, 0.85), colours[name]) for name in names]
    axes, places = board(contest, title, entries, right=RIGHT, note=note_of(contest))
    bars: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for place in places:
        left, own = 0.0, cells.shares(place.row.phases)
        for name in (name for name in names if name in own):
            bars[name].append((place.y, own[name], left))
            if own[name] > LEAST_LABELLED:
                ink = style.LIGHT_INK if colours[name] in LIGHT_TEXT_ON else style.DARK_INK
                text = f"{own[name] * 100:.0f}"
                axes.text(left + own[name] / 2, place.y, text, color=ink, size=style.SMALL, ha="center", va="center")
            left += own[name]
        beside(axes, place.y, 1, show.seconds(sum(place.row.phases.values())) if own else show.ABSENT, inches=RIGHT)
    # A phase's bars at once: one by one, hundreds of them take twice as long.
    for name, own_bars in ((name, one) for name, one in bars.items() if one):
        y, widths, lefts = zip(*own_bars, strict=True)
        axes.barh(y, widths, THICK, lefts, color=colours[name], edgecolor="white", linewidth=0.6)
    axes.set_xlim(0, 1)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    style.fixed_ticks(axes.xaxis, ticks, [f"{tick * 100:.0f}" for tick in ticks])
    axes.set_xlabel("% of a step whose phases are timed; at the right, its length")
    return layout.figure_of(axes)
