"""A workload's rounds, drawn one by one while there are few, and in groups once a plot has no room for each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.report.disturbance import disturbed
from loopmark.bench.report.slow_spells import SLOWER, slowness

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
class Course:
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
    courses: dict[int, Course]
    """By case; only those that have a round."""
    disturbed_share: float
    """Of all the rounds of all cases, how many something disturbed."""
    spells: tuple[tuple[float, float], ...] = ()
    """From where to where, among the rounds, the loops were slow together."""

    @property
    def low(self) -> float:
        """The least seconds that are drawn."""
        return float(min(np.nanmin(course.low) for course in self.courses.values()))

    @property
    def high(self) -> float:
        """The most seconds that are drawn."""
        return float(max(np.nanmax(course.high) for course in self.courses.values()))


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
        courses={int(str(case)): _course(table, len(at)) for case, table in rounds.groupby(level="case")},
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


def _course(rounds: pd.DataFrame, groups: int) -> Course:
    by_group = rounds.groupby("group")
    low, seconds, high = (
        by_group["seconds"].quantile(q).reindex(range(groups)).to_numpy(dtype=float) for q in (BAND[0], 0.5, BAND[1])
    )
    share = by_group["disturbed"].mean().reindex(range(groups)).to_numpy(dtype=float)
    return Course(seconds, low, high, share >= MOSTLY)
