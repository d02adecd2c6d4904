"""Where a step's time goes: the laps that count, and the phases that they add up to."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.judge.statistics import Estimate, exp, student
from loopmark.bench.records.run import disturbs
from loopmark.bench.records.samples import Samples

Numbers = NDArray[np.intp]
BLOCK = ["case", "launch", "round", "block"]  # the columns that tell one block from the others
TURN = ["case", "launch", "round", "lapped"]
TRIMMED = 0.25  # the share of steps, by total time, left out at either end of each launch; rounded up to whole steps


class LapsByCase:
    """``Samples.phases``, case by case: ten million laps are neither sorted nor copied to be split, their blocks are.

    ``blocks`` are the rows of ``Samples.blocks`` whose laps are wanted; None where all are.
    """

    def __init__(self, laps: pd.DataFrame, blocks: pd.DataFrame | None = None) -> None:
        self._laps = laps
        self._starts = block_starts(laps)
        self._lengths = np.diff(self._starts, append=len(laps))
        if blocks is not None:
            own, wanted = (pd.MultiIndex.from_frame(frame[BLOCK]) for frame in (laps.take(self._starts), blocks))
            kept = own.isin(wanted)
            self._starts, self._lengths = self._starts[kept], self._lengths[kept]
        cases = laps["case"].to_numpy()[self._starts]
        self._blocks = {case: np.flatnonzero(cases == case) for case in np.unique(cases)}

    def __getitem__(self, case: int) -> pd.DataFrame:
        """The rows of ``case``, in their order and with their index; none where there are none."""
        blocks = self._blocks.get(case, self._starts[:0])
        starts, lengths = self._starts[blocks], self._lengths[blocks]
        before = np.cumsum(lengths) - lengths
        return self._laps.take(np.repeat(starts - before, lengths) + np.arange(lengths.sum()))


def block_starts(laps: pd.DataFrame) -> Numbers:
    """The rows of ``Samples.phases`` with which a block begins: a block's follow one another. (blocks,)"""
    begins = np.ones(len(laps), dtype=bool)
    places = (laps[column].to_numpy() for column in BLOCK if column in laps)
    begins[1:] = np.logical_or.reduce([np.diff(place) != 0 for place in places])
    return np.flatnonzero(begins)


def block_numbers(starts: Numbers, rows: int) -> Numbers:
    """The block that each row is of, numbered from 0, where blocks begin at ``starts``. (rows,)"""
    return np.repeat(np.arange(len(starts)), np.diff(starts, append=rows))


def found_busy(laps: pd.DataFrame) -> NDArray[np.bool_]:
    """For each row whether its step found the device at work: the first of several in a block did not. (rows,)"""
    if laps.empty:
        return np.empty(0, dtype=bool)
    starts = block_starts(laps)
    block = block_numbers(starts, len(laps))
    step = laps["step"].to_numpy()
    first, last = (reach.reduceat(step, starts) for reach in (np.minimum, np.maximum))
    # A graph's step, of which the host sees no phases, is read by itself and begins at work.
    return np.asarray((step > first[block]) | (first == last)[block] | laps["host_seconds"].isna().to_numpy())


def counted_laps(laps: pd.DataFrame) -> pd.DataFrame:
    """The rows that count, with their ``seconds``: on the device's clock those of steps that found it at work."""
    device = laps["device_seconds"]
    seconds = device.where(found_busy(laps)) if device.notna().any() else laps["host_seconds"]
    return laps.assign(seconds=seconds)[seconds.notna()]


def phases_by_block(laps: pd.DataFrame) -> pd.DataFrame:
    """Seconds a step of each phase, a column each, in each lapped block of one case, over the steps that count."""
    counted = counted_laps(laps)
    place = [counted[name] for name in BLOCK[1:]]
    sums = counted.groupby([counted["phase"].astype("category"), *place], observed=True)["seconds"].sum()
    return sums.unstack("phase").div(counted.groupby(place)["step"].nunique(), axis="index").sort_index()


