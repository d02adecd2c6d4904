"""The search for batch sizes: one case after another, each size in a process that runs alone."""

import time
from dataclasses import replace
from statistics import median
from typing import cast

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.batch_attempt import LEAST_STEPS, AttemptResult, BatchAttempt, forecast_bytes, safe_bytes
from loopmark.bench.measure.inventory import foretold, lacking, lacks_by_case, nothing_measured
from loopmark.bench.measure.launcher import apart
from loopmark.bench.measure.machine import CommandFacts
from loopmark.bench.measure.pool import WorkerPool
from loopmark.bench.measure.schedule import Progress
from loopmark.bench.records.batch_sizes import BATCH_SIZES_FILE, Attempt, BatchCase, BatchSizes
from loopmark.bench.records.files import write_record
from loopmark.bench.records.run import Status
from loopmark.loops.catalog import find_workload
from loopmark.loops.workload import Size

FINENESS = 8  # the largest fitting batch is found to within 1/8 of itself, on round multiples


class SizeSearch:
    """Proposes batch sizes, from ``first`` on, until it knows the largest that fits and a size below the fastest."""

    def __init__(self, first: int, most: int | None = None) -> None:
        self._first = first
        self.most = most  # rows of the data, the largest possible batch; None while unknown
        self._rates: dict[int, float] = {}
        self._too_large: set[int] = set()

    @property
    def largest(self) -> int | None:
        """The largest size known to fit."""
        return max(self._rates, default=None)

    @property
    def too_large(self) -> int | None:
        """The smallest size above ``largest`` known not to fit; None if there is none."""
        return min((size for size in self._too_large if size > (self.largest or 0)), default=None)

    def hear(self, batch_size: int, samples_per_second: float | None) -> None:
        """Record the rate of ``batch_size``; None if it does not fit."""
        if samples_per_second is None:
            self._too_large.add(batch_size)
        else:
            self._rates[batch_size] = samples_per_second

    def next(self) -> int | None:
        """The size to try next; None when the search is finished."""
        if self._rates:
            return self._half_of_the_fastest() or self._larger()
        if self._too_large:
            return min(self._too_large) // 2 or None
        return self._first if self.most is None else min(self._first, self.most)

    def _half_of_the_fastest(self) -> int | None:
        """Half of the smallest tried size, if that size is the fastest: a smaller one may be faster."""
        smallest = min(self._rates)
        half = smallest // 2
        others = [rate for size, rate in self._rates.items() if size != smallest]
        fastest = bool(others) and self._rates[smallest] > max(others)
        return half if fastest and half and half not in self._too_large else None

    def _larger(self) -> int | None:
        largest, too_large = max(self._rates), self.too_large
        if too_large is not None:
            return between(largest, too_large)
        if self.most is None:
            return 2 * largest
        return min(2 * largest, self.most) if largest < self.most else None


