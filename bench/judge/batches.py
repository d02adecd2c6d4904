"""What a search for a batch size comes to: the largest that fits, the fastest, and the one to use."""

from dataclasses import dataclass
from statistics import median as middle

from bench.judge.statistics import Estimate, median
from bench.records.batches import Attempt, BatchCase


@dataclass(frozen=True)
class BatchRow:
    """One batch size. Its intervals are of one process's blocks, and know nothing of the next process."""

    attempt: Attempt
    step_seconds: Estimate | None
    samples_per_second: Estimate | None


@dataclass(frozen=True)
class BatchFinding:
    """One case, its sizes in their order. The figures are None where no size fits."""

    case: BatchCase
    rows: tuple[BatchRow, ...]
    largest: BatchRow | None
    best: BatchRow | None
    """The one with the most samples a second."""
    equals: tuple[BatchRow, ...]
    """Those that are not shown to be slower than the best, itself among them, the smallest first."""
    noise: float | None
    """By what share the best one's step differed in another process; None where it was not tried again."""

    @property
    def recommended(self) -> BatchRow | None:
        """The smallest that is as good as the best: it needs the least memory."""
        return self.equals[0] if self.equals else None


def find(case: BatchCase) -> BatchFinding:
    """Judge what was tried of ``case``."""
    rows = tuple(map(_row, sorted(case.attempts, key=lambda attempt: attempt.batch_size)))
    fitting = [row for row in rows if row.samples_per_second is not None]
    if not fitting:
        return BatchFinding(case, rows, None, None, (), None)
    best = max(fitting, key=lambda row: _rate(row).value)
    noise = _noise(best.attempt, case.again)
    equals = tuple(row for row in fitting if _as_good(_rate(row), _rate(best), noise or 0.0))
    return BatchFinding(case, rows, fitting[-1], best, equals, noise)


def _row(attempt: Attempt) -> BatchRow:
    if not attempt.fits:
        return BatchRow(attempt, None, None)
    step = median(attempt.block_seconds)
    return BatchRow(attempt, step, step.map(lambda seconds: attempt.batch_size / seconds))


def _rate(row: BatchRow) -> Estimate:
    assert row.samples_per_second is not None
    return row.samples_per_second


def _as_good(one: Estimate, best: Estimate, noise: float) -> bool:
    return one.high >= best.low or best.value <= one.value * (1 + noise)


def _noise(best: Attempt, again: Attempt | None) -> float | None:
    if again is None:
        return None
    first, second = middle(best.block_seconds), middle(again.block_seconds)
    return max(first, second) / min(first, second) - 1