def step_numbers(laps: pd.DataFrame) -> tuple[Numbers, Numbers]:
    """Each row's step (rows,) and each step's launch (steps,), both numbered from 0. There is at least one row."""
    launch, step = pd.factorize(laps["launch"])[0], laps["step"].to_numpy(np.int64)
    key = launch * (step.max() - step.min() + 1) + step
    ahead = np.diff(key)
    if (ahead >= 0).all():  # as they were written; to hash them would take ten times as long
        first = np.append(True, ahead > 0)
        return np.cumsum(first) - 1, launch[first]
    numbers = pd.factorize(key)[0]
    return numbers, launch[np.unique(numbers, return_index=True)[1]]


def phase_numbers(laps: pd.DataFrame) -> tuple[Numbers, list[str]]:
    """The phase that each row is of, as a place in the list of their names. (rows,)"""
    phases = pd.Categorical(laps["phase"])
    return phases.codes.astype(np.intp), [str(name) for name in phases.categories]


def throttled(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """For each block, whether the GPU's clock was held down when it ended."""
    return blocks["throttle_reasons"].fillna("") != ""


def counted_blocks(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """For each block, whether it counts: a throttled one does not where its turn has others that were not.

    A throttled turn is taken again at its round's end; if that too was throttled, all counts, and is marked. A block at
    the power cap always counts: that is the loop's own doing.
    """
    reasons = blocks["throttle_reasons"].fillna("")
    held = reasons.isin([reason for reason in reasons.unique() if disturbs(reason)])
    if not held.any():
        return ~held
    any_free = (~held).groupby([blocks[column] for column in TURN]).transform("any")
    return ~(held & any_free)


def laps_by_case(samples: Samples) -> LapsByCase:
    """The laps that count."""
    blocks = counted_blocks(samples.blocks)
    return LapsByCase(samples.phases, None if blocks.all() else samples.blocks[blocks])


def phase_seconds(samples: pd.DataFrame, order: Sequence[str], column: str) -> dict[str, float]:
    """Seconds of each phase of a case's typical step, in ``order``: a phase's share of a step, the median launch's.

    A launch's step is the mean over the middle half of its lapped steps. Whole steps are left out, by their total
    time, never single phases, so that the phases still add up to a step; and that is the geometric mean over launches,
    as the step's whose phases nobody timed is, or the two would differ where launches do. A phase that repeats within a
    step (gradient accumulation) counts with all its turns.

    Rows whose ``column``, ``host_seconds`` or ``device_seconds``, is NaN are absent phases. On the device's clock only
    steps count that found the device at work.
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
    timed = totals > 0  # of a launch that took no time nobody knows the shares
    shares = _shares(launches[timed] / totals[timed, None]) if timed.any() else np.zeros(len(names))
    typical = math.exp(np.log(totals[timed]).mean()) if timed.any() else 0.0
    found = {names[i]: float(shares[i] * typical) for i in np.flatnonzero(np.bincount(phase))}
    return {phase: found[phase] for phase in order if phase in found}


def _shares(launches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each phase's median share in the launches, (launches, phases), or the mean if most lack it; all are one whole."""
    middle = np.median(launches, axis=0)
    middle = np.where(middle > 0, middle, launches.mean(axis=0))
    return np.asarray(middle / middle.sum())


def _middle(seconds: NDArray[np.float64], launch: NDArray[np.intp]) -> NDArray[np.bool_]:
    """For each step, whether its ``seconds`` are within the middle half of those of its launch. All (steps,)."""
    order = np.lexsort((seconds, launch))
    count = np.bincount(launch)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    # At least one step at either end, so that few steps are robust too, but never all of them.
    cut = np.minimum(np.ceil(TRIMMED * count), (count - 1) // 2)
    return np.asarray((rank >= cut[launch]) & (rank < (count - cut)[launch]))


def phase_estimates(laps: pd.DataFrame, order: Sequence[str]) -> dict[str, Estimate]:
    """Seconds a step in each phase as ``phase_seconds`` has them, on the device's clock where there is one.

    The interval has the width, as a ratio, of Student's t interval over the launches: each launch's phases by itself,
    as logarithms. A launch alone bounds nothing; nor do launches one of which lacks the phase, or saw it take no time.
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
