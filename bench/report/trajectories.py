"""The plots of what happened as the run went on: step times over its rounds, losses over its steps."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.judge.summary import WorkloadSummary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import format as show
from loopmark.bench.report import layout, style
from loopmark.bench.report.disturbance import SLOWER, causes, disturbed, slowness

MOST_GROUPS = 240
"""About as many as can be told apart side by side: a plot has no more points than that across."""
MOST_BANDED = 2400
"""Groups of all cases together, each of which has a band: of twenty loops, an SVG of 300 kB."""
MOST_LAUNCHES = 60
"""Of so many the beginnings are marked; of more, groups may join rounds of several launches."""
BAND = (0.1, 0.9)
"""The quantiles of a group's rounds that its band reaches to."""
MOSTLY = 0.5
"""The share of a group's rounds that must have been disturbed for it to be marked."""


@dataclass(frozen=True)
class Trajectory:
    """One case over the run: one value a group, NaN where it has no round there."""

    seconds: NDArray[np.float64]
    """The median round's seconds a step. (groups,)"""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    marked: NDArray[np.bool_]
    """Whether something disturbed the round; of several, at least half of them."""


@dataclass(frozen=True)
class Rounds:
    """All cases of a workload over the same groups of rounds."""

    width: int
    """Rounds of a group, at most; 1 where each is drawn by itself."""
    places: int
    """Rounds of all launches, one after the other."""
    at: NDArray[np.float64]
    """Where among them each group lies. (groups,)"""
    pieces: tuple[NDArray[np.intp], ...]
    """The groups that a line joins: those of one launch, as far as launches are told apart."""
    starts: tuple[float, ...]
    """Where a launch begins, but for the first one; none where there are too many to mark."""
    trajectories: dict[int, Trajectory]
    """By case; only those that have a round."""
    disturbed_share: float
    """Of all the rounds of all cases, how many something disturbed."""
    spells: tuple[tuple[float, float], ...] = ()
    """From where to where, among the rounds, the loops were slow together."""

    @property
    def low(self) -> float:
        """The least seconds that are drawn."""
        return float(min(np.nanmin(trajectory.low) for trajectory in self.trajectories.values()))

    @property
    def high(self) -> float:
        """The most seconds that are drawn."""
        return float(max(np.nanmax(trajectory.high) for trajectory in self.trajectories.values()))


def rounds_of(plain: pd.DataFrame) -> Rounds:
    """The rounds of blocks that were timed as a whole, of which there is at least one."""
    plain = plain.assign(seconds=block_seconds(plain), disturbed=disturbed(plain))
    rounds = plain.groupby(["case", "launch", "round"]).agg(
        seconds=("seconds", "median"), disturbed=("disturbed", "any")
    )
    places = pd.MultiIndex.from_frame(plain[["launch", "round"]].drop_duplicates().sort_values(["launch", "round"]))
    launch = places.get_level_values("launch").to_numpy()
    begins = np.flatnonzero(np.diff(launch)) + 1
    apart = len(begins) < MOST_LAUNCHES
    most = min(MOST_GROUPS, MOST_BANDED // plain["case"].nunique())
    group, width = _groups(len(places), begins if apart else begins[:0], most)
    at = np.bincount(group, np.arange(len(places))) / np.bincount(group)
    first = group[begins] if apart else begins[:0]
    slow = slowness(rounds["seconds"]).reindex(places).to_numpy() > SLOWER
    rounds["group"] = group[places.get_indexer(rounds.reset_index("case").index)]
    return Rounds(
        width=width,
        places=len(places),
        at=at,
        pieces=tuple(np.split(np.arange(len(at)), first)),
        starts=tuple(begins - 0.5) if apart else (),
        trajectories={int(str(case)): _trajectory(table, len(at)) for case, table in rounds.groupby(level="case")},
        disturbed_share=float(rounds["disturbed"].mean()),
        spells=_spells(np.bincount(group, slow) / np.bincount(group) >= MOSTLY, np.bincount(group)),
    )


def _groups(places: int, begins: NDArray[np.intp], most: int) -> tuple[NDArray[np.intp], int]:
    """The group of each place, and how many places the largest has; no group reaches over one of ``begins``.

    Args:
        most: how many groups there may be, where there have to be groups.
    """
    room = max(1, most - len(begins))  # each launch ends in a group that may not be full
    width = 1 if places <= MOST_GROUPS else -(-places // room)
    inside = np.arange(places) - np.concatenate([[0], begins])[np.searchsorted(begins, np.arange(places), "right")]
    new = inside % width == 0
    return np.cumsum(new) - 1, width


def _spells(slow: NDArray[np.bool_], sizes: NDArray[np.intp]) -> tuple[tuple[float, float], ...]:
    """Where groups of so many rounds that are ``slow`` begin and end, neighbours as one."""
    edges = np.concatenate([[0], np.cumsum(sizes)]) - 0.5
    changes = np.flatnonzero(np.diff(np.concatenate([[False], slow, [False]]).astype(int)))
    return tuple((float(edges[a]), float(edges[b])) for a, b in zip(changes[::2], changes[1::2], strict=True))


def _trajectory(rounds: pd.DataFrame, groups: int) -> Trajectory:
    by_group = rounds.groupby("group")
    low, seconds, high = (
        by_group["seconds"].quantile(q).reindex(range(groups)).to_numpy(dtype=float) for q in (BAND[0], 0.5, BAND[1])
    )
    share = by_group["disturbed"].mean().reindex(range(groups)).to_numpy(dtype=float)
    return Trajectory(seconds, low, high, share >= MOSTLY)


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
        if case not in rounds.trajectories:
            continue
        trajectory, look = rounds.trajectories[case], styles[label]
        for piece in rounds.pieces:  # a line joins the rounds of one process only
            at = rounds.at[piece]
            if rounds.width > 1 and not look.behind:
                ends = trajectory.low[piece], trajectory.high[piece]
                axes.fill_between(at, *ends, color=look.colour, alpha=0.12, linewidth=0)
            axes.plot(
                at, trajectory.seconds[piece], color=look.colour, linestyle=look.dash, linewidth=min(1.1, look.width),
                zorder=look.zorder,
            )  # fmt: skip
        if look.behind:
            continue
        marked = rounds.at[trajectory.marked], trajectory.seconds[trajectory.marked]
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
