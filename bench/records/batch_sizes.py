"""A search for a batch size: which ones were tried, what became of each, and what ended the search."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopmark.bench.records.files import LEAST_SECONDS, damaged, read_record
from loopmark.bench.records.run import CommandRecord, Status

BATCH_SIZES_FILE = "batches.json"
MOST_ROWS, MOST_BYTES = 1e12, 1e15  # of a batch; more than any machine has

Limit = Literal["device memory", "host memory", "data", "time", "failure"]
"""What keeps a batch from being larger: of ``data`` there are no more rows, a ``failure`` has some other reason."""


@dataclass(frozen=True)
class Attempt:
    """One batch size, tried in a fresh process, or refused without being tried."""

    batch_size: int
    rows_per_step: float | None  # on average over an epoch; None where it was not timed
    limit: Limit | None  # what it ran into; None for a batch that fits
    reason: str | None
    tried: bool  # False where the forecast alone refused it
    seconds: float  # the whole attempt, set-up, compilation and warm-up included
    block_seconds: tuple[float, ...]  # seconds a step of each block; empty where it was not timed
    peak_memory_bytes: int | None
    forecast_bytes: int | None  # the peak that was expected; None where there was no forecast
    allowed_bytes: int | None  # of the host's memory, at the time; None where that is no limit

    @property
    def fits(self) -> bool:
        return self.limit is None


@dataclass(frozen=True)
class BatchCase:
    """The search for one (workload, loop)."""

    workload: str
    loop: str
    status: Status  # `ok` where some size fits
    reason: str | None
    data_rows: int | None  # of the data that batches are drawn from; None where it does not say
    memory_kind: str | None  # what `peak_memory_bytes` counts
    attempts: tuple[Attempt, ...]  # in the order in which they were made
    again: tuple[Attempt, ...] = ()  # the fastest ones, each time in another process
    stop: Limit | None = None  # what keeps the largest batch that fits from being larger; None where interrupted


@dataclass(frozen=True)
class BatchSizes(CommandRecord):
    """One `loopmark find-batch`. It is no run: it holds no ``run.json``, and nothing compares it with one.

    The plan's ``batch_size`` is where the search began, its ``budget_seconds`` what it may take for each case.
    """

    cases: tuple[BatchCase, ...]
    batches_version: int = 1


def read_batch_sizes(folder: Path) -> BatchSizes | None:
    """The search that ``folder`` holds; None where it holds none. Raises BadInput where it is damaged or too new."""
    path = folder / BATCH_SIZES_FILE
    sizes = read_record(path, BatchSizes)
    if sizes is None:
        return None
    if not sizes.cases:
        raise damaged(path, "it holds no case")
    for attempt in [attempt for case in sizes.cases for attempt in (*case.attempts, *case.again)]:
        if not 0 < attempt.batch_size < MOST_ROWS or (attempt.fits and not attempt.block_seconds):
            raise damaged(path, "a batch that fits should have at least one row and one block")
        if attempt.fits and not 0 < (attempt.rows_per_step or 0) < MOST_ROWS:
            raise damaged(path, "a batch that fits should say how many rows a step has")
        if attempt.peak_memory_bytes is not None and not 0 < attempt.peak_memory_bytes < MOST_BYTES:
            raise damaged(path, "a peak of memory should be some bytes")
        if any(seconds < LEAST_SECONDS for seconds in attempt.block_seconds):
            raise damaged(path, "a block should take some time")
    return sizes
