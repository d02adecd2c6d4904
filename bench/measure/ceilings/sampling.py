"""Timing of repeated operations, and their samples."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median

import torch

from loopmark.bench.measure.meters import Disturbance, DisturbanceMeter
from loopmark.bench.median import LEAST_SAMPLES, median_interval
from loopmark.bench.records.ceilings import UNITS, Kind, LeftOut, Unit, Variant

Operation = Callable[[], object]

HOLD_CYCLES, MOST_HOLD_CYCLES = 2_000_000, 2_000_000_000
"""Cycles of the device's clock: about a millisecond at first, at most about a second."""
QUEUE_LAUNCHES = 256  # a stream holds about a thousand launches before the host must wait


class HostStopwatch:
    """Times operations that are finished when their call returns."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now

    def seconds(self, operation: Operation, repeats: int) -> float:
        """The total seconds of ``repeats`` operations in a row."""
        start = self._now()
        for _ in range(repeats):
            operation()
        return self._now() - start


class EventStopwatch:
    """Times a CUDA device's work, from the event before the first operation to the event after the last."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._first, self._last = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def seconds(self, operation: Operation, repeats: int) -> float:
        torch.cuda.synchronize(self._device)
        self._first.record()
        for _ in range(repeats):
            operation()
        self._last.record()
        torch.cuda.synchronize(self._device)
        return float(self._first.elapsed_time(self._last)) / 1e3


