"""How long an operation takes, done so many times in a row: by the host's clock, or by the device's."""

import time
from collections.abc import Callable
from typing import Protocol

import torch

Operation = Callable[[], object]

HOLD_CYCLES, MOST_HOLD_CYCLES = 2_000_000, 2_000_000_000
"""Of the device's clock: about a millisecond to begin with, a second at most."""
QUEUE_LAUNCHES = 256
"""A stream takes about a thousand launches before it makes the host wait."""


class Stopwatch(Protocol):
    """Times operations; between two calls nothing is under way."""

    def seconds(self, operation: Operation, repeats: int) -> float:
        """That ``repeats`` operations in a row take together."""


class HostStopwatch:
    """For operations that are done when their call returns."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now

    def seconds(self, operation: Operation, repeats: int) -> float:
        """By the host's clock."""
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
        """By the device's clock."""
        torch.cuda.synchronize(self._device)
        self._first.record()
        for _ in range(repeats):
            operation()
        self._last.record()
        torch.cuda.synchronize(self._device)
        return float(self._first.elapsed_time(self._last)) / 1e3


class QueueStopwatch:
    """For launches. The device is held while the host enqueues them, so that neither ever waits for the other.

    Args:
        by_host: whether the host's time to enqueue is meant, or the device's to work the queue off.
    """

    def __init__(self, device: torch.device, *, by_host: bool, now: Callable[[], float] = time.perf_counter) -> None:
        self._device, self._by_host, self._now = device, by_host, now
        self._first, self._last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._hold_cycles = HOLD_CYCLES

    def seconds(self, operation: Operation, repeats: int) -> float:
        """The host's seconds or the device's, from as many queues as ``repeats`` launches fill.

        Raises:
            RuntimeError: the device cannot be held for so long, as where each launch is made to block.
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
