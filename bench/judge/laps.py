"""The time of a step's phases: which laps count, and how they add up."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.judge.statistics import Estimate, exp, student
from loopmark.bench.records.run import Case, disturbs
from loopmark.bench.records.samples import Samples

Numbers = NDArray[np.intp]
BLOCK = ["case", "launch", "round", "block"]  # the columns that identify a block
TURN = ["case", "launch", "round", "lapped"]
TRIMMED = 0.25  # the share of steps, by total time, left out at each end of each launch; rounded up to whole steps


class LapsByCase:
    """``Samples.phases``, case by case. The split sorts blocks only, and neither sorts nor copies ten million laps.

    ``blocks`` are the rows of ``Samples.blocks`` whose laps are wanted; None for all. In a case of ``cycles``, steps
    differ with the data: each of its blocks, which do not, is given as one step, the mean of its steps.
    """

    def __init__(
        self, laps: pd.DataFrame, blocks: pd.DataFrame | None = None, cycles: frozenset[int] = frozenset()
    ) -> None:
        self._laps, self._cycles = laps, cycles
        self._starts = block_starts(laps)
        self._lengths = np.diff(self._starts, append=len(laps))
        if blocks is not None:
            own, wanted = (pd.MultiIndex.from_frame(frame[BLOCK]) for frame in (laps.take(self._starts), blocks))
            kept = own.isin(wanted)
            self._starts, self._lengths = self._starts[kept], self._lengths[kept]
        cases = laps["case"].to_numpy()[self._starts]
        self._blocks = {case: np.flatnonzero(cases == case) for case in np.unique(cases)}

    def __getitem__(self, case: int) -> pd.DataFrame:
        """The rows of ``case``, in their order and with their index; empty if there are none."""
        blocks = self._blocks.get(case, self._starts[:0])
        starts, lengths = self._starts[blocks], self._lengths[blocks]
        before = np.cumsum(lengths) - lengths
        rows = self._laps.take(np.repeat(starts - before, lengths) + np.arange(lengths.sum()))
        if case not in self._cycles:
            return rows
        rows = rows[found_busy(rows)] if rows["device_seconds"].notna().any() else rows
        means = {"step": "min", "host_seconds": "mean", "device_seconds": "mean"}
        return rows.groupby([*BLOCK, "phase"], sort=False, observed=True).agg(means).reset_index()


def block_starts(laps: pd.DataFrame) -> Numbers:
    """The rows of ``Samples.phases`` at which a block begins; the rows of a block are consecutive. (blocks,)"""
    begins = np.ones(len(laps), dtype=bool)
    places = (laps[column].to_numpy() for column in BLOCK if column in laps)
    begins[1:] = np.logical_or.reduce([np.diff(place) != 0 for place in places])
    return np.flatnonzero(begins)


def block_numbers(starts: Numbers, rows: int) -> Numbers:
    """Each row's block, numbered from 0, if blocks begin at ``starts``. (rows,)"""
    return np.repeat(np.arange(len(starts)), np.diff(starts, append=rows))


def found_busy(laps: pd.DataFrame) -> NDArray[np.bool_]:
    """True for each row whose step began with a busy device: not the first of several in a block. (rows,)"""
    if laps.empty:
        return np.empty(0, dtype=bool)
    starts = block_starts(laps)
    block = block_numbers(starts, len(laps))
    step = laps["step"].to_numpy()
    first, last = (reach.reduceat(step, starts) for reach in (np.minimum, np.maximum))
    # A graph's step, whose phases the host does not see, is read separately and begins with a busy device.
    return np.asarray((step > first[block]) | (first == last)[block] | laps["host_seconds"].isna().to_numpy())


def counted_laps(laps: pd.DataFrame) -> pd.DataFrame:
    """The rows that count, with their ``seconds``; on the device's clock, those whose step began with it busy."""
    device = laps["device_seconds"]
    seconds = device.where(found_busy(laps)) if device.notna().any() else laps["host_seconds"]
    return laps.assign(seconds=seconds)[seconds.notna()]


def phases_by_block(laps: pd.DataFrame) -> pd.DataFrame:
    """Seconds per step of each phase (columns) in each lapped block (rows) of one case, over the steps that count."""
    counted = counted_laps(laps)
    place = [counted[name] for name in BLOCK[1:]]
    sums = counted.groupby([counted["phase"].astype("category"), *place], observed=True)["seconds"].sum()
    return sums.unstack("phase").div(counted.groupby(place)["step"].nunique(), axis="index").sort_index()


def step_numbers(laps: pd.DataFrame) -> tuple[Numbers, Numbers]:
    """Each row's step (rows,) and each step's launch (steps,), both numbered from 0. There is at least one row."""
    launch, step = pd.factorize(laps["launch"])[0], laps["step"].to_numpy(np.int64)
    key = launch * (step.max() - step.min() + 1) + step
    ahead = np.diff(key)
    if (ahead >= 0).all():  # in stored order; hashing would take ten times as long
        first = np.append(True, ahead > 0)
        return np.cumsum(first) - 1, launch[first]
    numbers = pd.factorize(key)[0]
    return numbers, launch[np.unique(numbers, return_index=True)[1]]


