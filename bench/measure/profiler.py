"""A few steps of a warm task under torch.profiler: phases as ranges, kept as a Chrome trace, and summed up."""

import gzip
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch._inductor.config
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from loopmark.bench.measure.clock import BadStep, HostClock, known_phases
from loopmark.bench.measure.timeline import NOT_COUNTED, STEP, Timeline, kernel_costs, operator_costs, timeline_of
from loopmark.bench.records.trace import Profile
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip, Step


@contextmanager
def named(name: str, device: torch.device) -> Iterator[None]:
    """A range on torch.profiler's timeline and, on a CUDA device, an NVTX range for Nsight Systems."""
    with torch.cuda.nvtx.range(name) if device.type == "cuda" else nullcontext(), record_function(name):
        yield


def take_step(task: Task, step: Step | Driver, phases: Sequence[str], name: str) -> None:
    """One whole step within a range called ``name``, each of its phases within one of its own.

    A range is named as it begins, and a step names its ``phases`` only as they end, so they must be known from a step
    before, ``data`` first; a driver's the host does not see. Raises BadStep where the step names others now.
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


PLAIN_STEPS = 10  # steps that are timed just before the profiler begins, for what it costs


@dataclass(frozen=True)
class Traced:
    """What is driven, and how."""

    clock: HostClock
    task: Task
    step: Step | Driver


def name_compiled_kernels(device: torch.device) -> None:
    """Have what torch.compile makes for a CPU from now on name each of its kernels to the profiler.

    It does not by itself (torch 2.13): all of a compiled graph would be one line. On a GPU the driver names them.
    """
    if device.type == "cpu":
        torch._inductor.config.cpp.enable_kernel_profile = True


def profile_steps(traced: Traced, steps: int, file: Path) -> Profile:
    """Profile ``steps`` steps of a task that has been warmed up; ``file`` (``….json.gz``) gets the Chrome trace.

    Raises Skip where the profiler sees nothing of the device, and BadStep where the step's phases change.
    """
    graphed = isinstance(traced.step, Driver)
    phases: Sequence[str] = ()  # of one step in order, each as often as it comes
    if not graphed:
        recording = traced.clock.lapped(1)
        recording.block()  # which refuses phases that there are none of
        phases = known_phases(recording.names)
    plain_seconds = traced.clock.plain(PLAIN_STEPS).host_seconds / PLAIN_STEPS
    profiled_seconds = _record(traced, phases, steps, file)
    timeline = read_timeline(file)
    device = traced.task.device
    if device.type == "cuda" and not timeline.kernels:
        raise Skip(f"torch.profiler saw no kernel on {device}; it needs CUPTI, which does not work here")
    costs = (kernel_costs if device.type == "cuda" else operator_costs)(timeline, phases)
    if costs.steps != steps:
        raise RuntimeError(f"torch.profiler recorded {costs.steps} of {steps} steps; give fewer --steps")
    return Profile(
        steps=steps,
        counted="kernels" if device.type == "cuda" else "operators",
        graphed=graphed,
        plain_step_seconds=plain_seconds,
        profiled_step_seconds=profiled_seconds,
        phases=costs.phases,
        unattributed=costs.unattributed,
    )


def read_timeline(file: Path) -> Timeline:
    """What a Chrome trace that torch.profiler wrote to ``file`` holds."""
    with gzip.open(file, "rt", encoding="utf-8", errors="replace") as content:
        # Not strict: a person's own range may be called by anything, control characters included.
        return timeline_of(json.loads(content.read(), strict=False)["traceEvents"])


def _record(traced: Traced, phases: Sequence[str], steps: int, file: Path) -> float:
    """Record a few steps into ``file``; returns the seconds that one of them took."""
    activities = [ProfilerActivity.CPU]
    if traced.task.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    # The step of the profiler's own warm-up leaves no trace, and the one after it is slower than the others.
    plan = schedule(wait=0, warmup=1, active=1 + steps, repeat=1)
    with profile(activities=activities, schedule=plan) as profiler:
        for _ in range(2):
            take_step(traced.task, traced.step, phases, NOT_COUNTED)
            traced.clock.synchronise()
            profiler.step()
        begin = time.perf_counter()
        for number in range(steps):
            take_step(traced.task, traced.step, phases, STEP)
            if number == steps - 1:  # kernels that are still to run when the profiler stops would be missing
                traced.clock.synchronise()
                seconds = (time.perf_counter() - begin) / steps
            profiler.step()
    profiler.export_chrome_trace(str(file))
    return seconds
