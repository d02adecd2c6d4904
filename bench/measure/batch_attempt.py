"""One batch size in one fresh process: does it fit, how long are its steps, and what memory do they take?"""

import contextlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopmark.bench.measure.cgroup import free_host_bytes
from loopmark.bench.measure.pool import CaseEnded, WorkerProcess
from loopmark.bench.measure.schedule import steps_per_block
from loopmark.bench.records.batch_sizes import Attempt, Limit

WARMUP_SECONDS = 1.0  # after the first step: allocators and caches fill in a few steps, and there are many sizes to try
SAMPLING_SECONDS = 0.5
LEAST_BLOCKS, MOST_BLOCKS = 12, 40
"""Six values bracket a median with 95 % confidence, by their least and their most; of twelve, both ends are spared."""
LEAST_STEPS = 6 + 1 + LEAST_BLOCKS
"""That an attempt takes, however long they are: warm-up, the turn's first step, and a block each."""


@dataclass(frozen=True)
class AttemptResult:
    """An attempt, and what else its process told."""

    attempt: Attempt
    data_rows: int | None = None
    memory_kind: str | None = None
    skipped: bool = False  # whether the loop cannot take this size, or this machine, which is no fault of it


NOT_TIMED: dict[str, Any] = {"rows_per_step": None, "block_seconds": (), "peak_memory_bytes": None}


@dataclass
class BatchAttempt:
    """An attempt at ``batch_size`` that ends by itself within ``limit_seconds``."""

    batch_size: int
    block_seconds: float  # what a block is to take, at least one step
    limit_seconds: float
    forecast_bytes: int | None = None  # the peak that is expected
    allowed_bytes: int | None = None  # of the host's memory; None where the device's own is what counts
    _start: float = field(default_factory=time.perf_counter)
    _data_rows: int | None = None

    def refused(self, limit: Limit) -> AttemptResult:
        """It is not even tried."""
        return self._result(limit, None, NOT_TIMED, tried=False)

    def by(self, process: WorkerProcess) -> AttemptResult:
        """It is made by ``process``, which is spent afterwards. Whatever becomes of that is an answer."""
        if self.allowed_bytes is not None:
            confine(process.pid, self.allowed_bytes)
        try:
            return self._measured(process)
        except CaseEnded as end:
            if end.status == "timed_out":
                return self._result("time", f"it was not done within {self.limit_seconds:.0f} s")
            return self._result(end.ran_out_of or "failure", end.reason, skipped=end.status == "skipped")

    def _measured(self, process: WorkerProcess) -> AttemptResult:
        ready = process.within(self._left()).set_up(with_hash=False)
        rows = process.within(self._left()).rows()
        self._data_rows = rows.data
        if ready.batch_size != self.batch_size:
            return self._result("failure", f"the workload makes batches of {ready.batch_size} whatever it is asked for")
        if rows.batch < self.batch_size:
            return self._result("data", f"a batch has no more than {rows.batch} rows")
        warm = process.within(self._left()).warm(ceiling_seconds=WARMUP_SECONDS)
        steps = steps_per_block(warm.step_seconds, self.block_seconds)
        blocks = round(SAMPLING_SECONDS / ((warm.lead_in + steps) * warm.step_seconds))
        order = (False,) * min(MOST_BLOCKS, max(LEAST_BLOCKS, blocks))
        turn = process.within(self._left()).take_turn(order=order, steps=steps, own_processes=1)
        finished = process.within(self._left()).finish()
        timed = {
            "rows_per_step": rows.per_step,
            "block_seconds": tuple(block.seconds / block.steps for _, block, _ in turn.blocks),
            "peak_memory_bytes": finished.peak_memory_bytes,
        }
        return self._result(None, None, timed, memory_kind=finished.memory_kind)

    def _left(self) -> float:
        return max(1.0, self.limit_seconds - (time.perf_counter() - self._start))

    def _result(
        self,
        limit: Limit | None,
        reason: str | None,
        timed: dict[str, Any] = NOT_TIMED,
        *,
        tried: bool = True,
        skipped: bool = False,
        memory_kind: str | None = None,
    ) -> AttemptResult:
        attempt = Attempt(
            batch_size=self.batch_size,
            limit=limit,
            reason=reason,
            tried=tried,
            seconds=time.perf_counter() - self._start,
            forecast_bytes=self.forecast_bytes,
            allowed_bytes=self.allowed_bytes,
            **timed,
        )
        return AttemptResult(attempt, self._data_rows, memory_kind, skipped)


SAFE_SHARE = 0.8  # a share of the free memory: the rest is for everyone else, and for what a forecast does not see


def safe_bytes() -> int:
    """Memory that one process may take: a share of what the system, and every control group around us, has left."""
    return int(SAFE_SHARE * free_host_bytes())


def forecast_bytes(peaks: Mapping[int, int], batch_size: int) -> int | None:
    """The peak to expect of ``batch_size``, from those that were measured, by their batch size; None from none.

    A line through the two largest: the model and torch itself take the same whatever the batch. One alone is scaled
    whole, which errs on the safe side.
    """
    if not peaks:
        return None
    *_, last = sizes = sorted(peaks)
    if len(sizes) == 1:
        return round(peaks[last] * max(1.0, batch_size / last))
    before = sizes[-2]
    slope = max(0.0, (peaks[last] - peaks[before]) / (last - before))
    return round(peaks[last] + slope * max(0, batch_size - last))


def confine(pid: int, most_bytes: int) -> None:
    """Let the process ``pid`` allocate no more than ``most_bytes``, where the system can do that (Linux).

    A forecast may be wrong, and the first size has none: torch's allocation then fails, and no one else's. Should
    memory run out all the same, the system is to end this process and not another.
    """
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(OSError, ValueError):  # it is gone already, or forbids it: the next question will show
            resource.prlimit(pid, resource.RLIMIT_DATA, (most_bytes, most_bytes))
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
