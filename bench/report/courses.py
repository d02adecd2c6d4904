"""The plots of what happened as the run went on: step times over its rounds, losses over its steps."""

import math
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from loopmark.bench.judge.summary import WorkloadSummary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import format as show
from loopmark.bench.report import layout, style
from loopmark.bench.report.disturbance import causes
from loopmark.bench.report.rounds import Rounds, rounds_of

LOSS_BINS = 120
"""Steps are drawn in at most so many groups: a plot has no more points than that across."""


def step_times(
    workload: WorkloadSummary,
    cases: dict[str, int],
    samples: Samples,
    styles: dict[str, style.LineStyle],
    *,
    in_turns: bool = True,
) -> Figure | None:
    """Seconds a step of each case over the rounds of the run; a cross where something disturbed the round.

    Rounds in which most loops were slow together are shaded, where loops took turns within a round.

    Of many rounds, each group's median, a band for most of its rounds, and a cross where most were disturbed.
    """
    plain = samples.blocks[samples.blocks["case"].isin(cases.values()) & ~samples.blocks["lapped"]]
    if plain.empty:
        return None
    rounds = rounds_of(plain) if in_turns else replace(rounds_of(plain), spells=())
    axes = layout.line_axes(
        f"{style.fitted(workload.workload)}: step time over the run",
        style.legend(styles[label] for label in cases),
        note=_note(rounds, causes(plain)),
    )
    axes.set_yscale("log")
    for label, case in cases.items():
        if case not in rounds.courses:
            continue
        course, look = rounds.courses[case], styles[label]
        for piece in rounds.pieces:  # a line joins the rounds of one process only
            at = rounds.at[piece]
            if rounds.width > 1 and not look.behind:
                ends = course.low[piece], course.high[piece]
                axes.fill_between(at, *ends, color=look.colour, alpha=0.12, linewidth=0)
            axes.plot(
                at, course.seconds[piece], color=look.colour, linestyle=look.dash, linewidth=min(1.1, look.width),
                zorder=look.zorder,
            )  # fmt: skip
        if look.behind:
            continue
        marked = rounds.at[course.marked], course.seconds[course.marked]
        axes.plot(*marked, "+", color=look.colour, markersize=5, markeredgewidth=0.9)
    for spell in rounds.spells:
        axes.axvspan(*spell, color=style.GRID, linewidth=0, zorder=0)
    for start in rounds.starts:
        axes.axvline(start, color=style.BEHIND, linewidth=0.8)
    axes.set_xlim(-0.5, max(rounds.places - 0.5, 0.5))
    low, high = rounds.low / 1.05, rounds.high * 1.05
    axes.set_ylim(low, high)
    style.log_ticks(axes.yaxis, low, high, show.round_seconds)
    grouped = f", in groups of {show.count(rounds.width)}" if rounds.width > 1 else ""
    axes.set_xlabel(f"round{grouped}" + ("; a grey line where fresh processes were launched" if rounds.starts else ""))
    axes.set_ylabel("median seconds a step" + (", and 80 % of the rounds" if grouped else ""))
    return layout.figure_of(axes)


def _note(rounds: Rounds, causes: str) -> str:
    said = []
    if rounds.disturbed_share and rounds.width == 1:
        said.append(f"+ that round was disturbed more than usual: {causes}")
    elif rounds.disturbed_share:
        share = show.percent(rounds.disturbed_share)
        said.append(f"+ half of a group's rounds or more were disturbed, as {share} of all were: {causes}")
    if rounds.spells:
        said.append("shaded: most loops slow together, whatever the cause")
    return "; ".join(said)


def losses(
    workload: WorkloadSummary, cases: dict[str, int], samples: Samples, styles: dict[str, style.LineStyle]
) -> Figure | None:
    """Loss over steps: the median over launches, and a band from the least to the most of them."""
    read = samples.losses[samples.losses["case"].isin(cases.values())]
    finite = read[style.drawn(read["loss"])]
    if finite.empty:
        return None
    bad = read.loc[~np.isfinite(read["loss"]), "case"].value_counts()
    lost = {label: int(bad.get(case, 0)) for label, case in cases.items()}
    entries = style.legend(styles[label] for label in cases if not lost[label])
    entries += [styles[label].proxy(f"\n{count} not finite") for label, count in lost.items() if count]
    axes = layout.line_axes(f"{style.fitted(workload.workload)}: the loss as it trained", entries)
    width = max(1, math.ceil((int(finite["step"].max()) + 1) / LOSS_BINS))
    # A launch reads the losses of its lapped steps only, and those are drawn at random: grouped, they meet.
    binned = finite.assign(step=finite["step"] // width * width + (width - 1) / 2)
    launches = binned.groupby(["case", "step", "launch"])["loss"].mean().groupby(["case", "step"])
    bands = launches.agg(["median", "min", "max"])
    for label, case in cases.items():
        if case in bands.index.get_level_values("case"):
            layout.banded_line(axes, bands.loc[case].rename_axis("at").reset_index(), styles[label])
    low, high = float(bands["min"].min()), float(bands["max"].max())
    if low > 0 and high / low > 50:
        axes.set_yscale("log")
        style.log_ticks(axes.yaxis, low, high, lambda value: f"{value:g}")
    axes.set_xlim(0, float(finite["step"].max()) + 1)
    axes.set_xlabel("step of each launch")
    axes.set_ylabel("loss, median over launches")
    return layout.figure_of(axes)
