"""Which cases of a launch are on the device together: all where they fit, else groups, each with the baseline."""

from dataclasses import dataclass, field

from loopmark.bench.measure.answers import Held, Ready, Warm
from loopmark.bench.measure.process import WorkerProcess

CONTEXT_BYTES = 768 * 2**20
"""What a process takes beside torch's allocator: its CUDA context, kernels and libraries. An estimate."""
MARGIN = 1.25
"""Times what the largest case so far took: the room that the next is expected to need, since loops differ. Chosen."""


@dataclass(eq=False)
class Resident:
    """A case's process in the present launch."""

    index: int
    process: WorkerProcess
    ready: Ready
    warm: Warm
    steps: int
    joules_per_step: float | None = None


class Room:
    """The device memory left for cases of one workload, as warm ones saw it; without limit where none can tell."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop what is known, since cases will now need another amount."""
        self._largest, self._free = 0, float("inf")

    def note(self, held: Held | None) -> None:
        """Learn from a case that is warm now."""
        if held is not None:
            self._largest = max(self._largest, held.reserved + CONTEXT_BYTES)
            self._free = held.free

    def holds_one_more(self) -> bool:
        """Whether another case fits beside those that are there."""
        return self._free >= MARGIN * self._largest


@dataclass
class UnderWay:
    """One launch of a workload: which cases are on the device, by index, which wait for room, and how far it is."""

    workload: str
    launch: int
    baseline: int
    waiting: list[int]
    room: Room
    live: list[Resident] = field(default_factory=list)
    groups: int = 0
    rounds: int = 0
    sampled_seconds: float = 0.0
    starting_seconds: float = 0.0
    compile_seconds: float = 0.0
    part: float = 0.0
    """The fraction of the launch that is done; it never goes back."""
    whole_batch: int | None = None
    """Samples a step before batches were halved; None where they were not."""
    _alone: set[int] = field(default_factory=set)
    """Cases that ran out of memory beside others; each comes again with the baseline alone."""

    def __post_init__(self) -> None:
        self.cases = len(self.waiting)

    def others(self, than: int) -> int:
        """How many cases are on the device, the baseline and the case ``than`` left out."""
        return sum(one.index not in (self.baseline, than) for one in self.live)

    def next(self) -> int | None:
        """The case to start now; None where it is time for turns. The first beside the baseline is always tried."""
        if not self.waiting:
            return None
        first = self.waiting[0]
        alone = self._alone & {first, *(one.index for one in self.live)}
        if self.others(first) and (alone or not self.room.holds_one_more()):
            return None
        return self.waiting.pop(0)

    def put_off(self, index: int) -> bool:
        """Let a case that ran out of memory beside others start again later, once; False where that is no use."""
        if index in self._alone or not self.others(index):
            return False
        self._alone.add(index)
        self.waiting.insert(0, index)
        return True
