"""The result of a batch size search: the largest batch that fits, the fastest, and the recommended one."""

import math
from dataclasses import dataclass
from statistics import median as middle

from loopmark.bench.judge.statistics import Estimate, median
from loopmark.bench.records.batch_sizes import Attempt, BatchCase

TOO_NOISY = 0.15  # chosen; a larger share between processes hides the effect of the size, so none is recommended


@dataclass(frozen=True)
class BatchRow:
    """One batch size. Its intervals cover the blocks of its processes, and say little about another process."""

    attempt: Attempt  # the first attempt at this size
    processes: tuple[float, ...]  # the median step of each timed process, in seconds
    step_seconds: Estimate | None
    samples_per_second: Estimate | None


@dataclass(frozen=True)
class BatchFinding:
    """One case, its sizes in ascending order. The figures are None if no size fits."""

    case: BatchCase
    rows: tuple[BatchRow, ...]
    largest: BatchRow | None
    best: BatchRow | None  # the one with the most samples per second
    equals: tuple[BatchRow, ...]  # those not shown to be slower than the best, which is included; the smallest first
    noise: float | None  # the share by which the best one's step differs between processes; None for one process

    @property
    def recommended(self) -> BatchRow | None:
        """The smallest as good as the best, which needs the least memory; None if the noise is too high."""
        return self.equals[0] if self.equals and (self.noise or 0.0) <= TOO_NOISY else None


def find(case: BatchCase) -> BatchFinding:
    first = {attempt.batch_size: attempt for attempt in case.attempts}
    rows = tuple(_row(first[size], case) for size in sorted(first))
    fitting = [(row, rate) for row in rows if (rate := row.samples_per_second) is not None]
    if not fitting:
        return BatchFinding(case, rows, None, None, (), None)
    best, most = max(fitting, key=lambda pair: pair[1].value)
    noise = max(best.processes) / min(best.processes) - 1 if len(best.processes) > 1 else None
    within = 1 + (noise or 0.0)
    equals = tuple(row for row, rate in fitting if rate.high >= most.low or most.value <= rate.value * within)
    return BatchFinding(case, rows, fitting[-1][0], best, equals, noise)


def _row(attempt: Attempt, case: BatchCase) -> BatchRow:
    rows = attempt.rows_per_step
    if not attempt.fits or rows is None:
        return BatchRow(attempt, (), None, None)
    blocks = [attempt.block_seconds, *(a.block_seconds for a in case.again if a.batch_size == attempt.batch_size)]
    step = median([seconds for several in blocks for seconds in several])
    # A step of few blocks has an infinite interval, which would become a rate of exactly 0.
    bounded = math.isfinite(step.low) and math.isfinite(step.high)
    rate = step.map(lambda seconds: rows / seconds) if bounded else Estimate(rows / step.value, -math.inf, math.inf)
    return BatchRow(attempt, tuple(map(middle, blocks)), step, rate)
