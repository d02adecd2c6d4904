"""The course of a watched script: what drifts, which steps stand out and what they share, and where the time goes."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.judge.statistics import Estimate, t_quantile
from loopmark.bench.median import median_interval
from loopmark.bench.records.samples import Samples, seconds_of

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int_]

STRETCHES, ROUNDS_A_STRETCH = 10, 2  # at most; a round is four blocks
LEAST_DRIFT, LEAST_STEPS = 0.03, 60  # a smaller drift is not told; fewer steps have no course
FEWEST_QUADS = 6  # for an interval
SURE = 0.99  # confidence of a drift
SETTLED = 0.1  # the share of steps, at the start, that no drift is judged by
SLOW, FAR = 1.5, 6.0  # a slow step takes this multiple of the median, and lies so many deviations above it
TO_DEVIATIONS = 1.4826
LEAST_GROWTH, LEAST_GROWTH_BYTES, RISING = 0.01, 2**23, 0.8  # of memory, and the rank correlation with time
FEWEST_ALIKE, MOST_ALIKE = 3, 0.8  # slow steps with a period; the share of them, and of the period's steps, that fit
EVENTS = ("validation", "checkpoint", "first of an epoch", "compilation", "garbage collection")
"""The events of a step. A step with several counts for the first of them."""
NO_PATTERN = "no pattern seen"


@dataclass(frozen=True)
class SlowSteps:
    """Slow steps with something in common."""

    kind: str  # an event of the step, ``every 100th step``, or ``NO_PATTERN``
    count: int
    longest_seconds: float  # of these steps
    share: float  # of the script's whole time in steps: what they all took beyond it
    phase: str | None  # that has most of it; None where no slow step was timed phase by phase


@dataclass(frozen=True)
class Course:
    """The course of one process. Shares are 0 to 1."""

    steps: int
    seconds: float  # of all steps
    typical_seconds: float  # the median step
    drift: Estimate | None  # the share by which steps grew from start to end, 99 %; None where none is sure
    grown_bytes: float | None  # memory at the end beyond the first half's; None where it does not creep
    slow: tuple[SlowSteps, ...]
    shares: dict[str, float]  # of all timed steps, by phase
    lapped: float  # the share of steps that were timed phase by phase
    lap_cost: Estimate | None  # the seconds of such a step over those of another, by the quads that have both


def in_stretches(samples: Samples) -> Samples:
    """The samples of one process, cut into consecutive stretches that count as launches.

    Intervals are then by batch means (Conway 1963): over stretches, not over single steps, since neighbours are alike.
    """
    rounds = samples.blocks.groupby("case")["round"].max() + 1

    def stretched(table: pd.DataFrame) -> pd.DataFrame:
        own = table["case"].map(rounds)
        stretches = (own // ROUNDS_A_STRETCH).clip(1, STRETCHES)
        return table.assign(launch=(table["round"] * stretches // own).astype("int32"))

    return replace(samples, blocks=stretched(samples.blocks), phases=stretched(samples.phases))


def course_of(steps: pd.DataFrame, phases: pd.DataFrame, blocks: pd.DataFrame) -> Course | None:
    """The course of one case's ``steps``, and ``Samples.phases`` and ``.blocks``; None for too few steps."""
    if len(steps) < LEAST_STEPS:
        return None
    seconds = np.asarray(seconds_of(steps), dtype=np.float64)
    typical, total = float(np.median(seconds)), float(seconds.sum())
    laps = phases.assign(seconds=seconds_of(phases))
    sums = laps.groupby("phase", observed=True)["seconds"].sum()
    shares = {str(phase): float(value) for phase, value in (sums / sums.sum()).items()} if len(laps) else {}
    return Course(
        steps=len(steps),
        seconds=total,
        typical_seconds=typical,
        drift=_drift(seconds),
        grown_bytes=_growth(steps["memory_bytes"].dropna().to_numpy()),
        slow=tuple(_slow(steps, seconds, typical, laps)),
        shares=shares,
        lapped=float(steps["lapped"].mean()),
        lap_cost=_lap_cost(blocks),
    )


