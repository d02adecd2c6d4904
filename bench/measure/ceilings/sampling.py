"""How long an operation takes, done so many times in a row, and the samples of it."""

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
"""Of the device's clock: about a millisecond to begin with, a second at most."""
QUEUE_LAUNCHES = 256  # a stream takes about a thousand launches before it makes the host wait


class HostStopwatch:
    """For operations that are done when their call returns."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now

    def seconds(self, operation: Operation, repeats: int) -> float:
        """That ``repeats`` operations in a row take together."""
        start = self._now()
        for _ in range(repeats):
            operation()
        return self._now() - start


class EventStopwatch:
    """For what a CUDA device does, from the event before the first operation to the one after the last."""

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
    """For launches. The device is held while the host enqueues them, so that neither ever waits for the other.

    ``by_host`` is whether the host's time to enqueue is meant, or the device's to work the queue off.
    """

    def __init__(self, device: torch.device, *, by_host: bool, now: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(device)
        self._by_host, self._now = by_host, now
        self._hold_cycles = HOLD_CYCLES

    def seconds(self, operation: Operation, repeats: int) -> float:
        """The host's seconds or the device's, from as many queues as ``repeats`` launches fill.

        Raises RuntimeError where the device cannot be held for so long, as where each launch is made to block.
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
            held = not self._first.query()  # else the device has begun before the queue was full
            self._last.record()
            torch.cuda.synchronize(self._device)
            if held:
                return enqueued_seconds if self._by_host else float(self._first.elapsed_time(self._last)) / 1e3
            self._hold_cycles *= 2
        raise RuntimeError("the device could not be held until the launches were enqueued")


Stopwatch = HostStopwatch | EventStopwatch
"""Times operations; between two calls nothing is under way."""


@dataclass(frozen=True)
class Microbenchmark:
    """What is to be measured, and how."""

    kind: Kind
    sizes: tuple[int, ...]  # in ascending order
    work: Callable[[int], float]  # of one operation of a size: in flops, in bytes; 1 where seconds are the unit
    prepare: Callable[[int], Operation]  # makes what an operation of a size needs; it is done as often as it is called
    stopwatch: Stopwatch
    dtype: str | None = None
    variant: Variant | None = None
    context: Callable[[], AbstractContextManager[None]] = nullcontext
    """Holds while an operation is timed; going in and out is not."""

    @property
    def unit(self) -> Unit:
        return UNITS[self.kind]

    def value(self, size: int, seconds: float) -> float:
        """What one operation in so many seconds comes to, in the benchmark's unit."""
        work = self.work(size)
        return seconds / work if self.unit == "seconds" else work / seconds

    def merit(self, value: float) -> float:
        """``value`` so that more is better."""
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
    operation_seconds: float = 0.0  # as it was tried
    repeats: int = 1  # operations in a sample
    values: list[float] = field(default_factory=list)  # of its samples, in the benchmark's unit
    disturbances: list[Disturbance] = field(default_factory=list)  # one a sample, where somebody looks
    sampled_seconds: float = 0.0
    beaten: bool = False
    """Whether another size is clearly better. What it reached until then is not up for being the best: what drifts may
    have been kinder to its samples than to the later ones."""
    failure: str | None = None  # what ended it before its time

    @property
    def cost_seconds(self) -> float:
        """What a sample takes, roughly."""
        return self.repeats * self.operation_seconds

    @property
    def promise(self) -> float:
        """How well it did when it was tried; more is better."""
        return self.benchmark.merit(self.benchmark.value(self.size, self.operation_seconds))

    @property
    def merit(self) -> float:
        """How well it did over its samples; more is better, and nothing counts before there are enough."""
        return self.benchmark.merit(median(self.values)) if len(self.values) >= LEAST_SAMPLES else 0.0

    def forecast_seconds(self, size: int) -> float:
        """What an operation of another size would take at this one's rate."""
        return self.operation_seconds * self.benchmark.work(size) / self.benchmark.work(self.size)

    def is_beaten_by(self, other: "Candidate") -> bool:
        """Whether the intervals of both medians are apart, this one's on the worse side; not before both have one."""
        if min(len(self.values), len(other.values)) < LEAST_SAMPLES:
            return False
        (_, *own), (_, *others) = median_interval(self.values), median_interval(other.values)
        return max(map(self.benchmark.merit, own)) < min(map(self.benchmark.merit, others))

    def try_out(self, sample_seconds: float, longest_seconds: float) -> None:
        """Learn what an operation takes, and how many of them make a sample of ``sample_seconds``.

        The first one may touch memory or choose a kernel, and does not count, unless nothing of that kind explains it.
        """
        self.operation_seconds = self.seconds()
        if self.operation_seconds > 2 * longest_seconds:
            return
        self.operation_seconds = min(self.seconds() for _ in range(2))
        if self.operation_seconds > TRIALS * sample_seconds:
            return
        # One tiny operation is not told from the clock's own reading; of several trials one is left undisturbed.
        self.repeats = self._repeats(sample_seconds / TRIALS)
        self.operation_seconds = min(self.seconds() for _ in range(TRIALS)) / self.repeats
        self.repeats = self._repeats(sample_seconds)

    def value_held(self, sample_seconds: float, samples: int) -> float:
        """In the benchmark's unit, over the last of some long samples that follow one another."""
        self.repeats = self._repeats(sample_seconds)
        return [self.benchmark.value(self.size, self.seconds() / self.repeats) for _ in range(samples)][-1]

    def _repeats(self, seconds: float) -> int:
        return max(1, round(seconds / self.operation_seconds))

    def seconds(self) -> float:
        """What a sample took that is not kept."""
        with self.benchmark.context():
            seconds = self.benchmark.stopwatch.seconds(self.operation, self.repeats)
        if not seconds > 0:
            raise RuntimeError(f"{self.repeats} operations took no time on the clock")
        return seconds

    def add_sample(self, meter: DisturbanceMeter | None) -> None:
        """Take a sample and keep it, with what disturbed it."""
        if meter:
            meter.begin()
        seconds = self.seconds()
        if meter:
            self.disturbances.append(meter.end(own_processes=1))
        self.sampled_seconds += seconds
        self.values.append(self.benchmark.value(self.size, seconds / self.repeats))
