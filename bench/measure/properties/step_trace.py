"""One step, watched: what it did up to each yield."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.properties.recorder import (
    Event,
    Recorder,
    Root,
    frames_of_yield,
    graded,
    hidden_waits,
    names_of,
    operations_so_far,
    place_of_yield,
)
from loopmark.bench.measure.properties.trial import (
    Fault,
    Modes,
    Stopped,
    Trial,
    held_yields_of,
    number_of,
    parameters_of,
    same,
    same_bits,
)
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Batch, Task
from loopmark.loops.user_code import place_among

MOST_YIELDS = 10_000
"""Of one step that still counts as one; a batch in thousands of parts has as many."""
NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Lap:
    """What a step did up to one yield, or after the last one."""

    phase: str
    """As it was yielded; "" after the last yield."""
    place: str
    """Where it was yielded."""
    events: tuple[Event, ...] = ()
    moved: tuple[str, ...] = ()
    """Names of parameters that changed."""
    graded: frozenset[str] = NONE
    """Names of parameters with a gradient, other than zero, at the end."""
    regraded: frozenset[str] = NONE
    """Names of parameters whose gradient is another than at the beginning."""
    operations: int = 0
    """The sequence number that torch gives the next operation."""
    left_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """One step. Its last lap is what came after the last yield, unless it stopped before."""

    laps: tuple[Lap, ...]
    loss: Any = None
    """What it left in ``Task.last_loss``."""
    loss_value: float | None = None
    roots: tuple[Root, ...] = ()
    graded_at_update: frozenset[str] = NONE
    fault: Fault | None = None
    held_yields: tuple[str, ...] = ()
    """Where a generator that it runs yields inside a ``with``."""
    changed_batch: tuple[str, ...] = ()
    """Which of inputs and targets it changed."""
    changed_modes: tuple[str, ...] = ()
    """Names of modules that it has left in another mode, training or not; "" is the whole model."""

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in order, as they were yielded."""
        return tuple(lap.phase for lap in self.laps[:-1])

    @property
    def ended(self) -> tuple[Lap, ...]:
        """The laps that came to their end."""
        return self.laps[:-1] if self.fault else self.laps

    @property
    def events(self) -> Iterator[tuple[str, Event]]:
        """All events, each with the phase that it belongs to."""
        return ((lap.phase, event) for lap in self.laps for event in lap.events)

    @property
    def graded(self) -> frozenset[str]:
        """Names of the parameters that had a gradient at any time."""
        return self.graded_at_update.union(*(lap.graded for lap in self.laps))


@dataclass
class _Watched:
    """A task as it is between two laps."""

    task: Task
    recorder: Recorder
    modes: Modes
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = names_of(self.task)
        self._parameters, self._gradients = parameters_of(self.task), self._gradients_now()

    def lap(self, phase: str, place: str) -> Lap:
        """What has changed since the lap before. Raises Stopped where the model has other parameters than it had."""
        if self.names != (now := names_of(self.task)):
            other = sorted({*self.names} ^ {*now})
            raise Stopped(Fault(f"gives the model other parameters than it had: {', '.join(other[:3])}"))
        with torch.no_grad():
            parameters, gradients = parameters_of(self.task), self._gradients_now()
            moved = [n for n, a, b in zip(self.names, parameters, self._parameters, strict=True) if not same_bits(a, b)]
            regraded = [
                n for n, a, b in zip(self.names, gradients, self._gradients, strict=True) if not _same_gradient(a, b)
            ]
        self._parameters, self._gradients = parameters, gradients
        events, self.recorder.events = tuple(self.recorder.events), []
        return Lap(
            phase=phase,
            place=place,
            events=events,
            moved=tuple(moved),
            graded=frozenset(graded(self.task)),
            regraded=frozenset(regraded),
            operations=operations_so_far(),
            left_on=Modes.now(self.task.device.type).left_on(self.modes),
        )

    def _gradients_now(self) -> list[Tensor | None]:
        return [None if p.grad is None else p.grad.detach().to_dense().clone() for p in self.task.model.parameters()]


