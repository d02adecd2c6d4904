"""The allocator's own figures, from a stand-in for torch.cuda; test_on_cuda.py uses a real device."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from loopmark.bench.measure.memory_profile import DeviceWatch, History
from loopmark.loops.task import Task


def event(action: str, addr: int = 0, size: int = 0) -> dict[str, Any]:
    return {"action": action, "addr": addr, "size": size}


class StandInCuda:
    """A device with a scripted allocator."""

    def __init__(self, backend: str = "native") -> None:
        self.backend = backend
        self.called: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.now = {
            "allocated_bytes.all.current": 1024, "allocated_bytes.all.peak": 1024, "requested_bytes.all.current": 1000,
            "reserved_bytes.all.peak": 4096, "inactive_split_bytes.all.peak": 512,
        }  # fmt: skip

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cuda = torch.cuda
        monkeypatch.setattr(cuda, "get_allocator_backend", lambda: self.backend)
        monkeypatch.setattr(cuda, "synchronize", lambda device: self.called.append("synchronize"))
        monkeypatch.setattr(cuda, "reset_peak_memory_stats", lambda device: self.called.append("reset"))
        monkeypatch.setattr(cuda, "memory_stats", lambda device: dict(self.now))
        monkeypatch.setattr(
            cuda.memory, "_record_memory_history", lambda *a, **k: self.called.append(f"history {a[0]}")
        )
        monkeypatch.setattr(cuda.memory, "_snapshot", lambda: {"device_traces": [[], list(self.events)]})


TASK: Task = SimpleNamespace(device=torch.device("cuda:1"))  # type: ignore[assignment]


def test_bytes_go_up_and_down_with_the_allocators_events() -> None:
    history = History(100)
    events = [event("alloc", 1, 10), event("segment_alloc", 7, 2**21), event("free_requested", 1, 10)]

    assert history.moments(events) == (110,)
    events += [event("free_completed", 1, 512), event("free_completed", 2, 40), event("oom", 0, 99)]
    assert history.moments(events) == (100, 60)  # bytes as requested, and memory from before the history
    assert history.moments(events) == ()


def test_a_lap_reads_the_peaks_once_the_device_is_done_and_resets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = StandInCuda()
    cuda.install(monkeypatch)
    with DeviceWatch(TASK) as watch:
        cuda.called.clear()
        cuda.events.append(event("alloc", 1, 500))
        cuda.now |= {"allocated_bytes.all.peak": 3000, "allocated_bytes.all.current": 2000}
        stretch = watch.lap("forward")

    assert cuda.called == ["synchronize", "synchronize", "reset", "history None"]
    assert watch.before_bytes == 1024
    assert stretch.moments == (1500,)
    assert (stretch.peak_bytes, stretch.end_bytes) == (3000, 2000)
    assert (stretch.peak_reserved_bytes, stretch.peak_inactive_split_bytes) == (4096, 512)


def test_the_history_is_switched_off_again_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = StandInCuda()
    cuda.install(monkeypatch)
    with pytest.raises(torch.OutOfMemoryError), DeviceWatch(TASK):
        raise torch.OutOfMemoryError

    assert cuda.called[-1] == "history None"


def test_an_allocator_without_a_history_tells_its_peaks_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = StandInCuda("cudaMallocAsync")
    cuda.install(monkeypatch)
    with DeviceWatch(TASK) as watch:
        stretch = watch.lap("forward")

    assert not any("history" in call for call in cuda.called)
    assert stretch.moments == ()
    assert stretch.peak_bytes == 1024
