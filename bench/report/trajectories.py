"""The plots over the course of a run: step times by round, losses by step."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.judge.summary import WorkloadSummary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import layout, show, style
from loopmark.bench.report.disturbance import SLOWER, causes, disturbed, slowness

MOST_GROUPS = 240  # the most points across a plot that a reader can distinguish
MOST_BANDED = 2400  # the most groups with a band, of all cases: an SVG of 300 kB for twenty loops
MOST_LAUNCHES = 60  # the most launches whose starts are marked; with more, a group may join rounds of several
BAND = (0.1, 0.9)  # the quantiles of a group's rounds at the ends of its band
MOSTLY = 0.5  # the share of a group's rounds that must have been disturbed for it to be marked


@dataclass(frozen=True)
class Trajectory:
    """One case over the run: one value for each group, NaN without a round there. (groups,)"""

    seconds: NDArray[np.float64]  # seconds a step, of the median round
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    marked: NDArray[np.bool_]  # True if the round, or at least half of several, was disturbed


@dataclass(frozen=True)
class Rounds:
    """All cases of a workload over the same groups of rounds."""

    width: int  # the most rounds of a group; 1 if each is drawn alone
    places: int  # the number of rounds of all launches
    at: NDArray[np.float64]  # the position of each group among them (groups,)
    pieces: tuple[NDArray[np.intp], ...]  # the groups that a line joins: of one launch, if starts are marked
    starts: tuple[float, ...]  # the starts of all launches but the first; none if there are too many to mark
    trajectories: dict[int, Trajectory]  # by case; only cases with a round
    disturbed_share: float  # the share of disturbed rounds, of all cases
    spells: tuple[tuple[float, float], ...] = ()  # the beginning and end of each time when the loops were slow together


def rounds_of(plain: pd.DataFrame) -> Rounds:
    """The rounds of blocks timed as a whole; ``plain`` has at least one."""
    plain = plain.assign(seconds=block_seconds(plain), disturbed=disturbed(plain))
    by_round = plain.groupby(["case", "launch", "round"])
    rounds = by_round.agg(seconds=("seconds", "median"), disturbed=("disturbed", "any"))
    places = pd.MultiIndex.from_frame(plain[["launch", "round"]].drop_duplicates().sort_values(["launch", "round"]))
    launch = places.get_level_values("launch").to_numpy()
    begins = np.flatnonzero(np.diff(launch)) + 1
    marked = begins if len(begins) < MOST_LAUNCHES else begins[:0]
    group, width = _groups(len(places), marked, min(MOST_GROUPS, MOST_BANDED // plain["case"].nunique()))
    sizes = np.bincount(group)
    at = np.bincount(group, np.arange(len(places))) / sizes
    slow = slowness(rounds["seconds"]).reindex(places).to_numpy() > SLOWER
    rounds["group"] = group[places.get_indexer(rounds.reset_index("case").index)]
    return Rounds(
        width=width,
        places=len(places),
        at=at,
        pieces=tuple(np.split(np.arange(len(at)), group[marked])),
        starts=tuple(marked - 0.5),
        trajectories={int(str(case)): _trajectory(table, len(at)) for case, table in rounds.groupby(level="case")},
        disturbed_share=float(rounds["disturbed"].mean()),
        spells=_spells(np.bincount(group, slow) / sizes >= MOSTLY, sizes),
    )


def _groups(places: int, begins: NDArray[np.intp], most: int) -> tuple[NDArray[np.intp], int]:
    """The group of each place, at most ``most``, and the largest size; no group crosses one of ``begins``."""
    room = max(1, most - len(begins))  # each launch ends in a group that may not be full
    width = 1 if places <= MOST_GROUPS else -(-places // room)
    inside = np.arange(places) - np.concatenate([[0], begins])[np.searchsorted(begins, np.arange(places), "right")]
    return np.cumsum(inside % width == 0) - 1, width


def _spells(slow: NDArray[np.bool_], sizes: NDArray[np.intp]) -> tuple[tuple[float, float], ...]:
    """The beginnings and ends of ``slow`` groups, given their ``sizes`` in rounds; neighbours are joined."""
    edges = np.concatenate([[0], np.cumsum(sizes)]) - 0.5
    changes = np.flatnonzero(np.diff(np.concatenate([[False], slow, [False]]).astype(int)))
    return tuple((float(edges[a]), float(edges[b])) for a, b in zip(changes[::2], changes[1::2], strict=True))


def _trajectory(rounds: pd.DataFrame, groups: int) -> Trajectory:
    by_group = rounds.groupby("group")
    figures = [*(by_group["seconds"].quantile(q) for q in (0.5, *BAND)), by_group["disturbed"].mean()]
    seconds, low, high, share = (figure.reindex(range(groups)).to_numpy(dtype=float) for figure in figures)
    return Trajectory(seconds, low, high, share >= MOSTLY)


def step_times(
    workload: WorkloadSummary,
    cases: dict[str, int],
    samples: Samples,
    styles: dict[str, style.LineStyle],
    *,
    in_turns: bool = True,
) -> Figure | None:
    """Seconds a step of each case over the rounds of the run; a cross marks a disturbed round.

    Many rounds are drawn in groups: the median, a band for most rounds, and a cross where most were disturbed. If
    loops took turns within a round, the rounds in which most loops were slow together are shaded.
    """
    plain = samples.blocks[samples.blocks["case"].isin(cases.values()) & ~samples.blocks["lapped"]]
    if plain.empty:
        return None
    rounds = rounds_of(plain) if in_turns else replace(rounds_of(plain), spells=())
    title, entries = f"{style.fitted(workload.workload)}: step time over the run", [styles[label] for label in cases]
    axes = layout.line_axes(title, style.legend(entries), note=_note(rounds, causes(plain)))
    drawn = {styles[label]: rounds.trajectories[case] for label, case in cases.items() if case in rounds.trajectories}
    for look, trajectory in drawn.items():
        for piece in rounds.pieces:  # a line joins the rounds of one process only
            at = rounds.at[piece]
            if rounds.width > 1 and not look.behind:
                ends = trajectory.low[piece], trajectory.high[piece]
                axes.fill_between(at, *ends, color=look.colour, alpha=0.12, linewidth=0)
            axes.plot(at, trajectory.seconds[piece], **look.line | {"linewidth": min(1.1, look.width)})
        if not look.behind:
            marked = rounds.at[trajectory.marked], trajectory.seconds[trajectory.marked]
            axes.plot(*marked, "+", color=look.colour, markersize=5, markeredgewidth=0.9)
    for spell in rounds.spells:
        axes.axvspan(*spell, color=style.GRID, linewidth=0, zorder=0)
    for start in rounds.starts:
        axes.axvline(start, color=style.BEHIND, linewidth=0.8)
    low = float(min(np.nanmin(one.low) for one in drawn.values())) / 1.05
    high = float(max(np.nanmax(one.high) for one in drawn.values())) * 1.05
    grouped = f", in groups of {show.count(rounds.width)}" if rounds.width > 1 else ""
    begun = "; a grey line where fresh processes were launched" if rounds.starts else ""
    axes.set(xlim=(-0.5, max(rounds.places - 0.5, 0.5)), xlabel=f"round{grouped}{begun}")
    label = "median seconds a step" + (", and 80 % of the rounds" if grouped else "")
    style.log_scale(axes.yaxis, low, high, show.round_seconds, label)
    return layout.figure_of(axes)


def _note(rounds: Rounds, causes: str) -> str:
    said = []
    if rounds.disturbed_share and rounds.width == 1:
        said.append(f"+ the round was disturbed more than usual: {causes}")
    elif rounds.disturbed_share:
        share = show.percent(rounds.disturbed_share)
        said.append(f"+ at least half of the group's rounds were disturbed ({share} of all rounds): {causes}")
    if rounds.spells:
        said.append("shaded: most loops were slow together")
    return "; ".join(said)


def losses(
    workload: WorkloadSummary, cases: dict[str, int], samples: Samples, styles: dict[str, style.LineStyle]
) -> Figure | str | None:
    """Loss over steps, drawn by ``layout.loss_lines``."""
    read = samples.losses[samples.losses["case"].isin(cases.values())]
    bad = read.loc[~np.isfinite(read["loss"]), "case"].value_counts()
    lost = {label: int(bad.get(case, 0)) for label, case in cases.items()}
    entries = style.legend(styles[label] for label in cases if not lost[label])
    entries += [styles[label].proxy(f"\n{count} not finite") for label, count in lost.items() if count]
    losses = {label: read[read["case"] == case] for label, case in cases.items()}
    title = f"{style.fitted(workload.workload)}: the loss as it trained"
    return layout.loss_lines(losses, "launch", styles, title, entries, "step of each launch")
