"""One attempt at a batch size in a fresh process: its fit, its step times and its memory."""

import contextlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopmark.bench.measure.cgroup import free_host_bytes
from loopmark.bench.measure.pool import CaseEnded, WorkerProcess
from loopmark.bench.measure.schedule import LONG_SECONDS, steps_per_block
from loopmark.bench.records.batch_sizes import Attempt, Limit

WARMUP_SECONDS = 1.0  # after the first step; short, since many sizes are tried, and a few steps fill the caches
SAMPLING_SECONDS = 0.5
LEAST_BLOCKS, MOST_BLOCKS = 12, 40
"""The range of six values brackets a median with 95 % confidence; with twelve, the extremes are not needed."""
LEAST_EPOCHS = 6  # where a block is an epoch that takes long: the range of all six values
LEAST_STEPS = 6 + 1 + LEAST_BLOCKS
"""The least steps of an attempt: the warm-up, the turn's first step, and one step a block."""


@dataclass(frozen=True)
class AttemptResult:
    """An attempt, with further facts from its process."""

    attempt: Attempt
    data_rows: int | None = None
    memory_kind: str | None = None
    skipped: bool = False  # True if the loop cannot run at this size or on this machine, which is not a failure


@dataclass
class BatchAttempt:
    """An attempt at ``batch_size``, limited to ``limit_seconds``."""

    batch_size: int
    block_seconds: float  # intended duration of a block, which has at least one step
    limit_seconds: float
    forecast_bytes: int | None = None  # the expected peak
    allowed_bytes: int | None = None  # limit on the host's memory; None on a device with its own memory
    _start: float = field(default_factory=time.perf_counter)
    _data_rows: int | None = None

    def refused(self, limit: Limit) -> AttemptResult:
        """The result of an attempt that is not made."""
        return self._result(limit, tried=False)

    def by(self, process: WorkerProcess) -> AttemptResult:
        """The attempt, made by ``process``, which must not be used again. A failure of the process is a result too."""
        if self.allowed_bytes is not None:
            confine(process.pid, self.allowed_bytes)
        try:
            return self._measured(process)
        except CaseEnded as end:
            if end.status == "timed_out":
                return self._result("time", f"it did not finish within {self.limit_seconds:.0f} s")
            return self._result(end.ran_out_of or "failure", end.reason, skipped=end.status == "skipped")

    def _measured(self, process: WorkerProcess) -> AttemptResult:
        ready = process.within(self._left()).set_up(with_hash=False)
        rows = process.within(self._left()).rows()
        self._data_rows = rows.data
        if ready.batch_size != self.batch_size:
            return self._result("failure", f"the workload makes batches of {ready.batch_size} and ignores --batch-size")
        if rows.batch < self.batch_size:
            return self._result("data", f"a batch has at most {rows.batch} rows")
        warm = process.within(self._left()).warm(ceiling_seconds=WARMUP_SECONDS)
        steps, cycle = steps_per_block(warm.step_seconds, self.block_seconds, warm.cycle), warm.cycle
        step_seconds = cycle.seconds / cycle.steps if cycle else warm.step_seconds
        blocks = round(SAMPLING_SECONDS / ((warm.lead_in + steps) * step_seconds))
        least = LEAST_EPOCHS if cycle and cycle.seconds > LONG_SECONDS else LEAST_BLOCKS
        order = (False,) * min(MOST_BLOCKS, max(least, blocks))
        turn = process.within(self._left()).take_turn(order=order, steps=steps, own_processes=1)
        finished = process.within(self._left()).finish()
        return self._result(
            memory_kind=finished.memory_kind,
            rows_per_step=rows.per_step,
            block_seconds=tuple(block.seconds / block.steps for _, block, _ in turn.blocks),
            peak_memory_bytes=finished.peak_memory_bytes,
        )

    def _left(self) -> float:
        return max(1.0, self.limit_seconds - (time.perf_counter() - self._start))

    def _result(
        self,
        limit: Limit | None = None,
        reason: str | None = None,
        *,
        skipped: bool = False,
        memory_kind: str | None = None,
        **known: Any,
    ) -> AttemptResult:
        """The result now; ``known`` has the other fields of the attempt, for one that was timed or not tried."""
        untimed: dict[str, Any] = {"tried": True, "rows_per_step": None, "block_seconds": (), "peak_memory_bytes": None}
        attempt = Attempt(
            batch_size=self.batch_size,
            limit=limit,
            reason=reason,
            seconds=time.perf_counter() - self._start,
            forecast_bytes=self.forecast_bytes,
            allowed_bytes=self.allowed_bytes,
            **untimed | known,
        )
        return AttemptResult(attempt, self._data_rows, memory_kind, skipped)


SAFE_SHARE = 0.8  # share of the free memory to use; the rest is for other programs and errors of the forecast


def safe_bytes() -> int:
    """Bytes that one process may use: a share of the free memory of the system and of every control group."""
    return int(SAFE_SHARE * free_host_bytes())


def forecast_bytes(peaks: Mapping[int, int], batch_size: int) -> int | None:
    """The expected peak at ``batch_size``, from the measured ``peaks`` by batch size; None without any.

    It extends the line through the two largest sizes, since the model and torch itself take the same memory at any
    batch size. A single peak is scaled in proportion, which overestimates.
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
    """Limit the memory of the process ``pid`` to ``most_bytes``, where the system can (Linux).

    The forecast may be wrong, and the first size has none. With the limit, torch's allocation fails and other programs
    are unaffected. If memory still runs out, the system ends this process first.
    """
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(OSError, ValueError):  # it has ended, or access is denied: see the next request
            resource.prlimit(pid, resource.RLIMIT_DATA, (most_bytes, most_bytes))
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
