"""The sensitivity of a machine: rates and times from comparisons whose truth is known, with intervals."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri

from loopmark.bench.judge.confidence_sequence import TO_DEVIATIONS, ever_excludes, final_interval
from loopmark.bench.judge.sequential_comparison import MEMORY_SHARE, METHOD
from loopmark.bench.judge.statistics import CONFIDENCE, Estimate
from loopmark.bench.records.comparison import Calibration, CalibrationTrial

DETECTION = 0.95  # an effect counts as detectable if this share of comparisons finds it
REPLAYS = 2000
BOOTSTRAPS = 2000
UNBOUNDED = 50.0  # the logarithm of an impossibly large effect, used for infinite interval ends
ENOUGH = 10  # least comparisons of unchanged code for a quotation and a sensitivity
FAIL_THRESHOLDS = (0.01, 0.02, 0.05)  # of `pytest-benchmark`'s `--benchmark-compare-fail=mean:…`, as shares


@dataclass(frozen=True)
class Rate:
    """The number of times that something happened, and its rate with an interval."""

    times: int
    of: int
    estimate: Estimate


@dataclass(frozen=True)
class EffectRow:
    effect: float
    called_slower: Rate  # by its step; for unchanged code, by any finding that made a regression
    within: dict[float, Rate]  # by seconds: the rate of `slower` within this time
    seconds_to_verdict: float  # the median over trials with a verdict; NaN if there are none
    solo_fails: dict[float, Rate]  # by threshold: the rate at which two solo means, with the effect added, exceed it


@dataclass(frozen=True)
class Sensitivity:
    """The smallest slowdown found in 95 % of comparisons, at the given false-alarm rate and in equal time."""

    seconds: float
    ours: Estimate
    means: Estimate  # for two means measured one after the other, at a threshold with the same false alarms
    ratio: Estimate


@dataclass(frozen=True)
class CalibrationSummary:
    calibration: Calibration
    rows: tuple[EffectRow, ...]
    replayed_false_alarms: Rate  # of long comparisons drawn from A/A launches, in random order with random signs
    sensitivity: Sensitivity | None
    step_seconds: Estimate | None  # a typical step: of the median comparison, the fastest and the slowest
    launch_deviation: float  # standard deviation of a launch pair's log ratio, from the median absolute deviation
    within_share: float  # the part of that variance that arises within a launch pair, by noise of steps
    between_share: float  # variance between trials over the part explained by launches; 1 if they explain all of it


def rate(times: int, of: int) -> Rate:
    """A binomial rate with its exact interval (Clopper and Pearson 1934)."""
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(times, of - times + 1, tail)) if times else 0.0
    high = float(betaincinv(times + 1, of - times, 1 - tail)) if times < of else 1.0
    return Rate(times, of, Estimate(times / of if of else math.nan, low, high))


def summarise_calibration(
    calibration: Calibration, within: Sequence[float] = (45.0, 90.0), *, seed: int = 0, replays: int = REPLAYS
) -> CalibrationSummary:
    """Judge every trial. ``within`` are the times in seconds at which detections are counted."""
    unchanged = [trial for trial in calibration.trials if trial.effect == 0]
    alone = [(trial.stored_mean_seconds, trial.later_mean_seconds) for trial in unchanged]
    solo = np.array([math.log(later / stored) for stored, later in alone if stored and later])
    rows = tuple(
        _row([t for t in calibration.trials if t.effect == effect], effect, within, solo)
        for effect in sorted({trial.effect for trial in calibration.trials})
    )
    error, random = calibration.false_alarms * (1 - MEMORY_SHARE), np.random.default_rng(seed)
    launches = np.array([log for trial in unchanged for log in trial.logs])
    uncertainties = np.array([uncertainty for trial in unchanged for uncertainty in trial.uncertainties])
    centred = np.array([log - np.median(trial.logs) for trial in unchanged for log in trial.logs])
    deviation = TO_DEVIATIONS * float(np.median(np.abs(centred))) if len(centred) > 1 else math.nan
    steps = [trial.step_seconds for trial in calibration.trials]
    longest = max((len(trial.logs) for trial in calibration.trials), default=0)
    replays = replays if len(launches) else 0
    drawn, signs = np.zeros((replays, longest), dtype=int), np.ones((replays, longest))
    for replay in range(replays):
        drawn[replay] = random.integers(len(launches), size=longest)
        signs[replay] = random.choice([-1.0, 1.0], longest)
    alarms = int(ever_excludes(launches[drawn] * signs, 0.0, error, uncertainties[drawn]).sum()) if replays else 0
    several = [trial.logs for trial in unchanged if len(trial.logs) > 1]
    means = [float(np.mean(logs)) for logs in several]
    inner = [float(np.var(logs, ddof=1)) / len(logs) for logs in several]
    between = float(np.var(means, ddof=1) / np.mean(inner)) if len(means) > 1 and np.mean(inner) > 0 else math.nan
    inside = min(1.0, (float(np.median(uncertainties)) / deviation) ** 2) if deviation > 0 else math.nan
    sensitivity = _sensitivity(unchanged, solo, calibration, error, random) if replays else None
    step = Estimate(float(np.median(steps)), min(steps), max(steps)) if steps else None
    return CalibrationSummary(calibration, rows, rate(alarms, replays), sensitivity, step, deviation, inside, between)


def _row(trials: Sequence[CalibrationTrial], effect: float, within: Sequence[float], solo: np.ndarray) -> EffectRow:
    slower = [trial for trial in trials if (trial.verdict == "slower" if effect else trial.regression)]
    ended = [trial.seconds for trial in trials if trial.verdict != "inconclusive"]
    in_time = {limit: rate(sum(t.seconds <= limit for t in slower), len(trials)) for limit in within}
    changes = solo + math.log1p(effect)
    thresholds = FAIL_THRESHOLDS if len(solo) else ()
    fails = {share: rate(int((changes > math.log1p(share)).sum()), len(solo)) for share in thresholds}
    to_verdict = float(np.median(ended)) if ended else math.nan
    return EffectRow(effect, rate(len(slower), len(trials)), in_time, to_verdict, fails)


def _sensitivity(
    trials: Sequence[CalibrationTrial], solo: np.ndarray, made: Calibration, error: float, random: np.random.Generator
) -> Sensitivity | None:
    """The smallest effect that each method detects, from the same A/A trials.

    An effect shifts a trial's interval, so it is found if it exceeds the distance by which the interval reaches below
    zero. Two means are called different beyond a threshold: with normal noise of deviation s, a threshold of z(1 - α)·s
    gives the wanted false alarms, and an effect larger by z(95 %)·s is found in 95 % of comparisons.
    """
    seconds = 2 * made.solo_seconds
    lows = []
    for trial in trials:
        by_then = sum(ended <= seconds for ended in trial.ended_seconds)
        # A trial that ended earlier does not show its interval at that time.
        if by_then and trial.ended_seconds[-1] >= 0.9 * seconds:
            lows.append(-final_interval(trial.logs[:by_then], error, trial.uncertainties[:by_then]).low)
    if min(len(lows), len(solo)) < ENOUGH:
        return None
    reach = float(ndtri(1 - made.false_alarms) + ndtri(DETECTION))

    def both(low: np.ndarray, means: np.ndarray) -> tuple[float, float]:
        # One of the values, without interpolation: a trial without a bound has an infinite value.
        found = min(float(np.quantile(low, DETECTION, method="higher")), UNBOUNDED)
        return math.expm1(found), math.expm1(reach * float(np.std(means, ddof=1)))

    ours, theirs = both(np.array(lows), solo)
    if ours >= math.expm1(UNBOUNDED):
        return None
    draws = np.array([both(random.choice(lows, len(lows)), random.choice(solo, len(solo))) for _ in range(BOOTSTRAPS)])

    def with_interval(value: float, values: np.ndarray) -> Estimate:
        low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return Estimate(value, float(low), float(high))

    ratio = with_interval(theirs / ours, draws[:, 1] / draws[:, 0])
    return Sensitivity(seconds, with_interval(ours, draws[:, 0]), with_interval(theirs, draws[:, 1]), ratio)


def quotations(calibrations: Iterable[Calibration]) -> tuple[str, ...]:
    """A sentence for each calibration of this method with ``ENOUGH`` comparisons of unchanged code."""
    made = [summarise_calibration(one, replays=0) for one in calibrations if one.method == METHOD]
    return tuple(
        _quotation(one) for one in made if any(r.effect == 0 and r.called_slower.of >= ENOUGH for r in one.rows)
    )


def _quotation(summary: CalibrationSummary) -> str:
    made, parts = summary.calibration, []
    for row in summary.rows:
        found = row.called_slower
        if row.effect == 0:
            alarms = f"{found.times} false alarm{'' if found.times == 1 else 's'} in {found.of} comparisons"
            parts.append(f"{alarms} of unchanged code (at most {100 * found.estimate.high:.2g} %)")
        else:
            parts.append(f"+{100 * row.effect:g} % found in {found.times} of {found.of}")
    terms = f"at most {made.budget_seconds:g} s each, {100 * made.false_alarms:g} % false alarms allowed"
    where = f"{made.workload} {made.loop} on {made.device}"
    return f"`ab`, calibrated on {made.machine.name}, {made.started[:10]}, with {where} ({terms}): {', '.join(parts)}"
