"""One thing that a device can do, at several sizes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from loopmark.bench.measure.ceilings.stopwatch import Operation, Stopwatch
from loopmark.bench.records.ceilings import Kind, LeftOut, Unit, Variant


@dataclass(frozen=True)
class Target:
    """What is to be measured, and how."""

    kind: Kind
    dtype: str | None
    unit: Unit
    sizes: tuple[int, ...]
    """In ascending order."""
    work: Callable[[int], float]
    """Of one operation of a size: in flops, in bytes; 1 where seconds are the unit."""
    prepare: Callable[[int], Operation]
    """Makes what an operation of a size needs; it is done as often as it is called."""
    stopwatch: Stopwatch
    variant: Variant | None = None
    context: Callable[[], AbstractContextManager[None]] = nullcontext
    """Holds while an operation is timed; going in and out is not."""

    def value(self, size: int, seconds: float) -> float:
        """What one operation in so many seconds comes to, in the target's unit."""
        work = self.work(size)
        return seconds / work if self.unit == "seconds" else work / seconds

    def merit(self, value: float) -> float:
        """``value`` so that more is better."""
        return 1 / value if self.unit == "seconds" else value

    def left_out(self, reason: str) -> LeftOut:
        """Why it has no ceiling."""
        return LeftOut(self.kind, self.dtype, reason, self.variant)
