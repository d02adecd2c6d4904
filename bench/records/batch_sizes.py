"""A search for a batch size: which ones were tried, what became of each, and what ended the search."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopmark.bench.records.files import LEAST_SECONDS, damaged, read_record
from loopmark.bench.records.machine import Environment, Machine
from loopmark.bench.records.run import Plan, Status

BATCH_SIZES_FILE = "batches.json"
MOST_ROWS, MOST_BYTES = 1e12, 1e15
"""Of a batch; more than any machine has."""

Limit = Literal["device memory", "host memory", "data", "time", "failure"]
"""What keeps a batch from being larger. ``data``: it has no more rows; ``failure``: the loop fails for some other
reason, which is told."""


@dataclass(frozen=True)
class Attempt:
    """One batch size, tried in a fresh process, or refused without being tried."""

    batch_size: int
    rows_per_step: float | None
    """On average over an epoch, whose last batch may be smaller; None where it was not timed."""
    limit: Limit | None
    """What it ran into; None for a batch that fits."""
    reason: str | None
    tried: bool
    """False where the forecast alone refused it."""
    seconds: float
    """The whole attempt, set-up, compilation and warm-up included."""
    block_seconds: tuple[float, ...]
    """Seconds a step of each block, on the device's clock where it has one; empty where it was not timed."""
    peak_memory_bytes: int | None
    forecast_bytes: int | None
    """The peak that was expected; None where nothing was measured yet, or where the device itself says no."""
    allowed_bytes: int | None
    """What a process might take of the host's memory at the time; None where that is not what limits it."""

    @property
    def fits(self) -> bool:
        """Whether steps of this size were taken and timed."""
        return self.limit is None


@dataclass(frozen=True)
class BatchCase:
    """The search for one (workload, loop)."""

    workload: str
    loop: str
    status: Status
    """``ok`` where some size fits."""
    reason: str | None
    data_rows: int | None
    """Of the data that batches are drawn from; None where it does not say."""
    memory_kind: str | None
    """What ``peak_memory_bytes`` counts."""
    attempts: tuple[Attempt, ...]
    """In the order in which they were made."""
    again: tuple[Attempt, ...] = ()
    """The fastest ones again, each time in another process, since processes of one size differ."""
    stop: Limit | None = None
    """What keeps the largest batch that fits from being larger; None where the search was interrupted."""


@dataclass(frozen=True)
class BatchSizes:
    """One `loopmark find-batch`. It is no run: it holds no ``run.json``, and nothing compares it with one."""

    name: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    interrupted: bool
    plan: Plan
    """Of which ``batch_size`` is where the search began, and ``budget_seconds`` what it may take for each case."""
    machine: Machine
    environment: Environment
    cases: tuple[BatchCase, ...]
    batches_version: int = 1


def read_batch_sizes(folder: Path) -> BatchSizes | None:
    """The search that ``folder`` holds; None where it holds none.

    Raises:
        BadInput: it is damaged or too new.
    """
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