def watch(trial: Trial, batch: Batch | None = None, *, for_waits: bool = False) -> Trace:
    """Take one step of the generator and look at the task at each yield; whatever the step raises is in the trace.

    Raises BadStep where the step is no generator.

    Args:
        batch: what to train on; the task's next one by default.
        for_waits: whether to look for what hides a wait for the device, which every operation then passes through.
    """
    task, recorder = trial.task, trial.recorder
    inputs, targets = batch = batch if batch is not None else task.next_batch()
    copies = [part.clone() if isinstance(part, Tensor) else None for part in (inputs, targets)]
    modes = {name: module.training for name, module in task.model.named_modules()}
    watched = _Watched(task, recorder, Modes.now(task.device.type))
    task.last_loss = None
    recorder.events, recorder.roots, recorder.graded = [], [], set()
    laps: list[Lap] = []
    held: list[str] = []
    fault: Fault | None = None
    try:
        with ExitStack() as stack:
            # Of a step that stops, the last lap is what came after the last yield.
            stack.enter_context(trial.guarded(watch.__code__, lambda: laps[-2].phase if laps[1:] else ""))
            if for_waits:
                stack.enter_context(hidden_waits(task.device, partial(recorder.note, "wait"), watch.__code__, batch))
            step = _begun(trial.step(task, inputs, targets))
            try:
                while True:
                    recorder.on = True
                    phase = next(step, _END)
                    recorder.on = False
                    if phase is _END:
                        break
                    _refuse_endless(laps)
                    held.extend(_held(step))
                    laps.append(watched.lap(phase, place_of_yield(step)))
            finally:
                recorder.on = False
                laps.append(watched.lap("", ""))
    except Stopped as stopped:
        fault = stopped.fault
    parts = zip(("inputs", "targets"), (inputs, targets), copies, strict=True)
    return Trace(
        laps=tuple(laps),
        loss=task.last_loss,
        loss_value=number_of(task.last_loss),
        roots=tuple(recorder.roots),
        graded_at_update=frozenset(recorder.graded),
        fault=fault,
        held_yields=tuple(dict.fromkeys(held)),
        changed_batch=tuple(n for n, part, copy in parts if copy is not None and not same_bits(part, copy)),
        changed_modes=tuple(n for n, m in task.model.named_modules() if modes.get(n, m.training) != m.training),
    )


_END: Any = object()


def _begun(step: Any) -> Iterator[str]:
    if not isinstance(step, Iterator):
        raise BadStep(f"the step returns a {type(step).__name__}; it must be a generator that yields its phases")
    return step


def _refuse_endless(laps: list[Lap]) -> None:
    if len(laps) == MOST_YIELDS:
        raise Stopped(Fault(f"never ends: it yields more than {MOST_YIELDS} phases in one step"))


def _held(step: Any) -> Iterator[str]:
    for frame in frames_of_yield(step):
        code = frame.f_code
        yield from (place_among([(code.co_filename, line)]) for line in held_yields_of(code))


def _same_gradient(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b or not any(bool(g.any()) for g in (a, b) if g is not None)  # none at all is zero too
    return same_bits(a, b)


WATCHED_STEPS = 12
"""More than one, since a loop may do some steps otherwise than others."""
COURSE_STEPS = 12
"""On one batch, to see the loss fall."""


class Subject:
    """A loop under examination.

    Args:
        make_task: a fresh task for a seed.
        make_loop: the loop, as if for the first time: what it counts by itself begins anew.
        seed: of the tasks.
    """

    def __init__(self, make_task: Callable[[int], Task], make_loop: Callable[[], Loop], seed: int = 0) -> None:
        self.make_task, self.make_loop, self.seed = make_task, make_loop, seed

    def fresh(self, seed: int | None = None) -> Trial:
        """The loop with a task of its own."""
        return Trial.begin(self.make_task, self.make_loop(), self.seed if seed is None else seed)

    def eager(self, seed: int | None = None) -> Trial:
        """The canonical loop with such a task."""
        return Trial.begin(self.make_task, EAGER, self.seed if seed is None else seed)

    @cached_property
    def trial(self) -> Trial:
        """The one that is watched."""
        return self.fresh()

    @cached_property
    def traces(self) -> tuple[Trace, ...]:
        """Its first steps, up to one that stops before its end."""
        found: list[Trace] = []
        while len(found) < WATCHED_STEPS and not (found and found[-1].fault):
            found.append(watch(self.trial))
        return tuple(found)

    @cached_property
    def eagers_trace(self) -> Trace:
        """Eager's first step, from the same weights and on the same batch."""
        return watch(self.eager())

    @cached_property
    def course(self) -> tuple[list[float], list[float]]:
        """Losses on one batch again and again, the loop's and eager's, from the same weights, of another seed.

        There are none where the loop leaves no loss.
        """
        other = self.seed + 1 if self.seed < 2**62 else 0
        return losses_on_one_batch(self.fresh(other)), losses_on_one_batch(self.eager(other))

    @property
    def fault(self) -> Fault | None:
        """Why its first steps did not all come to their end."""
        return self.traces[-1].fault


def losses_on_one_batch(trial: Trial) -> list[float]:
    """The losses of a fresh trial's first steps on its first batch; none where it leaves none.

    A step in which nothing moves (a gradient scaler has skipped it) does not count, up to as many again.
    """
    batch, losses, moved = trial.task.next_batch(), list[float](), 0
    while moved < COURSE_STEPS and len(losses) < 2 * COURSE_STEPS:
        before = parameters_of(trial.task)
        loss = trial.loss(batch)
        if loss is None:
            return []
        moved += not same(before, parameters_of(trial.task))
        losses.append(loss)
    return losses