class QueueStopwatch(EventStopwatch):
    """Times launches. The device is held while the host enqueues them, so that neither waits for the other.

    ``by_host``: True for the host's time to enqueue, False for the device's time to work off the queue.
    """

    def __init__(self, device: torch.device, *, by_host: bool, now: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(device)
        self._by_host, self._now = by_host, now
        self._hold_cycles = HOLD_CYCLES

    def seconds(self, operation: Operation, repeats: int) -> float:
        """The host's or the device's seconds, over as many queues as ``repeats`` launches fill.

        Raises RuntimeError where the device cannot be held long enough, for example where each launch blocks.
        """
        queues, rest = divmod(repeats, QUEUE_LAUNCHES)
        return sum(self._queue(operation, launches) for launches in (*[QUEUE_LAUNCHES] * queues, rest) if launches)

    def _queue(self, operation: Operation, launches: int) -> float:
        while self._hold_cycles <= MOST_HOLD_CYCLES:
            torch.cuda.synchronize(self._device)
            torch.cuda._sleep(self._hold_cycles)
            self._first.record()
            start = self._now()
            for _ in range(launches):
                operation()
            enqueued_seconds = self._now() - start
            held = not self._first.query()  # else the device began before the queue was full
            self._last.record()
            torch.cuda.synchronize(self._device)
            if held:
                return enqueued_seconds if self._by_host else float(self._first.elapsed_time(self._last)) / 1e3
            self._hold_cycles *= 2
        raise RuntimeError("the device could not be held until the launches were enqueued")


Stopwatch = HostStopwatch | EventStopwatch
"""Times operations; no operation is running between two calls."""


@dataclass(frozen=True)
class Microbenchmark:
    """One quantity to measure, and its method."""

    kind: Kind
    sizes: tuple[int, ...]  # in ascending order
    work: Callable[[int], float]  # of one operation by size, in flops or bytes; 1 where the unit is seconds
    prepare: Callable[[int], Operation]  # prepares the operation of a size; each call of the result performs it once
    stopwatch: Stopwatch
    dtype: str | None = None
    variant: Variant | None = None
    context: Callable[[], AbstractContextManager[None]] = nullcontext
    """The context of the timed operations; entering and leaving it is not timed."""

    @property
    def unit(self) -> Unit:
        return UNITS[self.kind]

    def value(self, size: int, seconds: float) -> float:
        """The value of one operation that takes ``seconds``, in the benchmark's unit."""
        work = self.work(size)
        return seconds / work if self.unit == "seconds" else work / seconds

    def merit(self, value: float) -> float:
        """``value``, or its inverse for seconds: higher is better."""
        return 1 / value if self.unit == "seconds" else value

    def left_out(self, reason: str) -> LeftOut:
        return LeftOut(self.kind, self.dtype, reason, self.variant)


TRIALS = 5


@dataclass
class Candidate:
    """One size of one benchmark, ready to take samples."""

    benchmark: Microbenchmark
    size: int
    operation: Operation
    operation_seconds: float = 0.0  # measured by ``try_out``
    repeats: int = 1  # operations in a sample
    values: list[float] = field(default_factory=list)  # of its samples, in the benchmark's unit
    disturbances: list[Disturbance] = field(default_factory=list)  # one per sample, with a meter
    sampled_seconds: float = 0.0
    beaten: bool = False
    """True if another size is clearly better. A beaten size cannot become the best, since drift may have favoured
    its early samples."""
    failure: str | None = None  # the error that ended it early

    @property
    def cost_seconds(self) -> float:
        """The approximate seconds of a sample."""
        return self.repeats * self.operation_seconds

    @property
    def promise(self) -> float:
        """Its merit in the trial; higher is better."""
        return self.benchmark.merit(self.benchmark.value(self.size, self.operation_seconds))

    @property
    def merit(self) -> float:
        """The merit of its samples' median; higher is better, and 0 before there are enough samples."""
        return self.benchmark.merit(median(self.values)) if len(self.values) >= LEAST_SAMPLES else 0.0

    def forecast_seconds(self, size: int) -> float:
        """The expected seconds of an operation of another size, at this one's rate."""
        return self.operation_seconds * self.benchmark.work(size) / self.benchmark.work(self.size)

    def is_beaten_by(self, other: "Candidate") -> bool:
        """True if both medians' intervals are disjoint and this one is worse; False until both have an interval."""
        if min(len(self.values), len(other.values)) < LEAST_SAMPLES:
            return False
        (_, *own), (_, *others) = median_interval(self.values), median_interval(other.values)
        return max(map(self.benchmark.merit, own)) < min(map(self.benchmark.merit, others))

    def try_out(self, sample_seconds: float, longest_seconds: float) -> None:
        """Measure an operation's seconds, and choose the number of operations in a sample of ``sample_seconds``.

        The first one does not count, since it may touch memory or choose a kernel, unless it is too slow for that.
        """
        self.operation_seconds = self.seconds()
        if self.operation_seconds > 2 * longest_seconds:
            return
        self.operation_seconds = min(self.seconds() for _ in range(2))
        if self.operation_seconds > TRIALS * sample_seconds:
            return
        # A single tiny operation is too short for the clock; the minimum of several trials is undisturbed.
        self.repeats = self._repeats(sample_seconds / TRIALS)
        self.operation_seconds = min(self.seconds() for _ in range(TRIALS)) / self.repeats
        self.repeats = self._repeats(sample_seconds)

    def value_held(self, sample_seconds: float, samples: int) -> float:
        """The value of the last of ``samples`` long samples in a row, in the benchmark's unit."""
        self.repeats = self._repeats(sample_seconds)
        return [self.benchmark.value(self.size, self.seconds() / self.repeats) for _ in range(samples)][-1]

    def _repeats(self, seconds: float) -> int:
        return max(1, round(seconds / self.operation_seconds))

    def seconds(self) -> float:
        """The seconds of one sample, which is not stored."""
        with self.benchmark.context():
            seconds = self.benchmark.stopwatch.seconds(self.operation, self.repeats)
        if not seconds > 0:
            raise RuntimeError(f"{self.repeats} operations took no time on the clock")
        return seconds

    def add_sample(self, meter: DisturbanceMeter | None) -> None:
        """Take a sample and store it, with its disturbances if there is a ``meter``."""
        if meter:
            meter.begin()
        seconds = self.seconds()
        if meter:
            self.disturbances.append(meter.end(own_processes=1))
        self.sampled_seconds += seconds
        self.values.append(self.benchmark.value(self.size, seconds / self.repeats))
