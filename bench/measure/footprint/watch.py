"""Who looks at a step's memory: on a CPU the tensors that are alive, on CUDA torch's own allocator."""

from types import TracebackType
from typing import Any, Protocol, Self

import torch

from loopmark.bench.measure.footprint.alive import AliveBytes, held_by
from loopmark.bench.records.footprint import Kind, Stretch
from loopmark.loops.task import Task

MOST_EVENTS = 1_000_000
"""That the allocator's history may hold; older ones would be lost."""


class Watch(Protocol):
    """Looks at memory while it is entered; ``lap`` ends a stretch of it."""

    kind: Kind
    before_bytes: int

    def __enter__(self) -> Self:
        """From here on."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Until here."""

    def lap(self, phase: str) -> Stretch:
        """What was seen since the last lap, which was ``phase``."""

    def peak_operator(self) -> str | None:
        """After which the most was in use."""


class TensorWatch:
    """Every tensor of the step, whatever device it is on."""

    kind: Kind = "tensors alive"

    def __init__(self, task: Task) -> None:
        self._alive = AliveBytes()
        self._alive.hold(held_by(task.plain_model, task.optimizer))
        self.before_bytes = self._last_bytes = self._alive.bytes
        self._seen = 0

    def __enter__(self) -> Self:
        self._alive.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._alive.__exit__(kind, value, trace)  # type: ignore[no-untyped-call]

    def lap(self, phase: str) -> Stretch:
        """What was seen since the last lap; what was in use when it began counts as well."""
        moments = tuple(self._alive.moments[self._seen :])
        self._seen += len(moments)
        began, self._last_bytes = self._last_bytes, self._alive.bytes
        return Stretch(phase, moments, max(began, *moments, self._last_bytes), self._last_bytes)

    def peak_operator(self) -> str | None:
        """The first after which the most was in use."""
        moments = self._alive.moments
        return self._alive.operators[moments.index(max(moments))] if moments else None


class DeviceWatch:
    """Torch's allocator on a CUDA device: its peaks, reset at each lap, and its own history of giving and taking.

    A lap waits for the device, so that what belongs to a phase has happened. The history counts bytes as they were
    asked for, the peaks as they were given: rounded up, to 512 at least.
    """

    kind: Kind = "device memory allocated"

    def __init__(self, task: Task) -> None:
        self._device = task.device
        self._index = task.device.index or 0
        self._keeps_history = torch.cuda.get_allocator_backend() == "native"
        self._history = History(0)

    def __enter__(self) -> Self:
        self._start_anew()
        stats = torch.cuda.memory_stats(self._device)
        self.before_bytes = int(stats["allocated_bytes.all.current"])
        self._history = History(int(stats["requested_bytes.all.current"]))
        if self._keeps_history:
            torch.cuda.memory._record_memory_history("all", context=None, max_entries=MOST_EVENTS, clear_history=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeps_history:
            torch.cuda.memory._record_memory_history(None)

    def lap(self, phase: str) -> Stretch:
        """What the allocator says of the time since the last lap."""
        torch.cuda.synchronize(self._device)
        stats = torch.cuda.memory_stats(self._device)
        events = torch.cuda.memory._snapshot()["device_traces"][self._index] if self._keeps_history else []
        stretch = Stretch(
            phase=phase,
            moments=self._history.moments(events),
            peak_bytes=int(stats["allocated_bytes.all.peak"]),
            end_bytes=int(stats["allocated_bytes.all.current"]),
            peak_reserved_bytes=int(stats["reserved_bytes.all.peak"]),
            peak_inactive_split_bytes=int(stats["inactive_split_bytes.all.peak"]),
        )
        self._start_anew()
        return stretch

    def peak_operator(self) -> None:
        """The allocator does not know who asks."""

    def _start_anew(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)


class History:
    """Bytes in use, from the events of the allocator's history, which only ever grows."""

    def __init__(self, before_bytes: int) -> None:
        self._bytes, self._seen = before_bytes, 0
        self._sizes: dict[int, int] = {}

    def moments(self, events: list[dict[str, Any]]) -> tuple[int, ...]:
        """Bytes in use after each event that is new and changes them."""
        found = []
        for event in events[self._seen :]:
            if event["action"] == "alloc":
                self._sizes[event["addr"]] = event["size"]
                self._bytes += event["size"]
            elif event["action"] == "free_completed":
                self._bytes -= self._sizes.pop(event["addr"], event["size"])
            else:
                continue
            found.append(self._bytes)
        self._seen = len(events)
        return tuple(found)


def watch_of(task: Task) -> Watch:
    """The watch for the task's device."""
    return DeviceWatch(task) if task.device.type == "cuda" else TensorWatch(task)
