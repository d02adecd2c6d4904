"""Where a step's time goes: its phases, from the lapped blocks, adding up to the step."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.judge.laps import found_busy, phases_of, steps_of
from loopmark.bench.judge.statistics import Estimate, exp, student

TRIMMED = 0.25
"""The share of steps, by total time, left out at either end of each launch; rounded up to whole steps."""


def phase_seconds(samples: pd.DataFrame, order: Sequence[str], column: str) -> dict[str, float]:
    """Seconds of each phase of a typical step of one case: each phase's share of a step, the median launch's.

    A launch's step is the mean over the middle half of its lapped steps. Whole steps are left out, by their total
    time, never single phases, so that the phases still add up to a step; and that is the geometric mean over launches,
    as the step's whose phases nobody timed is, or the two would differ where launches do. A phase that repeats within a
    step (gradient accumulation) counts with all its turns.

    Args:
        samples: rows of one case from ``Samples.phases``.
        order: the phases' names in the order in which the result has them.
        column: ``host_seconds`` or ``device_seconds``; rows where it is NaN are absent phases. On the device's clock
            only steps count that found the device at work.
    """
    seconds = samples[column].to_numpy()
    if not (seen := ~np.isnan(seconds)).all():
        samples, seconds = samples[seen], seconds[seen]
    if column == "device_seconds" and not (busy := found_busy(samples)).all():
        samples, seconds = samples[busy], seconds[busy]
    if samples.empty:
        return {}
    step, launch = steps_of(samples)
    phase, names = phases_of(samples)
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
    """The median of each phase's shares in the launches, (launches, phases), so that all of them are one whole.

    One launch in which something held up one phase does not decide where a step's time goes. A phase that fewer than
    half of the launches have is there with its mean.
    """
    middle = np.median(launches, axis=0)
    middle = np.where(middle > 0, middle, launches.mean(axis=0))
    whole: NDArray[np.float64] = middle / middle.sum()
    return whole


def _middle(seconds: NDArray[np.float64], launch: NDArray[np.intp]) -> NDArray[np.bool_]:
    """For each step, whether its ``seconds`` are within the middle half of those of its launch. All (steps,)."""
    order = np.lexsort((seconds, launch))
    count = np.bincount(launch)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    # At least one step at either end, so that few steps are robust too, but never all of them.
    cut = np.minimum(np.ceil(TRIMMED * count), (count - 1) // 2)
    inside: NDArray[np.bool_] = (rank >= cut[launch]) & (rank < (count - cut)[launch])
    return inside


def phase_estimates(laps: pd.DataFrame, order: Sequence[str]) -> dict[str, Estimate]:
    """Seconds a step in each phase as ``phase_seconds`` has them, on the device's clock where there is one.

    The interval has the width, as a ratio, of Student's t interval over the launches: each launch's phases by itself,
    as logarithms. A launch alone bounds nothing; nor do launches one of which lacks the phase, or saw it take no time.

    Args:
        laps: rows of one case from ``Samples.phases``.
        order: the phases' names in the order in which the result has them.
    """
    column = "device_seconds" if laps["device_seconds"].notna().any() else "host_seconds"
    launches = [phase_seconds(own, order, column) for _, own in laps.groupby("launch")]
    typical = phase_seconds(laps, order, column)
    return {phase: _about(value, [own.get(phase, 0.0) for own in launches]) for phase, value in typical.items()}


def _about(value: float, launches: Sequence[float]) -> Estimate:
    if min(launches) <= 0:
        return Estimate(value, -math.inf, math.inf)
    logs = np.log(launches)
    return student(logs - logs.mean()).map(lambda log: value * exp(log))
