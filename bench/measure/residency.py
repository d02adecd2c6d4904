"""Who of a launch is on the device together: all cases where they fit, else groups, each with the baseline in it."""

from dataclasses import dataclass, field

from loopmark.bench.measure.answers import Held, Ready, Warm
from loopmark.bench.measure.process import WorkerProcess

CONTEXT_BYTES = 768 * 2**20
"""Of a process beside what torch's allocator reserves: its CUDA context, kernels and libraries. An estimate."""
MARGIN = 1.25
"""Of the room that a case is given over what the largest before it took: loops differ in what they keep."""


@dataclass
class Resident:
    """A case's process in the present launch."""

    index: int
    process: WorkerProcess
    ready: Ready
    warm: Warm
    steps: int
    joules_per_step: float | None = None


class Room:
    """The device's room for cases of one workload, as those that got warm saw it; endless where none can tell."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Cases are going to take another amount than those so far."""
        self._largest, self._free = 0, float("inf")

    def note(self, held: Held | None) -> None:
        """A case has got warm."""
        if held is not None:
            self._largest = max(self._largest, held.reserved + CONTEXT_BYTES)
            self._free = held.free

    def holds_one_more(self) -> bool:
        """Whether another case fits beside those that are there."""
        return self._free >= MARGIN * self._largest


@dataclass
class Residents:
    """The cases of one launch of a workload, by their indices: who is there, and who waits for room."""

    baseline: int
    waiting: list[int]
    room: Room
    live: list[Resident] = field(default_factory=list)
    _alone: set[int] = field(default_factory=set)
    """Those that ran out of memory beside others: from then on there is no more than one beside the baseline."""

    def others(self, than: int) -> int:
        """How many are there beside the baseline and the case ``than``."""
        return sum(one.index not in (self.baseline, than) for one in self.live)

    def next(self) -> int | None:
        """Who is to start now; None where it is time for turns. The first beside the baseline is always tried."""
        if not self.waiting:
            return None
        first = self.waiting[0]
        alone = self._alone & {first, *(one.index for one in self.live)}
        if self.others(first) and (alone or not self.room.holds_one_more()):
            return None
        return self.waiting.pop(0)

    def put_off(self, index: int) -> bool:
        """Have a case that ran out of memory beside others come again, once; False where it cannot."""
        if index in self._alone or not self.others(index):
            return False
        self._alone.add(index)
        self.waiting.insert(0, index)
        return True
