"""The stopwatch: drives a step, whole or lap by lap, on the host's clock and on the device's.

Laps share their boundaries. Each phase ends where the next begins, and a step begins where the one before it ended,
so the phases of a block add up to the block by construction. On a device a lap is an event recorded into its stream:
nothing waits for the device until the block is over.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from loops.cuda_graph import GraphedStep
from loops.graph_phases import GraphedPhases
from loops.phases import DATA, PHASES
from loops.task import Task
from loops.technique import Driver, Step

Seconds = NDArray[np.float64]

HOLD_CYCLES = 600_000
"""Of the device's clock, 300 µs at 2 GHz: meant to outlast the host as it enqueues a graph and what comes before."""


class BadStep(Exception):  # noqa: N818 - it names what was given
    """A step that names phases which do not exist, or names none."""


@dataclass(frozen=True)
class Block:
    """Consecutive steps of one process, timed. ``device_seconds`` is NaN where the host's clock is the only one."""

    steps: int
    host_seconds: float
    device_seconds: float


@dataclass(frozen=True)
class LappedBlock(Block):
    """A block with its phases: ``host`` and ``device`` are seconds, (steps, phases), NaN where not seen."""

    phases: tuple[str, ...]
    host: Seconds
    device: Seconds
    losses: Seconds
    """(steps,), or empty where a step leaves none in ``Task.last_loss``."""


@dataclass(frozen=True)
class Recording:
    """A lapped block just as the clock left it.

    It is laid out by ``block`` once the turn is over: arithmetic between two blocks would leave its traces in the
    caches and slow the next one, which was seen as a bias of 0.5 % when laps were laid out at once.
    """

    steps: int
    host_seconds: float
    device_seconds: float
    names: list[str]
    host_laps: Seconds | list[int]
    """Seconds a lap, or the stamps between the laps, in nanoseconds."""
    device_laps: Seconds | None
    losses: list[torch.Tensor | None]

    def block(self) -> LappedBlock:
        """The recording by step and phase. Raises BadStep for phases that do not exist."""
        laps = np.diff(self.host_laps) / 1e9 if isinstance(self.host_laps, list) else self.host_laps
        phases, host = _by_phase(self.names, laps, self.steps)
        absent = np.full(len(self.names), np.nan)
        _, device = _by_phase(self.names, absent if self.device_laps is None else self.device_laps, self.steps)
        return LappedBlock(
            steps=self.steps,
            host_seconds=self.host_seconds,
            device_seconds=self.device_seconds,
            phases=phases,
            host=host,
            device=device,
            losses=_read_losses(self.losses),
        )


