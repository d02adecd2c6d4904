"""A fake CUDA: it keeps a log, and a replay runs the captured steps again."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from loopmark.loops.task import Task


@dataclass
class FakeCuda:
    """The driver's calls to the device, in order, and the stream of each step."""

    log: list[str] = field(default_factory=list)
    stream: str = "main"
    captured: list[Any] = field(default_factory=list)
    """For each capture, its recorded steps, which a replay runs again."""
    current: list[Any] | None = None
    recorded: list["FakeEvent"] = field(default_factory=list)


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda

    def record(self) -> None:
        assert self._cuda.current is not None, "an external event is recorded during capture only"
        self._cuda.recorded.append(self)


class FakeStream:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self._cuda, self.name = cuda, name

    def wait_stream(self, other: "FakeStream") -> None:
        self._cuda.log.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()

    class FakeGraph:
        def __init__(self) -> None:
            self.steps: list[Any] = []

        def replay(self) -> None:
            fake.log.append("replay")
            for run in self.steps:
                run()

    class Event:
        def __new__(cls, enable_timing: bool, external: bool) -> Any:
            return FakeEvent(fake)

    @contextmanager
    def stream(aside: FakeStream) -> Iterator[None]:
        fake.stream = aside.name
        yield
        fake.stream = "main"

    @contextmanager
    def graph(
        made: FakeGraph, pool: Any = None, stream: FakeStream | None = None, capture_error_mode: str = "global"
    ) -> Iterator[None]:
        fake.log.append(f"capture, {capture_error_mode}" + (f", {pool}" if pool else ""))
        fake.current, fake.stream = made.steps, "capture"
        yield
        if not made.steps:
            warnings.warn("The CUDA Graph is empty. This usually means …", stacklevel=2)
        fake.current, fake.stream = None, "main"

    @contextmanager
    def device(_: torch.device) -> Iterator[None]:
        yield

    for name, value in {
        "Stream": lambda: FakeStream(fake, "aside"),
        "stream": stream,
        "current_stream": lambda: FakeStream(fake, "main"),
        "CUDAGraph": FakeGraph,
        "graph": graph,
        "device": device,
        "graph_pool_handle": lambda: "one pool",
        "Event": Event,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.version, "hip", None)
    return fake


def recording(cuda: FakeCuda, step: Any) -> Any:
    """``step``; under capture it does not train, but is kept for the replays."""

    def recorded(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        cuda.log.append(f"step on {cuda.stream}")
        if cuda.current is None:
            yield from step(task, inputs, targets)
            return
        cuda.current.append(lambda: list(step(task, inputs, targets)))
        yield from ("zero_grad", "forward", "loss", "backward", "optimizer")

    return recorded
