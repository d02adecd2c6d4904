"""A few steps of a warm task under torch.profiler: phases as ranges, a Chrome trace, and a summary."""

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
    """Take one step within a range called ``name``, and each of its phases within its own range.

    A range is named at its start, and a step names its ``phases`` only at their ends, so they must be known from an
    earlier step, ``data`` first. A driver has no phases on the host. Raises BadStep where the step yields other phases.
    """
    with named(name, task.device):
        if isinstance(step, Driver):
            step(task, *task.next_batch())
            return
        data, *others = phases
        with named(data, task.device):
            batch = task.next_batch()
        turn: Iterator[str] | None = None
        for number, phase in enumerate(others, start=1):
            with named(phase, task.device):
                turn = turn or step(task, *batch)  # here, since a plain function would run its work
                _expect(phase, turn)
                if number == len(others):  # work after the last yield belongs to the last phase
                    _expect(None, turn)


def _expect(phase: str | None, turn: Iterator[str]) -> None:
    if next(turn, None) != phase:
        raise BadStep("the step yields different phases in different steps; it must name the same ones each time")


PLAIN_STEPS = 10  # steps timed just before the profiler starts, to measure its overhead


@dataclass(frozen=True)
class Traced:
    """The clock, task and step to profile."""

    clock: HostClock
    task: Task
    step: Step | Driver


def name_compiled_kernels(device: torch.device) -> None:
    """Make code that torch.compile generates for a CPU from now on name each of its kernels to the profiler.

    By default (torch 2.13), a compiled graph is one line. On a GPU the driver names the kernels.
    """
    if device.type == "cpu":
        torch._inductor.config.cpp.enable_kernel_profile = True


def profile_steps(traced: Traced, steps: int, file: Path) -> Profile:
    """Profile ``steps`` steps of a warm task, and write the Chrome trace to ``file`` (``….json.gz``).

    Raises Skip where the profiler sees no kernel on a CUDA device, and BadStep where the step's phases change.
    """
    graphed = isinstance(traced.step, Driver)
    phases: Sequence[str] = ()  # of one step in order, with repeats
    if not graphed:
        recording = traced.clock.lapped(1)
        recording.block()  # raises BadStep for unknown phases
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
    """The timeline in the Chrome trace that torch.profiler wrote to ``file``."""
    with gzip.open(file, "rt", encoding="utf-8", errors="replace") as content:
        # Not strict: a user's own range may have any name, even with control characters.
        return timeline_of(json.loads(content.read(), strict=False)["traceEvents"])


def _record(traced: Traced, phases: Sequence[str], steps: int, file: Path) -> float:
    """Record a few steps into ``file``, and return the mean seconds of one."""
    activities = [ProfilerActivity.CPU]
    if traced.task.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    # The profiler's warm-up step is not in the trace, and the step after it is slower than later ones.
    plan = schedule(wait=0, warmup=1, active=1 + steps, repeat=1)
    with profile(activities=activities, schedule=plan) as profiler:
        for _ in range(2):
            take_step(traced.task, traced.step, phases, NOT_COUNTED)
            traced.clock.synchronise()
            profiler.step()
        begin = time.perf_counter()
        for number in range(steps):
            take_step(traced.task, traced.step, phases, STEP)
            if number == steps - 1:  # kernels still running when the profiler stops would be missing
                traced.clock.synchronise()
                seconds = (time.perf_counter() - begin) / steps
            profiler.step()
    profiler.export_chrome_trace(str(file))
    return seconds