class HostClock:
    """Times a step whose work is done when its calls return."""

    waits_to_read = False
    """Whether reading a number from a tensor makes the host wait for the device."""
    laps_count = True
    """Whether a lapped block says as much of a step's time as a plain one."""

    def __init__(self, task: Task, step: Step, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self._task, self._step, self._now = task, step, now
        self._stamps: list[int] = []

    def plain(self, steps: int) -> Block:
        """``steps`` steps without a lap."""
        self._begin(steps)
        start = self._now()
        for _ in range(steps):
            self.take_step()
        return Block(steps, (self._now() - start) / 1e9, float("nan"))

    def lapped(self, steps: int) -> Recording:
        """``steps`` steps with a lap at each phase's end; what comes after the last yield counts for the last phase."""
        self._begin(steps)
        task, step, mark = self._task, self._step, self._mark
        names: list[str] = []
        losses = []
        mark()
        for _ in range(steps):
            inputs, targets = task.next_batch()
            mark()
            names.append(DATA)
            for phase in step(task, inputs, targets):
                mark()
                names.append(phase)
            self._mark_again()
            losses.append(self.last_loss())
        device = self._device_laps()
        return Recording(
            steps=steps,
            host_seconds=(self._stamps[-1] - self._stamps[0]) / 1e9,
            device_seconds=float("nan") if device is None else float(device.sum()),
            names=names,
            host_laps=self._stamps,
            device_laps=device,
            losses=losses,
        )

    def synchronise(self) -> None:
        """Wait until all that was asked for is done."""

    def take_step(self) -> None:
        """One step, untimed."""
        deque(self._step(self._task, *self._task.next_batch()), maxlen=0)

    def last_loss(self) -> torch.Tensor | None:
        """The loss of the step that was taken last, which no later step changes."""
        return self._task.last_loss

    def _begin(self, steps: int) -> None:  # noqa: ARG002 - the device clocks need it
        self._stamps = []

    def _mark(self) -> None:
        self._stamps.append(self._now())

    def _mark_again(self) -> None:
        self._stamps[-1] = self._now()

    def _device_laps(self) -> Seconds | None:
        return None


class DeviceClock(HostClock):
    """Times a step on a device by torch's events; the host's laps are the time to enqueue each phase."""

    waits_to_read = True

    def __init__(self, task: Task, step: Step, now: Callable[[], int] = time.perf_counter_ns) -> None:
        super().__init__(task, step, now)
        self._ring: list[torch.Event] = []
        self._marks_per_step = len(PHASES)

    def plain(self, steps: int) -> Block:
        """``steps`` steps enqueued without a lap or a pause, from the first event to the last."""
        first, last = self._events(2)
        self.synchronise()
        start = self._now()
        first.record()
        for _ in range(steps):
            self.take_step()
        last.record()
        self.synchronise()
        return Block(steps, (self._now() - start) / 1e9, first.elapsed_time(last) / 1e3)

    def synchronise(self) -> None:
        """Wait for the device."""
        torch.accelerator.synchronize(self._task.device)

    def event(self) -> torch.Event:
        """A new event that can be timed."""
        return torch.Event(device=self._task.device, enable_timing=True)

    def lapped(self, steps: int) -> Recording:
        """``steps`` steps with an event at each phase's end; those of later blocks are made before they begin."""
        recording = super().lapped(steps)
        self._marks_per_step = len(recording.names) // steps
        return recording

    def _begin(self, steps: int) -> None:
        super()._begin(steps)
        self._events(steps * self._marks_per_step + 1)
        self.synchronise()

    def _mark(self) -> None:
        index = len(self._stamps)
        if index == len(self._ring):  # only while the number of phases is not known yet
            self._events(index + 1)
        self._ring[index].record()
        self._stamps.append(self._now())

    def _mark_again(self) -> None:
        self._ring[len(self._stamps) - 1].record()
        super()._mark_again()

    def _device_laps(self) -> Seconds:
        self.synchronise()
        used = self._ring[: len(self._stamps)]
        return np.array([a.elapsed_time(b) / 1e3 for a, b in pairwise(used)])

    def _events(self, count: int) -> list[torch.Event]:
        while len(self._ring) < count:
            self._ring.append(self.event())
        return self._ring[:count]


class CudaClock(DeviceClock):
    """Times a step on a CUDA device, by CUDA's own events."""

    def synchronise(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self._task.device)

    def event(self) -> torch.Event:
        """A new event that can be timed."""
        return torch.cuda.Event(enable_timing=True)


class GraphedPhasesClock(CudaClock):
    """Times a step that is one graph launch a phase, by events between the launches."""

    def __init__(self, task: Task, step: GraphedPhases, now: Callable[[], int] = time.perf_counter_ns) -> None:
        super().__init__(task, step.phased, now)

    def last_loss(self) -> torch.Tensor | None:
        """A copy: the next replay overwrites the original."""
        return _copy(self._task.last_loss)


class GraphClock(CudaClock):
    """Times a step that is one graph launch, its phases from the events inside the graph.

    Every replay overwrites those events, so a lapped step is read before the next one starts; blocks without laps
    replay back to back. The host enqueues the step in one call and sees no phase of it.
    """

    laps_count = False

    def __init__(self, task: Task, step: GraphedStep, now: Callable[[], int] = time.perf_counter_ns) -> None:
        super().__init__(task, step.step, now)
        self._graphed = step

    def lapped(self, steps: int) -> Recording:
        """``steps`` replays, each read before the next. Before capture, and without external events, no phases."""
        first, last = self._events(2)
        self.synchronise()
        start = self._now()
        names: list[str] = []
        laps: list[float] = []
        losses: list[torch.Tensor | None] = []
        total = 0.0
        for _ in range(steps):
            # The device is held until the host has enqueued the whole step, or it would wait for the host within it.
            torch.cuda._sleep(HOLD_CYCLES)
            first.record()
            self.take_step()
            last.record()
            self.synchronise()
            previous = first
            for phase, event in self._graphed.marks:
                names.append(phase or DATA)  # the mark at the graph's start ends the copying-in of the batch
                laps.append(previous.elapsed_time(event) / 1e3)
                previous = event
            total += first.elapsed_time(previous if self._graphed.marks else last) / 1e3
            losses.append(self.last_loss())
        return Recording(
            steps=steps,
            host_seconds=(self._now() - start) / 1e9,
            device_seconds=total,
            names=names,
            host_laps=np.full(len(laps), np.nan),
            device_laps=np.array(laps),
            losses=losses,
        )

    def take_step(self) -> None:
        """One replay, untimed."""
        self._graphed(self._task, *self._task.next_batch())

    def last_loss(self) -> torch.Tensor | None:
        """A copy: the next replay overwrites the original."""
        return _copy(self._task.last_loss)


def _copy(loss: torch.Tensor | None) -> torch.Tensor | None:
    return None if loss is None else loss.clone()


def make_clock(task: Task, step: Step | Driver) -> HostClock:
    """The clock for the device that ``task`` is on: the one place that asks which device it is."""
    if isinstance(step, Driver):
        if isinstance(step, GraphedStep) and task.device.type == "cuda":
            return GraphClock(task, step)
        if isinstance(step, GraphedPhases) and task.device.type == "cuda":
            return GraphedPhasesClock(task, step)
        raise BadStep(
            f"no clock knows the phases of a {type(step).__name__} on {task.device.type}; a driver of your "
            "own must derive from GraphedStep or GraphedPhases, and needs a CUDA device"
        )
    clocks: dict[str, type[HostClock]] = {"cpu": HostClock, "cuda": CudaClock}
    return clocks.get(task.device.type, DeviceClock)(task, step)


def why_untimed(device: str) -> str | None:
    """Why events on ``device`` cannot be timed; None where they can. It touches the device."""
    try:
        first, last = (torch.Event(device=device, enable_timing=True) for _ in range(2))
        first.record()
        torch.zeros(1, device=device).add_(1)
        last.record()
        torch.accelerator.synchronize(device)
        first.elapsed_time(last)
    except Exception as error:  # a backend may refuse in whatever way it likes
        return " ".join(str(error).split()) or type(error).__name__
    return None


def refuse_unknown_phases(yielded: Sequence[str]) -> None:
    """Raise BadStep where what one step yields names a phase that does not exist, or none at all."""
    if unknown := [name for name in yielded if name not in PHASES]:
        raise BadStep(f"the step yields {unknown[0]!r}, which is no phase; the phases are {', '.join(PHASES)}")
    if not yielded:
        raise BadStep(f"the step yields no phase; it must yield each of {', '.join(PHASES[1:])} as it ends")


def _by_phase(names: Sequence[str], laps: Seconds, steps: int) -> tuple[tuple[str, ...], Seconds]:
    """Laps in order to (steps, phases), the turns of a phase that repeats within a step summed."""
    if not names:
        return (), np.empty((steps, 0))
    per_step, odd = divmod(len(names), steps)
    once = names[:per_step]
    if odd or list(names) != list(once) * steps:
        raise BadStep("the step yields different phases in different steps; it must name the same ones each time")
    refuse_unknown_phases(once[1:])
    phases = tuple(dict.fromkeys(once))
    table = laps.reshape(steps, per_step)
    columns = [table[:, [i for i, name in enumerate(once) if name == phase]].sum(axis=1) for phase in phases]
    return phases, np.stack(columns, axis=1)


def _read_losses(losses: Sequence[torch.Tensor | None]) -> Seconds:
    if any(loss is None for loss in losses):
        return np.empty(0)
    return np.array([float(loss) for loss in losses if loss is not None])
