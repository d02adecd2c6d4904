"""Many runs, judged together: each loop's speedup over the baseline over time, and the runs where it changed."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.comparison import log_speedups
from loopmark.bench.judge.differences import differences
from loopmark.bench.judge.run_comparison import ComparisonKey, fill_instructions, instructions_of
from loopmark.bench.judge.statistics import MEDIAN_ERROR, Estimate, t_quantile
from loopmark.bench.records.files import in_utc
from loopmark.bench.records.run import Case, Run

LEAST_RUNS = 2  # of a level, since a single run may be an outlier
LEAST_NOISE = 0.001  # as a log ratio: variation below 0.1 % is rounding, and too small to matter
GAMMA, PENALTY = 0.1, 4.0  # the kernel's width and the cost of a change, chosen together: see `change_points`
NORMAL_QUARTILE = 0.6745
SHARED_BY = 3  # the least loops that change at one run in one direction for the baseline to be suspected


def noise(logs: ArrayLike, standard_errors: Sequence[float]) -> float:
    """The standard deviation of one run's log ratio while nothing changes.

    The larger of two robust estimates: from the differences of consecutive runs, few of which contain a change (Rice
    1984, with a median for the mean), and from the runs' own standard errors, which works with few runs too.
    """
    steps = np.abs(np.diff(np.asarray(logs, dtype=float)))
    between = float(np.median(steps)) / (NORMAL_QUARTILE * math.sqrt(2)) if len(steps) else 0.0
    known = [error for error in standard_errors if math.isfinite(error)]
    within = float(np.median(known)) if known else 0.0
    return max(between, within, LEAST_NOISE)


def change_points(logs: ArrayLike, sigma: float) -> list[int]:
    """The indices at which a new level begins, if a run's log ratio has the standard deviation ``sigma``.

    The segmentation of least penalised cost, found exactly (PELT: Killick, Fearnhead and Eckley 2012) under a Gaussian
    kernel (Arlot, Celisse and Harchaoui 2019). Near its centre the cost is ``2 GAMMA`` times the squares in units of
    the noise. Far from it the cost is bounded, so that an outlier costs the same at any distance. A change costs
    ``PENALTY`` squares times the log of the number of runs, as in the usual information criterion.

    Simulated with ``sigma`` from the differences alone, series without a change showed one in 3 % at 4 to 8 runs, 1 %
    at 12 and 0.2 % from 20 on, for normal noise, for Student's t of 3 degrees, and with every tenth run off at random
    by eight times as much; 4 % and 1.5 % if every tenth run was slower by eight ``sigma``. A step of three ``sigma``
    in the middle of 30 runs was found, within one run, in 95 % (74 % with the random outliers). Squares in place of
    the kernel found as many steps, but also changes in most of the series with outliers.
    """
    scaled = np.asarray(logs, dtype=float)[:, None] / sigma  # (runs, 1)
    count = len(scaled)
    if count < 2 * LEAST_RUNS:
        return []
    try:  # here, since the import takes a second and only this function needs it
        from ruptures import KernelCPD
    except ImportError:
        raise BadInput("finding changes needs ruptures, which is not installed; run pip install ruptures") from None
    search = KernelCPD(kernel="rbf", params={"gamma": GAMMA}, min_size=LEAST_RUNS).fit(scaled)
    return [int(end) for end in search.predict(pen=2 * GAMMA * PENALTY * math.log(count))[:-1]]


@dataclass(frozen=True)
class SeriesSubject(ComparisonKey):
    """The facts that two runs must share for their ratios to belong to one series."""

    machine: str
    device: str
    workload: str
    size: str
    batch_size: int | None
    parameters: int | None
    data_sha256: str | None
    threads: int | None
    baseline: str  # the loop that the ratios are to


@dataclass(frozen=True)
class Point:
    run: Run
    folder: str
    started: datetime
    launches: int
    log_speedup: Estimate  # ln(baseline's step / this loop's step); positive is faster

    @property
    def speedup(self) -> Estimate:
        """Baseline's seconds over this loop's: 2 is twice as fast."""
        return self.log_speedup.exp()

    @property
    def standard_error(self) -> float:
        """The log ratio's standard error, from this run alone; infinite for one launch."""
        width = self.log_speedup.high - self.log_speedup.low
        return width / 2 / t_quantile(self.launches - 1) if self.launches > 1 else math.inf


@dataclass(frozen=True)
class Level:
    """Consecutive runs between which nothing changed: ``points[start:end]`` of their series."""

    start: int
    end: int
    speedup: Estimate  # their median; the interval is slightly too narrow, since it takes the level's ends as given


@dataclass(frozen=True)
class Change:
    at: int  # the index in the series at which the new level begins
    point: Point  # the first point of the new level
    before: Estimate
    after: Estimate
    ratio: Estimate  # of the speedups, after over before: 0.92 is slower by 8 %
    differences: tuple[str, ...]  # of machine and environment, between the last run before and the first one after

    @property
    def is_improvement(self) -> bool:
        return self.ratio.value > 1


@dataclass(frozen=True)
class Series:
    """One loop in one subject, run by run, in the order of their starts."""

    subject: SeriesSubject
    loop: str
    points: tuple[Point, ...]
    noise: float  # the standard deviation of a run's log ratio while nothing changes
    levels: tuple[Level, ...]
    changes: tuple[Change, ...]

    @property
    def is_long_enough(self) -> bool:  # for a change to show
        return len(self.points) >= 2 * LEAST_RUNS


