"""The begin and end of a step's ranges, for a profiler and NVTX."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from loopmark.bench.measure import profiler
from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.profiler import take_step
from loopmark.loops.technique import Driver

PHASES = ("data", "forward", "backward")


class Log(list[str]):
    """Events in order."""

    def step(self, task: Any, inputs: Any, targets: Any) -> Iterator[str]:
        self.append("does forward")
        yield "forward"
        self.append("does backward")
        yield "backward"
        self.append("ends")

    def task(self, device: str = "cpu") -> Any:
        def next_batch() -> tuple[int, int]:
            self.append("fetches")
            return 0, 0

        return SimpleNamespace(device=torch.device(device), next_batch=next_batch)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()

    @contextmanager
    def record_function(name: str) -> Iterator[None]:
        log.append(f"({name}")
        yield
        log.append(f"{name})")

    monkeypatch.setattr(profiler, "record_function", record_function)
    monkeypatch.setattr(torch.cuda.nvtx, "range_push", lambda name: log.append(f"nvtx({name}"))
    monkeypatch.setattr(torch.cuda.nvtx, "range_pop", lambda: log.append("nvtx)"))
    return log


def test_each_phase_is_a_range_and_what_comes_after_the_last_yield_is_in_the_last(log: Log) -> None:
    take_step(log.task(), log.step, PHASES, "step")
    assert log == [
        "(step",
        "(data", "fetches", "data)",
        "(forward", "does forward", "forward)",
        "(backward", "does backward", "ends", "backward)",
        "step)",
    ]  # fmt: skip


def test_on_a_cuda_device_each_range_is_an_nvtx_range_too(log: Log) -> None:
    take_step(log.task("cuda"), log.step, PHASES, "step")
    nvtx = [entry for entry in log if entry.startswith("nvtx")]
    assert nvtx == ["nvtx(step", "nvtx(data", "nvtx)", "nvtx(forward", "nvtx)", "nvtx(backward", "nvtx)", "nvtx)"]


def test_a_driver_is_one_range_its_batch_within(log: Log) -> None:
    class Whole(Driver):
        def __call__(self, task: Any, inputs: Any, targets: Any) -> None:
            log.append("replays")

    take_step(log.task(), Whole(log.step), (), "step")
    assert log == ["(step", "fetches", "replays", "step)"]


@pytest.mark.parametrize(
    "phases",
    [("data", "forward"), ("data", "forward", "loss"), ("data", "forward", "backward", "optimizer")],
    ids=["one more", "another", "one less"],
)
def test_a_step_that_names_other_phases_than_before_is_refused(phases: tuple[str, ...], log: Log) -> None:
    with pytest.raises(BadStep, match="different phases in different steps"):
        take_step(log.task(), log.step, phases, "step")


def test_an_nvtx_range_ends_though_the_step_fails(log: Log) -> None:
    def fails(task: Any, inputs: Any, targets: Any) -> Iterator[str]:
        yield "forward"
        raise ValueError("its own mistake")

    with pytest.raises(ValueError, match="its own mistake"):
        take_step(log.task("cuda"), fails, PHASES, "step")
    assert sum(entry.startswith("nvtx(") for entry in log) == log.count("nvtx)")