def phase_numbers(laps: pd.DataFrame) -> tuple[Numbers, list[str]]:
    """Each row's phase as an index into the list of names (rows,), and this list."""
    phases = pd.Categorical(laps["phase"])
    return phases.codes.astype(np.intp), [str(name) for name in phases.categories]


def throttled(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """True for each block at whose end the GPU's clock was throttled."""
    return blocks["throttle_reasons"].fillna("") != ""


def counted_blocks(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """True for each block that counts. A throttled block does not count if its turn has others that were not throttled.

    A throttled turn is repeated at its round's end. If the repetition was throttled too, all blocks count, and are
    marked. A block at the power cap always counts, since the loop itself causes it.
    """
    reasons = blocks["throttle_reasons"].fillna("")
    held = reasons.isin([reason for reason in reasons.unique() if disturbs(reason)])
    if not held.any():
        return ~held
    any_free = (~held).groupby([blocks[column] for column in TURN]).transform("any")
    return ~(held & any_free)


def laps_by_case(samples: Samples, cases: Sequence[Case] = ()) -> LapsByCase:
    """The laps that count. Those of ``cases`` whose steps differ with the data are of blocks."""
    blocks = counted_blocks(samples.blocks)
    cycles = frozenset(i for i, case in enumerate(cases) if case.has_cycle)
    return LapsByCase(samples.phases, None if blocks.all() else samples.blocks[blocks], cycles)


def phase_seconds(samples: pd.DataFrame, order: Sequence[str], column: str) -> dict[str, float]:
    """Seconds of each phase of a case's typical step, in ``order``: the median launch's share of the phase in a step.

    A launch's step is the mean over the middle half of its lapped steps. Whole steps are left out by their total time,
    never single phases, so that the phases still add up to a step. That step is the geometric mean over launches, like
    the step without timed phases; else the two would differ if launches do. The parts of a phase that repeats within a
    step (gradient accumulation) are added up.

    Rows whose ``column``, ``host_seconds`` or ``device_seconds``, is NaN are absent phases. On the device's clock only
    steps that began with a busy device count.
    """
    seconds = samples[column].to_numpy()
    if not (seen := ~np.isnan(seconds)).all():
        samples, seconds = samples[seen], seconds[seen]
    if column == "device_seconds" and not (busy := found_busy(samples)).all():
        samples, seconds = samples[busy], seconds[busy]
    if samples.empty:
        return {}
    step, launch = step_numbers(samples)
    phase, names = phase_numbers(samples)
    inside = _middle(np.bincount(step, seconds).astype(float), launch)
    steps = np.bincount(launch[inside])
    shape = len(steps), len(names)
    place = np.ravel_multi_index((launch[step], phase), shape)
    sums = np.bincount(place, seconds * inside[step], minlength=math.prod(shape)).reshape(shape)
    launches = sums / steps[:, None]
    totals = launches.sum(axis=1)
    timed = totals > 0  # a launch that took no time has no shares
    shares = _shares(launches[timed] / totals[timed, None]) if timed.any() else np.zeros(len(names))
    typical = math.exp(np.log(totals[timed]).mean()) if timed.any() else 0.0
    found = {names[i]: float(shares[i] * typical) for i in np.flatnonzero(np.bincount(phase))}
    return {phase: found[phase] for phase in order if phase in found}


def _shares(launches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each phase's median share over ``launches`` (launches, phases), or the mean if most lack it; they sum to 1."""
    middle = np.median(launches, axis=0)
    middle = np.where(middle > 0, middle, launches.mean(axis=0))
    return np.asarray(middle / middle.sum())


def _middle(seconds: NDArray[np.float64], launch: NDArray[np.intp]) -> NDArray[np.bool_]:
    """True for each step whose ``seconds`` are in the middle half of its launch. All shapes are (steps,)."""
    order = np.lexsort((seconds, launch))
    count = np.bincount(launch)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    # At least one step at each end, so that few steps are robust too, but never all of them.
    cut = np.minimum(np.ceil(TRIMMED * count), (count - 1) // 2)
    return np.asarray((rank >= cut[launch]) & (rank < (count - cut)[launch]))


def phase_estimates(laps: pd.DataFrame, order: Sequence[str]) -> dict[str, Estimate]:
    """Seconds per step in each phase, as in ``phase_seconds``, on the device's clock if there is one.

    The interval has the width, as a ratio, of Student's t interval over the logarithms of the launches' own phases. It
    is infinite for a single launch, and if a launch lacks the phase or measured no time in it.
    """
    column = "device_seconds" if laps["device_seconds"].notna().any() else "host_seconds"
    launches = [phase_seconds(own, order, column) for _, own in laps.groupby("launch")]
    typical = phase_seconds(laps, order, column).items()
    return {phase: _about(value, [own.get(phase, 0.0) for own in launches]) for phase, value in typical}


def _about(value: float, launches: Sequence[float]) -> Estimate:
    if min(launches) <= 0:
        return Estimate(value, -math.inf, math.inf)
    logs = np.log(launches)
    return student(logs - logs.mean()).map(lambda log: value * exp(log))
