"""The clock: runs a step and times it, whole or lap by lap, on the host's clock and the device's.

Laps share their boundaries. Each phase ends where the next begins, and each step begins where the last one ended,
so the phases of a block add up to the block. On a device, a lap is an event recorded into its stream: the host does
not wait for the device until the block is over.
"""

import math
import reprlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from loopmark.loops.task import Task
from loopmark.loops.technique import Step
from loopmark.phases import DATA, PHASES, YIELDED, listening

Seconds = NDArray[np.float64]


LONGEST_NAME = 40  # characters of a phase's name, which heads a column


class BadStep(Exception):  # noqa: N818 - it names the step
    """A step that yields no phase, or no name of one."""


@dataclass(frozen=True)
class Block:
    """Timed consecutive steps of one process. ``device_seconds`` is NaN where only the host's clock is read."""

    steps: int
    host_seconds: float
    device_seconds: float
    lead_in: int = field(default=0, kw_only=True)
    """Uncounted steps just before these. The clock starts without waiting for them to finish."""

    @property
    def seconds(self) -> float:
        """The device's seconds where a device was timed, else the host's."""
        return self.host_seconds if math.isnan(self.device_seconds) else self.device_seconds


@dataclass(frozen=True)
class LappedBlock(Block):
    """A block with its phases. ``host`` and ``device``: seconds, (lead_in + steps, phases), NaN where not measured."""

    phases: tuple[str, ...]
    host: Seconds
    device: Seconds
    losses: Seconds  # (lead_in + steps,), or empty where a step leaves none in ``Task.last_loss``


@dataclass(frozen=True)
class Recording(Block):
    """The raw laps of a block.

    ``block`` computes the table after the turn: arithmetic between two blocks changes the caches and slows the next
    block. Computing it at once was seen to add a bias of 0.5 %.
    """

    names: list[str]
    starts: list[int]  # the number of each step's first lap
    host_laps: Seconds | list[int]  # seconds a lap, or the stamps between the laps, in nanoseconds
    device_laps: Seconds | None
    losses: list[torch.Tensor | None]

    def block(self) -> LappedBlock:
        """The laps by step and phase. Raises BadStep for a step that yields no phase, or no name."""
        laps = np.diff(self.host_laps) / 1e9 if isinstance(self.host_laps, list) else self.host_laps
        absent = np.full(len(self.names), np.nan)
        phases, host = self._by_phase(laps)
        _, device = self._by_phase(absent if self.device_laps is None else self.device_laps)
        losses = np.array([float(loss) for loss in self.losses if loss is not None])
        if len(losses) < len(self.losses):
            losses = np.empty(0)
        times = self.steps, self.host_seconds, self.device_seconds
        return LappedBlock(*times, phases, host, device, losses, lead_in=self.lead_in)

    def _by_phase(self, laps: Seconds) -> tuple[tuple[str, ...], Seconds]:
        """Laps in order to (lead_in + steps, phases). A phase is summed in each step, and 0 in a step without it."""
        if not self.names:
            return (), np.empty((self.lead_in + self.steps, 0))
        ends = [*self.starts[1:], len(self.names)]
        yielded = [tuple(self.names[first + 1 : end]) for first, end in zip(self.starts, ends, strict=True)]
        steps = {names: (DATA, *known_phases(names)) for names in dict.fromkeys(yielded)}
        phases = tuple(dict.fromkeys(name for step in steps.values() for name in step))
        columns = {names: [phases.index(name) for name in step] for names, step in steps.items()}
        table = np.zeros((len(yielded), len(phases)))
        rows = np.repeat(np.arange(len(yielded)), [len(names) + 1 for names in yielded])
        np.add.at(table, (rows, np.concatenate([columns[names] for names in yielded])), laps)
        return phases, table


class HostClock:
    """Times a step whose work is finished when its calls return."""

    waits_to_read = False  # True if reading a number from a tensor makes the host wait for the device
    laps_count = True  # True if a lapped block measures a step's time as well as a plain one
    lead_in = 0  # uncounted steps before a block, so that the device is busy when the block begins

    def __init__(self, task: Task, step: Step, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self._task, self._step, self._now = task, step, now
        self._stamps: list[int] = []

    def plain(self, steps: int, lead_in: int = 0) -> Block:
        """Time ``steps`` steps without laps, after ``lead_in`` uncounted ones."""
        self._begin(steps)
        for _ in range(lead_in):
            self.take_step()
        start = self._now()
        for _ in range(steps):
            self.take_step()
        return Block(steps, (self._now() - start) / 1e9, math.nan, lead_in=lead_in)

    def lapped(self, steps: int, lead_in: int = 0) -> Recording:
        """Time ``steps`` steps with a lap at each phase's end. Work after the last yield belongs to the last phase.

        The laps of the ``lead_in`` steps before them are kept too, but enter no sum.
        """
        self._begin(lead_in + steps)
        task, step, mark = self._task, self._step, self._mark
        names: list[str] = []
        starts: list[int] = []
        losses = []

        def lap(phase: str) -> None:
            mark()
            names.append(phase)

        mark()
        with listening(lap):
            for _ in range(lead_in + steps):
                starts.append(len(names))
                inputs, targets = task.next_batch()
                lap(DATA)
                for phase in step(task, inputs, targets):
                    mark()
                    names.append(phase)
                losses.append(self.last_loss())
                self._mark_again()
        device = self._device_laps()
        first = starts[lead_in]
        host_seconds = (self._stamps[-1] - self._stamps[first]) / 1e9
        device_seconds = math.nan if device is None else float(device[first:].sum())
        times = host_seconds, device_seconds
        return Recording(steps, *times, names, starts, self._stamps, device, losses, lead_in=lead_in)

    def synchronise(self) -> None:
        """Wait until all queued work is done."""

    def take_step(self) -> None:
        deque(self._step(self._task, *self._task.next_batch()), maxlen=0)

    def last_loss(self) -> torch.Tensor | None:
        """The loss of the last step. No later step changes this tensor."""
        return self._task.last_loss

    def _begin(self, steps: int) -> None:  # noqa: ARG002 - the device clocks need it
        self._stamps = []

    def _mark(self) -> None:
        self._stamps.append(self._now())

    def _mark_again(self) -> None:
        self._stamps[-1] = self._now()

    def _device_laps(self) -> Seconds | None:
        return None


def known_phases(yielded: Sequence[str]) -> tuple[str, ...]:
    """The phases that one step yields, as plain ``str``: the parent process cannot unpickle the user's own types.

    Raises BadStep for something other than a name, and where there is none.
    """
    for name in yielded:
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise BadStep(
                f"the step yields {reprlib.repr(name)}, which is no phase; yield a name of at most {LONGEST_NAME} "
                f"printable characters, such as {', '.join(YIELDED[:3])} or one of your own"
            )
    if not yielded:
        raise BadStep(f"the step yields no phase; it must yield each of {', '.join(YIELDED)} as it ends")
    return tuple(PHASES[PHASES.index(name)] if name in PHASES else str.__str__(name) for name in yielded)