def _lap_cost(blocks: pd.DataFrame) -> Estimate | None:
    """The median over quads, with its interval (Thompson 1936); None with too few of them."""
    logs = pd.Series(np.log(seconds_of(blocks) / blocks["steps"]), blocks.index)
    means = logs.groupby([blocks["round"], blocks["lapped"]]).mean().unstack()
    if means.shape[1] < 2 or len(costs := (means[True] - means[False]).dropna()) < FEWEST_QUADS:
        return None
    return Estimate(*median_interval(costs.to_numpy())).exp()


def _drift(seconds: Floats) -> Estimate | None:
    """The growth of the step from the start to the end: a line through the medians of stretches."""
    settled = np.array_split(np.arange(int(SETTLED * len(seconds)), len(seconds)), STRETCHES)
    logs = np.log([max(1e-9, float(np.median(seconds[part]))) for part in settled])
    slopes, covariance = np.polyfit(np.arange(STRETCHES), logs, 1, cov=True)
    slope, error = float(slopes[0]), math.sqrt(covariance[0, 0])
    half = t_quantile(STRETCHES - 2, SURE) * error
    grown = Estimate(slope, slope - half, slope + half).map(lambda each: math.expm1(STRETCHES * each))
    return grown if grown.excludes_zero and abs(grown.value) >= LEAST_DRIFT else None


def _growth(memory: Floats) -> float | None:
    """Bytes by which memory creeps in the second half, where it rises steadily."""
    half = memory[len(memory) // 2 :]
    if len(half) < STRETCHES or np.ptp(half) == 0:
        return None
    grown = float(half[-1] - half[0])
    rises = float(pd.Series(half).rank().corr(pd.Series(np.arange(len(half)))))  # Spearman's
    return grown if rises > RISING and grown > max(LEAST_GROWTH_BYTES, LEAST_GROWTH * half[0]) else None


def _slow(steps: pd.DataFrame, seconds: Floats, typical: float, laps: pd.DataFrame) -> list[SlowSteps]:
    spread = TO_DEVIATIONS * float(np.median(np.abs(seconds - typical)))
    late = int(SETTLED * len(steps))  # the first steps of a script are slow for reasons of their own
    is_slow = (seconds > SLOW * typical) & (seconds > typical + FAR * spread) & (np.arange(len(steps)) >= late)
    rows = steps[is_slow].assign(excess=seconds[is_slow] - typical)
    kinds: dict[str, list[int]] = {}
    events = [[event for event in EVENTS if event in text] for text in rows["events"]]
    for place, found in enumerate(events):
        if found:
            kinds.setdefault(min(found, key=EVENTS.index), []).append(place)
    rest = [place for place, found in enumerate(events) if not found]
    while rest and (period := _period(rows["step"].to_numpy()[rest])):
        numbers = rows["step"].to_numpy()
        phase = Counter(int(numbers[place]) % period for place in rest).most_common(1)[0][0]
        kinds[f"every {period:,}th step"] = [place for place in rest if numbers[place] % period == phase]
        rest = [place for place in rest if numbers[place] % period != phase]
    if rest:
        kinds[NO_PATTERN] = rest
    total, usual = float(seconds.sum()), laps.groupby("phase", observed=True)["seconds"].median()
    alike = [_alike(kind, rows.iloc[places], total, laps, usual) for kind, places in kinds.items()]
    return sorted(alike, key=lambda one: -one.share)


def _alike(kind: str, rows: pd.DataFrame, total: float, laps: pd.DataFrame, usual: "pd.Series[float]") -> SlowSteps:
    own = laps[laps["step"].isin(rows["step"])]
    beyond = own.groupby("phase", observed=True)["seconds"].mean() - usual
    phase = str(beyond.idxmax()) if len(own) else None
    longest = float(seconds_of(rows).max())
    return SlowSteps(kind, len(rows), longest, float(rows["excess"].sum()) / total, phase)


def _period(numbers: Ints) -> int | None:
    """The period that most of the slow steps, and most steps of that period, have; None if there is none."""
    if len(numbers) < FEWEST_ALIKE:
        return None
    period, _ = Counter(np.diff(numbers).tolist()).most_common(1)[0]
    if period < 2:
        return None
    phase, fitting = Counter((numbers % period).tolist()).most_common(1)[0]
    own = numbers[numbers % period == phase]
    possible = (own[-1] - own[0]) // period + 1
    good = fitting >= FEWEST_ALIKE and fitting >= MOST_ALIKE * possible and fitting >= len(numbers) / 2
    return int(period) if good else None
