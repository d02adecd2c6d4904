"""A batch size search: the attempted sizes, their results, and the limit that ended the search."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopmark.bench.records.files import LEAST_SECONDS, damaged, read_record
from loopmark.bench.records.run import CommandRecord, Status

BATCH_SIZES_FILE = "batches.json"
MOST_ROWS, MOST_BYTES = 1e12, 1e15  # of a batch; beyond any machine

Limit = Literal["device memory", "host memory", "data", "time", "failure"]
"""The limit of a larger batch. With ``data`` there are no more rows; ``failure`` is any other reason."""


@dataclass(frozen=True)
class Attempt:
    """One batch size, tried in a fresh process, or refused without being tried."""

    batch_size: int
    rows_per_step: float | None  # on average over an epoch; None if it was not timed
    limit: Limit | None  # the limit that it reached; None for a batch that fits
    reason: str | None
    tried: bool  # False if the forecast refused it
    seconds: float  # of the whole attempt, including set-up, compilation and warm-up
    block_seconds: tuple[float, ...]  # seconds per step of each block; empty if it was not timed
    peak_memory_bytes: int | None
    forecast_bytes: int | None  # the expected peak; None without a forecast
    allowed_bytes: int | None  # of the host's memory at that time; None if that is no limit

    @property
    def fits(self) -> bool:
        return self.limit is None


@dataclass(frozen=True)
class BatchCase:
    workload: str
    loop: str
    status: Status  # `ok` if some size fits
    reason: str | None
    data_rows: int | None  # of the data that batches are drawn from; None if unknown
    memory_kind: str | None  # the meaning of `peak_memory_bytes`
    attempts: tuple[Attempt, ...]  # in chronological order
    again: tuple[Attempt, ...] = ()  # repetitions of the fastest ones, each in another process
    stop: Limit | None = None  # the limit beyond the largest batch that fits; None if interrupted


@dataclass(frozen=True)
class BatchSizes(CommandRecord):
    """One `loopmark find-batch`. It is not a run: it has no ``run.json``, and is never compared with a run.

    The plan's ``batch_size`` is the first size of the search, its ``budget_seconds`` the time allowed for each case.
    """

    cases: tuple[BatchCase, ...]
    batches_version: int = 1


def read_batch_sizes(folder: Path) -> BatchSizes | None:
    """The search in ``folder``; None if there is none. Raises BadInput if it is damaged or too new."""
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