@dataclass(frozen=True)
class Observation:
    subject: SeriesSubject
    loop: str
    point: Point


@dataclass(frozen=True)
class Suspicion:
    """Several loops that changed alike at one run: their common baseline may have changed the opposite way."""

    subject: SeriesSubject
    run: str
    loops: int
    of: int
    is_improvement: bool


def measured(run: Run, workload: str) -> tuple[int, ...]:
    """The indices in the run of a workload's baseline and of the loops with a ratio to it; () without a baseline."""
    cases = {i: c for i, c in enumerate(run.cases) if c.workload == workload and c.status == "ok" and not c.repeat}
    base = next((i for i, case in cases.items() if case.loop == run.plan.baseline), None)
    return () if base is None else (base, *(i for i in cases if i != base))


def observe(run: Run, rounds: pd.DataFrame, workload: str, folder: str) -> Iterator[Observation]:
    """Each loop's ratio to the baseline in one run; none without a measured baseline or a common round.

    ``rounds`` are ``round_logs`` of the counted blocks, for at least the wanted cases. Raises BadInput if the run has
    no valid start time.
    """
    started = start_of(run, folder)
    places = measured(run, workload)
    ratios = log_speedups(rounds[[i for i in places if i in rounds]], places[0]) if places else {}
    for i in places[1:]:
        ratio = ratios.get(i)
        # A single launch gives a ratio without an interval, which is still a point.
        if ratio is not None and math.isfinite(ratio.value):
            point = Point(run, folder, started, len(run.cases[i].launches), ratio)
            yield Observation(_subject(run, run.cases[places[0]]), run.cases[i].loop, point)


def series_of(observations: Iterable[Observation]) -> tuple[Series, ...]:
    """Every series with its levels, grouped by subject, in the order of their first appearance."""
    ordered = sorted(observations, key=lambda o: (o.point.started, o.point.run.name))
    filled = fill_instructions(o.subject for o in ordered)
    subjects = sorted(dict.fromkeys(filled.values()), key=lambda s: (s.machine, s.workload))
    gathered: dict[tuple[SeriesSubject, str], list[Point]] = {}
    for seen in ordered:
        gathered.setdefault((filled[seen.subject], seen.loop), []).append(seen.point)
    keys = sorted(gathered, key=lambda key: subjects.index(key[0]))
    return tuple(_series(subject, loop, gathered[subject, loop]) for subject, loop in keys)


def by_subject(series: Iterable[Series]) -> dict[SeriesSubject, tuple[Series, ...]]:
    given = tuple(series)
    subjects = dict.fromkeys(one.subject for one in given)
    return {subject: tuple(one for one in given if one.subject == subject) for subject in subjects}


def suspicions(series: Iterable[Series]) -> tuple[Suspicion, ...]:
    """The runs at which most loops of a subject changed in one direction, as if the baseline had changed."""
    found = []
    for subject, alike in by_subject(series).items():
        counts = Counter((change.point.run.name, change.is_improvement) for one in alike for change in one.changes)
        able = sum(one.is_long_enough for one in alike)
        found += [
            Suspicion(subject, run, count, able, better)
            for (run, better), count in counts.items()
            if count >= SHARED_BY and 2 * count > able
        ]
    return tuple(found)


def _series(subject: SeriesSubject, loop: str, points: list[Point]) -> Series:
    logs = np.array([point.log_speedup.value for point in points])
    sigma = noise(logs, [point.standard_error for point in points])
    starts = [0, *change_points(logs, sigma)]
    ends = [*starts[1:], len(points)]
    freedom = max(1, len(points) - len(starts))
    medians = [_median(logs[start:end], sigma, freedom) for start, end in zip(starts, ends, strict=True)]
    levels = tuple(Level(start, end, middle.exp()) for start, end, middle in zip(starts, ends, medians, strict=True))
    changes = map(partial(_change, points), starts[1:], medians, medians[1:])
    return Series(subject, loop, tuple(points), sigma, levels, tuple(changes))


def _median(logs: np.ndarray, sigma: float, freedom: int) -> Estimate:
    # The noise of the whole series, since a level has too few runs for its own.
    widening = MEDIAN_ERROR if len(logs) > 2 else 1.0
    half = t_quantile(freedom) * widening * sigma / math.sqrt(len(logs))
    middle = float(np.median(logs))
    return Estimate(middle, middle - half, middle + half)


def _change(points: Sequence[Point], at: int, before: Estimate, after: Estimate) -> Change:
    half = math.hypot(before.high - before.value, after.high - after.value)
    value = after.value - before.value
    ratio = Estimate(value, value - half, value + half).exp()
    differing = differences(points[at - 1].run, points[at].run)
    return Change(at, points[at], before.exp(), after.exp(), ratio, differing)


def _subject(run: Run, base: Case) -> SeriesSubject:
    plan, threads, instructions = run.plan, run.environment.threads, instructions_of(run)
    where = run.machine.name, plan.device, base.workload, plan.size
    work = base.batch_size, base.parameters, base.data_sha256
    return SeriesSubject(*where, *work, threads, plan.baseline, instructions=instructions)


def start_of(run: Run, folder: str) -> datetime:
    """The start of ``run`` in UTC. Raises BadInput if its start time is invalid."""
    if (started := in_utc(run.started)) is None:
        raise BadInput(f"{folder} has no valid start time: {run.started[:40]!r}; repeat the run")
    return started
