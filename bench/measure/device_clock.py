"""The clock on a device: laps are events in its stream; the host's laps are the time to enqueue each phase."""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from loopmark.bench.measure.clock import BadStep, Block, HostClock, Recording, Seconds
from loopmark.loops.cuda_graphs import GraphedPhases, GraphedStep
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Step
from loopmark.phases import DATA, PHASES

HOLD_CYCLES = 600_000
"""Device clock cycles, 300 µs at 2 GHz, chosen to outlast the host's enqueueing of a graph and the calls before it."""


class DeviceClock(HostClock):
    """Times a step on a device with torch's events; the host's laps are the time to enqueue each phase."""

    waits_to_read = True
    lead_in = 1

    def __init__(self, task: Task, step: Step, now: Callable[[], int] = time.perf_counter_ns) -> None:
        super().__init__(task, step, now)
        self._ring: list[torch.Event] = []
        self._marks_per_step = len(PHASES)

    def plain(self, steps: int, lead_in: int = 0) -> Block:
        """Time ``steps`` steps enqueued without laps or pauses, from the first event to the last."""
        first, last = self._events(2)
        self.synchronise()
        start = self._now()
        for _ in range(lead_in):
            self.take_step()
        first.record()
        for _ in range(steps):
            self.take_step()
        last.record()
        self.synchronise()
        host_seconds = (self._now() - start) / 1e9 * steps / (lead_in + steps)
        return Block(steps, host_seconds, first.elapsed_time(last) / 1e3, lead_in=lead_in)

    def synchronise(self) -> None:
        torch.accelerator.synchronize(self._task.device)

    def event(self) -> torch.Event:
        return torch.Event(device=self._task.device, enable_timing=True)

    def lapped(self, steps: int, lead_in: int = 0) -> Recording:
        """Time ``steps`` steps with an event at each phase's end. Later blocks create theirs before they begin."""
        recording = super().lapped(steps, lead_in)
        self._marks_per_step = -(-len(recording.names) // (lead_in + steps))
        return recording

    def _begin(self, steps: int) -> None:
        super()._begin(steps)
        self._events(steps * self._marks_per_step + 1)
        self.synchronise()

    def _mark(self) -> None:
        index = len(self._stamps)
        if index == len(self._ring):  # only while the number of phases is unknown
            self._events(index + 1)
        self._ring[index].record()
        self._stamps.append(self._now())

    def _mark_again(self) -> None:
        self._ring[len(self._stamps) - 1].record()
        super()._mark_again()

    def _device_laps(self) -> Seconds:
        self.synchronise()
        return np.array([a.elapsed_time(b) / 1e3 for a, b in pairwise(self._ring[: len(self._stamps)])])

    def _events(self, count: int) -> list[torch.Event]:
        while len(self._ring) < count:
            self._ring.append(self.event())
        return self._ring[:count]


class CudaClock(DeviceClock):
    """Times a step on a CUDA device with CUDA's own events."""

    def synchronise(self) -> None:
        torch.cuda.synchronize(self._task.device)

    def event(self) -> torch.Event:
        return torch.cuda.Event(enable_timing=True)


class ReplayClock(CudaClock):
    """Times a step that is replayed: each replay overwrites the results of the last one."""

    def last_loss(self) -> torch.Tensor | None:
        loss = self._task.last_loss
        return None if loss is None else loss.clone()


class GraphClock(ReplayClock):
    """Times a step that is one graph launch; its phases come from events inside the graph.

    Every replay overwrites those events, so a lapped step is read before the next one starts. Blocks without laps
    replay back to back. The host enqueues the step in one call and sees no phases.
    """

    laps_count = False

    def __init__(self, task: Task, step: GraphedStep, now: Callable[[], int] = time.perf_counter_ns) -> None:
        super().__init__(task, step.step, now)
        self._graphed = step

    def lapped(self, steps: int, lead_in: int = 0) -> Recording:  # noqa: ARG002 - replays need no lead-in
        """Time ``steps`` replays, each read before the next. Phases need a captured graph with external events."""
        first, last = self._events(2)
        self.synchronise()
        start = self._now()
        names: list[str] = []
        starts: list[int] = []
        laps: list[float] = []
        losses: list[torch.Tensor | None] = []
        total = 0.0
        for _ in range(steps):
            # The device is held until the host has enqueued the step; else it would wait for the host in the step.
            torch.cuda._sleep(HOLD_CYCLES)
            first.record()
            self.take_step()
            last.record()
            self.synchronise()
            previous = first
            starts.append(len(names))
            for phase, event in self._graphed.marks:
                names.append(phase or DATA)  # the mark at the graph's start ends the copy of the batch
                laps.append(previous.elapsed_time(event) / 1e3)
                previous = event
            total += first.elapsed_time(previous if self._graphed.marks else last) / 1e3
            losses.append(self.last_loss())
        host_seconds, unseen = (self._now() - start) / 1e9, np.full(len(laps), np.nan)
        return Recording(steps, host_seconds, total, names, starts, unseen, np.array(laps), losses)

    def take_step(self) -> None:
        self._graphed(self._task, *self._task.next_batch())


def make_clock(task: Task, step: Step | Driver) -> HostClock:
    """The clock for ``task``'s device. Raises BadStep for a driver that no clock supports."""
    if isinstance(step, Driver):
        if isinstance(step, GraphedStep) and task.device.type == "cuda":
            return GraphClock(task, step)
        if isinstance(step, GraphedPhases) and task.device.type == "cuda":
            return ReplayClock(task, step.phased)  # events between the launches end the phases
        raise BadStep(
            f"no clock can time the phases of a {type(step).__name__} on {task.device.type}; derive your own driver "
            "from GraphedStep or GraphedPhases, and use a CUDA device"
        )
    clocks: dict[str, type[HostClock]] = {"cpu": HostClock, "cuda": CudaClock}
    return clocks.get(task.device.type, DeviceClock)(task, step)


def why_untimed(device: str) -> str | None:
    """The reason why events on ``device`` cannot be timed; None if they can. It uses the device."""
    try:
        first, last = (torch.Event(device=device, enable_timing=True) for _ in range(2))
        first.record()
        torch.zeros(1, device=device).add_(1)
        last.record()
        torch.accelerator.synchronize(device)
        first.elapsed_time(last)
    except Exception as error:  # a backend may raise any error
        return " ".join(str(error).split()) or type(error).__name__
    return None