def between(fits: int, too_large: int) -> int | None:
    """A round size about halfway; None where the two sizes are close enough.

    A round size is a multiple of the power of two that divides ``fits`` into ``FINENESS`` parts or a few more. Such
    sizes suit the hardware.
    """
    grain: int = 2 ** (max(1, fits // FINENESS).bit_length() - 1)
    middle = (fits + too_large) // 2 // grain * grain
    if middle <= fits:
        middle += grain
    return middle if middle < too_large else None


GRACE_SECONDS = 10.0  # extra time allowed to an attempt that was expected to finish in time
SEARCH_SHARE = 0.6  # share of a case's budget for the search; the rest is for timing the fastest sizes again
ROUNDS, MOST_CANDIDATES, CLOSE = 2, 4, 0.75
"""For sizes timed again: the number of rounds, the most sizes, and their least share of the best throughput."""
NEVER_REACHED = "the search was interrupted before this case"


class BatchSearch:
    """Carries out a plan's searches, and stores the results in a folder after each."""

    def __init__(self, facts: CommandFacts, progress: Progress) -> None:
        self._facts, self._progress = facts, progress
        self._plan = plan = facts.plan
        self._cases = [
            BatchCase(
                workload, loop, "skipped" if reason else "ok", reason, data_rows=None, memory_kind=None, attempts=()
            )
            for (workload, loop), reason in lacks_by_case(*apart(lacking, plan)).items()
        ]
        self._sizes = {
            found.name: found.sizes[cast(Size, plan.size)][1] for found in map(find_workload, plan.workloads)
        }

    def run(self, pool: WorkerPool) -> BatchSizes:
        """Search every case; Ctrl-C ends the search early with the results so far.

        Raises BadInput, with the reasons, if every attempt failed for another reason than memory or time.
        """
        interrupted = False
        self._pool = pool
        try:
            for index, case in enumerate(self._cases):
                if reason := case.status == "ok" and foretold(case, self._cases):
                    self._cases[index] = replace(case, status="failed", reason=reason)
                elif case.status == "ok":
                    self._search(index)
                    self._keep(interrupted=False)
        except KeyboardInterrupt:
            interrupted = True
        for index, case in enumerate(self._cases):
            if case.status == "ok" and not case.attempts:
                self._cases[index] = replace(case, status="skipped", reason=NEVER_REACHED)
        if not interrupted and not self._found_anything:
            raise BadInput(nothing_measured(self._cases))
        return self._keep(interrupted)

    @property
    def _found_anything(self) -> bool:
        return any(attempt.limit != "failure" for case in self._cases for attempt in case.attempts)

    def _keep(self, interrupted: bool) -> BatchSizes:
        found = BatchSizes(**self._facts.fields(self._pool.folder, interrupted=interrupted), cases=tuple(self._cases))
        if self._found_anything:
            write_record(self._pool.folder / BATCH_SIZES_FILE, found)
        return found

    def _search(self, index: int) -> None:
        plan, case = self._plan, self._cases[index]
        search = SizeSearch(plan.batch_size or self._sizes[case.workload])
        start = self._begun = time.perf_counter()
        while (size := search.next()) is not None:
            made = self._attempt(index, size, start + SEARCH_SHARE * plan.budget_seconds - time.perf_counter())
            attempt = made.attempt
            case = self._cases[index] = replace(
                case,
                attempts=(*case.attempts, attempt),
                data_rows=case.data_rows if made.data_rows is None else made.data_rows,
                memory_kind=case.memory_kind or made.memory_kind,
            )
            search.most = case.data_rows
            if made.skipped and len(case.attempts) == 1:
                self._cases[index] = replace(case, status="skipped", reason=attempt.reason or "")
                return
            if attempt.limit == "failure" and search.largest is None:
                break  # the reason is not memory, so a smaller batch would fail too
            search.hear(size, _rate(attempt) if attempt.fits else None)
            if attempt.limit == "time":
                break
        self._cases[index] = _concluded(case, search)
        self._time_again(index, start + plan.budget_seconds)

    def _time_again(self, index: int, end: float) -> None:
        """Time the fastest sizes again, ``ROUNDS`` times in turns, while time remains."""
        for _ in range(ROUNDS):
            for size in candidates(self._cases[index].attempts):
                made = self._attempt(index, size, end - time.perf_counter())
                if made.attempt.fits:
                    case = self._cases[index]
                    self._cases[index] = replace(case, again=(*case.again, made.attempt))

    def _attempt(self, index: int, size: int, left_seconds: float) -> AttemptResult:
        """Try ``size``, unless it is forecast to need too much memory or more than the remaining time."""
        plan, case = self._plan, self._cases[index]
        on_host, soon = plan.device == "cpu", max(0.0, left_seconds) + GRACE_SECONDS
        peaks = {a.batch_size: a.peak_memory_bytes for a in case.attempts if a.peak_memory_bytes is not None}
        allowed = safe_bytes() if on_host else None
        forecast = forecast_bytes(peaks, size) if on_host else None
        # The first attempt may compile, up to --limit.
        limit = min(plan.limit_seconds, soon) if case.attempts else plan.limit_seconds
        one = BatchAttempt(size, plan.block_seconds, limit, forecast, allowed)
        if forecast is not None and allowed is not None and forecast > allowed:
            return one.refused("host memory")
        if expected_seconds(case.attempts, size) > left_seconds and case.attempts:
            return one.refused("time")
        doing = f"batch size {size:,}{' again' if case.stop else ''}"
        done = min(1.0, (time.perf_counter() - self._begun) / plan.budget_seconds)
        left = (len(self._cases) - index - done) * plan.budget_seconds
        self._progress.tell(f"{case.workload} · {case.loop} · {doing}", (index + done) / len(self._cases), left)
        log = f"case-{index}-batch-{size}"
        with self._pool.start(case.workload, case.loop, log=log, neighbours=0, batch_size=size) as process:
            return one.by(process)


def expected_seconds(attempts: tuple[Attempt, ...], batch_size: int) -> float:
    """The expected seconds of an attempt at ``batch_size``; 0 if no batch was timed.

    Steps scale in proportion from the largest timed batch; the rest, with compilation, stays the same.
    """
    last = max((a for a in attempts if a.fits), key=lambda a: a.batch_size, default=None)
    if last is None:
        return 0.0
    step = median(last.block_seconds)
    return last.seconds + (batch_size / last.batch_size - 1) * step * LEAST_STEPS


def candidates(attempts: tuple[Attempt, ...]) -> tuple[int, ...]:
    """The sizes that may be the fastest, in ascending order."""
    rates = {attempt.batch_size: _rate(attempt) for attempt in attempts if attempt.fits}
    close = [size for size, rate in rates.items() if rate >= CLOSE * max(rates.values())]
    return tuple(sorted(sorted(close, key=lambda size: -rates[size])[:MOST_CANDIDATES]))


def _rate(attempt: Attempt) -> float:
    """Samples a second."""
    assert attempt.rows_per_step is not None
    return attempt.rows_per_step / median(attempt.block_seconds)


def _concluded(case: BatchCase, search: SizeSearch) -> BatchCase:
    """The case with the reason why its search stopped."""
    last = case.attempts[-1]
    if search.largest is None:
        status: Status = "timed_out" if last.limit == "time" else "failed"
        why = last.reason or ""
        if last.limit != "failure":
            why = f"even a batch of {last.batch_size:,} does not fit: {why or last.limit}"
        return replace(case, status=status, reason=why, stop=last.limit)
    above = next((attempt for attempt in case.attempts if attempt.batch_size == search.too_large), None)
    return replace(case, stop="time" if last.limit == "time" else above.limit if above else "data")
