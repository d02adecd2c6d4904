"""What a search for a batch size comes to: the largest that fits, the fastest, and the one to use."""

import math
from dataclasses import dataclass
from statistics import median as middle

from loopmark.bench.judge.statistics import Estimate, median
from loopmark.bench.records.batch_sizes import Attempt, BatchCase

TOO_NOISY = 0.15  # a larger share between processes hides what sizes differ by: none is then preferred. Chosen


@dataclass(frozen=True)
class BatchRow:
    """One batch size. Its intervals are of the blocks of all its processes; of the next process they know little."""

    attempt: Attempt  # the first one at it
    processes: tuple[float, ...]  # the median step of each process that was timed, in seconds
    step_seconds: Estimate | None
    samples_per_second: Estimate | None


@dataclass(frozen=True)
class BatchFinding:
    """One case, its sizes in their order. The figures are None where no size fits."""

    case: BatchCase
    rows: tuple[BatchRow, ...]
    largest: BatchRow | None
    best: BatchRow | None  # the one with the most samples a second
    equals: tuple[BatchRow, ...]  # those not shown to be slower than the best, itself among them, the smallest first
    noise: float | None  # the share by which the best one's step differed between processes; None for a single one

    @property
    def recommended(self) -> BatchRow | None:
        """The smallest as good as the best, which needs the least memory; None where nobody could tell."""
        return self.equals[0] if self.equals and (self.noise or 0.0) <= TOO_NOISY else None


def find(case: BatchCase) -> BatchFinding:
    """Judge what was tried of ``case``."""
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
    # Nothing bounds a step of few blocks; over infinity, that would be a rate of 0 for sure.
    bounded = math.isfinite(step.low) and math.isfinite(step.high)
    rate = step.map(lambda seconds: rows / seconds) if bounded else Estimate(rows / step.value, -math.inf, math.inf)
    return BatchRow(attempt, tuple(map(middle, blocks)), step, rate)
