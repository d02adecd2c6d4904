"""A step with its phases as ranges that a profiler sees."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.profiler import record_function

from loopmark.bench.measure.clock import BadStep
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Step


@contextmanager
def named(name: str, device: torch.device) -> Iterator[None]:
    """A range on torch.profiler's timeline and, on a CUDA device, an NVTX range for Nsight Systems."""
    nvtx = device.type == "cuda"
    if nvtx:
        torch.cuda.nvtx.range_push(name)
    try:
        with record_function(name):
            yield
    finally:
        if nvtx:
            torch.cuda.nvtx.range_pop()


def take_step(task: Task, step: Step | Driver, phases: Sequence[str], name: str) -> None:
    """One whole step within a range called ``name``, each of its phases within one of its own.

    Args:
        phases: in the order in which they end, ``data`` first. A range is named as it begins, and a step names its
            phases only as they end, so they must be known from a step before. Not used for a driver, whose phases
            the host does not see.

    Raises:
        BadStep: the step names other phases now.
    """
    with named(name, task.device):
        if isinstance(step, Driver):
            step(task, *task.next_batch())
        else:
            _lap(task, step, phases)


def _lap(task: Task, step: Step, phases: Sequence[str]) -> None:
    data, *middle, last = phases
    with named(data, task.device):
        inputs, targets = task.next_batch()
    turn = _lazily(step, task, inputs, targets)
    for phase in middle:
        with named(phase, task.device):
            _expect(phase, turn)
    with named(last, task.device):
        _expect(last, turn)
        _expect(None, turn)  # what comes after the last yield counts for the last phase


def _lazily(step: Step, task: Task, inputs: object, targets: object) -> Iterator[str]:
    """The step, of which nothing runs before its first phase begins, even if it is no generator."""
    yield from step(task, inputs, targets)


def _expect(phase: str | None, turn: Iterator[str]) -> None:
    if next(turn, None) != phase:
        raise BadStep("the step yields different phases in different steps; it must name the same ones each time")
