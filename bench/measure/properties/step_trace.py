"""A loop under test, and the traces of its first steps: the events and changes up to each yield."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from types import FrameType, GeneratorType
from typing import Any, TypeVar

import torch
from torch import Tensor

from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.properties.prepared_loop import (
    Fault,
    Modes,
    PreparedLoop,
    Stopped,
    held_yields_of,
    number_of,
    parameters_of,
    same,
    same_bits,
)
from loopmark.bench.measure.properties.recorder import (
    CLOSURE,
    Event,
    Recorder,
    Root,
    graded,
    hidden_waits,
    names_of,
    operations_so_far,
    place_in,
)
from loopmark.bench.records.checks import Outcome, Property
from loopmark.loops.batch import tensors_in
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Task
from loopmark.loops.user_code import place_among
from loopmark.phases import REST

T = TypeVar("T")

MOST_YIELDS = 10_000  # most yields of a step; a batch in thousands of parts has this many
WHOLE = "the step is an ordinary function, which is timed whole: yield each phase as it ends to have it checked"
CLOSURE_RUNS = "its optimizer is given a closure, which computes the loss and the gradients within `optimizer`"
ACCUMULATES = "the step sums the gradients of several batches, and updates only in some steps"
STOPS = "the step does not come to its end"  # the reason why a property cannot be checked


def listed(names: Iterable[str], shown: int = 3) -> str:
    """The first few names, and the number of further ones."""
    all_names = list(names)
    more = len(all_names) - shown
    return ", ".join(all_names[:shown]) + (f" and {more} more" if more > 0 else "")


def places(found: Sequence[str]) -> str:
    return listed(dict.fromkeys(found))


@dataclass(frozen=True)
class Lap:
    """The events and changes of a step up to one yield, or after the last one."""

    phase: str  # as it was yielded, at `place`; "" after the last yield
    place: str
    events: tuple[Event, ...]
    moved: tuple[str, ...]  # parameters that changed
    graded: frozenset[str]  # parameters with a nonzero gradient at the end
    regraded: frozenset[str]  # parameters whose gradient changed
    operations: int  # the sequence number that torch gives the next operation
    left_on: tuple[str, ...]

    @property
    def where(self) -> str:
        """The place of its end, in brackets; empty after the last yield."""
        return f" (before the yield at {self.place})" if self.place else ""


@dataclass(frozen=True)
class StepTrace:
    """One step. Its last lap is the code after the last yield, unless the step stopped earlier."""

    laps: tuple[Lap, ...]
    loss: Any  # the value in `Task.last_loss`
    loss_value: float | None
    roots: tuple[Root, ...]
    graded_at_update: frozenset[str]
    fault: Fault | None
    held_yields: tuple[str, ...]  # where a generator that it runs yields inside a `with`
    changed_batch: tuple[str, ...]  # which of inputs and targets it changed
    changed_modes: tuple[str, ...]  # modules left in another training mode; "" is the whole model

    @property
    def phases(self) -> tuple[str, ...]:
        return tuple(lap.phase for lap in self.laps[:-1])

    @property
    def has_closure(self) -> bool:
        """True if an optimizer computes the gradients by itself, so that the whole step lies in its update."""
        updates = [lap for lap in self.laps if any(e.what == "update" and e.detail == CLOSURE for e in lap.events)]
        others = [lap for lap in self.laps if lap not in updates]
        return bool(updates) and not any(event.what == "backward" for lap in others for event in lap.events)

    @property
    def is_whole(self) -> bool:
        """True if an ordinary function took the step, whose parts end between yields."""
        return self.phases == (REST,)

    @property
    def ended(self) -> tuple[Lap, ...]:
        """The laps that ended."""
        return self.laps[:-1] if self.fault else self.laps

    @property
    def events(self) -> Iterator[tuple[str, Event]]:
        """All events, each with the phase that it belongs to."""
        return ((lap.phase, event) for lap in self.laps for event in lap.events)

    @property
    def graded(self) -> frozenset[str]:
        """The parameters that had a nonzero gradient at any time."""
        return self.graded_at_update.union(*(lap.graded for lap in self.laps))


class _Watched:
    """A task's state at the last lap."""

    def __init__(self, task: Task, recorder: Recorder) -> None:
        self._task, self._recorder, self._modes = task, recorder, Modes.now(task.device.type)
        self._names, self._parameters, self._gradients = names_of(task), parameters_of(task), self._gradients_now()

    def lap(self, phase: str, place: str) -> Lap:
        """The changes since the last lap. Raises Stopped where parameters were added or removed."""
        if self._names != (now := names_of(self._task)):
            other = sorted({*self._names} ^ {*now})
            raise Stopped(Fault(f"adds or removes parameters of the model: {', '.join(other[:3])}"))
        with torch.no_grad():
            parameters, gradients = parameters_of(self._task), self._gradients_now()
            moved = self._differing(parameters, self._parameters, same_bits)
            regraded = self._differing(gradients, self._gradients, _same_gradient)
        self._parameters, self._gradients = parameters, gradients
        events, self._recorder.events = tuple(self._recorder.events), []
        return Lap(
            phase=phase,
            place=place,
            events=events,
            moved=moved,
            graded=frozenset(graded(self._task)),
            regraded=frozenset(regraded),
            operations=operations_so_far(),
            left_on=Modes.now(self._task.device.type).left_on(self._modes),
        )

    def _differing(self, now: list[T], before: list[T], alike: Callable[[T, T], bool]) -> tuple[str, ...]:
        return tuple(n for n, a, b in zip(self._names, now, before, strict=True) if not alike(a, b))

    def _gradients_now(self) -> list[Tensor | None]:
        return [None if p.grad is None else p.grad.detach().to_dense().clone() for p in self._task.model.parameters()]


def watch(prepared: PreparedLoop, *, for_waits: bool = False) -> StepTrace:
    """Take one step of the generator, and record the task's state at each yield and any error of the step.

    Raises BadStep where the step is no generator.

    Args:
        for_waits: True to look for hidden waits for the device. Every operation is then intercepted.
    """
    task, recorder = prepared.task, prepared.recorder
    batch = task.next_batch()
    copies = [[tensor.clone() for tensor in tensors_in(part)] for part in batch]
    modes = {name: module.training for name, module in task.model.named_modules()}
    watched = _Watched(task, recorder)
    note_wait = partial(recorder.note, "wait")
    waits = hidden_waits(task.device, note_wait, watch.__code__, batch) if for_waits else nullcontext()
    task.last_loss = None
    recorder.events, recorder.roots, recorder.graded = [], [], set()
    laps: list[Lap] = []
    held: list[str] = []
    fault: Fault | None = None
    try:
        # If the step stops, the last lap is the code after the last yield.
        with prepared.guarded(watch.__code__, lambda: laps[-2].phase if laps[1:] else ""), waits:
            step = prepared.step(task, *batch)
            if not isinstance(step, Iterator):
                returned = type(step).__name__
                raise BadStep(f"the step returns a {returned}; it must be a generator that yields its phases")
            try:
                recorder.on = True
                for phase in step:
                    recorder.on = False
                    if len(laps) == MOST_YIELDS:
                        raise Stopped(Fault(f"never ends: it yields more than {MOST_YIELDS} phases in one step"))
                    place, held_here = _place_of_yield(step)
                    held += held_here
                    laps.append(watched.lap(phase, place))
                    recorder.on = True
            finally:
                recorder.on = False
                laps.append(watched.lap("", ""))
    except Stopped as stopped:
        fault = stopped.fault
    parts = zip(("inputs", "targets"), batch, copies, strict=True)
    return StepTrace(
        laps=tuple(laps),
        loss=task.last_loss,
        loss_value=number_of(task.last_loss),
        roots=tuple(recorder.roots),
        graded_at_update=frozenset(recorder.graded),
        fault=fault,
        held_yields=tuple(dict.fromkeys(held)),
        changed_batch=tuple(n for n, part, copy in parts if not same(tensors_in(part), copy)),
        changed_modes=tuple(n for n, m in task.model.named_modules() if modes.get(n, m.training) != m.training),
    )


def _place_of_yield(step: Any) -> tuple[str, list[str]]:
    """The place of ``step``'s current yield, and the yields inside a ``with`` in its waiting generators."""
    frames: list[FrameType] = []
    while isinstance(step, GeneratorType) and step.gi_frame is not None:  # follows `yield from`
        frames.append(step.gi_frame)
        step = step.gi_yieldfrom
    codes = [frame.f_code for frame in frames]
    return place_in(frames), [place_among([(c.co_filename, line)]) for c in codes for line in held_yields_of(c)]


def _same_gradient(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b or not any(bool(g.any()) for g in (a, b) if g is not None)  # a missing gradient counts as zero
    return same_bits(a, b)


WATCHED_STEPS = 12  # more than one, since a loop's steps may differ
COURSE_STEPS = 12  # steps on one batch, to see the loss fall


class LoopUnderTest:
    """A loop under examination. ``make_loop`` creates it anew, so that its counters start again."""

    def __init__(self, make_task: Callable[[int], Task], make_loop: Callable[[], Loop], seed: int = 0) -> None:
        self.make_task, self.make_loop, self.seed = make_task, make_loop, seed
        self.reference = EAGER  # the step of the loop itself, where eager cannot run the task

    def fresh(self, seed: int | None = None) -> PreparedLoop:
        return PreparedLoop.begin(self.make_task, self.make_loop(), self.seed if seed is None else seed)

    def eager(self, seed: int | None = None) -> PreparedLoop:
        return PreparedLoop.begin(self.make_task, self.reference, self.seed if seed is None else seed)

    @cached_property
    def prepared(self) -> PreparedLoop:
        return self.fresh()

    @cached_property
    def traces(self) -> tuple[StepTrace, ...]:
        """The traces of its first steps, up to the first one that stops early."""
        found: list[StepTrace] = []
        while len(found) < WATCHED_STEPS and not (found and found[-1].fault):
            found.append(watch(self.prepared))
        return tuple(found)

    @cached_property
    def eagers_trace(self) -> StepTrace:
        """Eager's first step, from the same weights and on the same batch."""
        return watch(self.eager())

    @cached_property
    def course(self) -> tuple["Course", "Course"]:
        """The loop's and eager's losses in repeated steps on one batch, from the same weights, with another seed."""
        other = self.seed + 1 if self.seed < 2**62 else 0
        return losses_on_one_batch(self.fresh(other)), losses_on_one_batch(self.eager(other))

    @property
    def accumulates(self) -> bool:
        """True if only some of its steps update the model: it sums gradients over several batches."""
        return len({any(event.what == "update" for _, event in t.events) for t in self.traces if not t.fault}) > 1

    @property
    def fault(self) -> Fault | None:
        """The reason why its first steps did not all end; None if they did."""
        return self.traces[-1].fault


@dataclass(frozen=True)
class Course:
    """The losses of a new loop's first steps on its first batch, and its learning rates during them."""

    losses: list[float]  # empty where a step leaves no loss
    rates: set[float]


def losses_on_one_batch(prepared: PreparedLoop) -> Course:
    """The course of a new loop.

    A step in which no parameter moves (skipped by a gradient scaler) does not count; at most ``COURSE_STEPS`` more.
    """
    batch, losses, moved, rates = prepared.task.next_batch(), list[float](), 0, set[float]()
    while moved < COURSE_STEPS and len(losses) < 2 * COURSE_STEPS:
        before = parameters_of(prepared.task)
        loss = prepared.loss(batch)
        if loss is None:
            return Course([], rates)
        rates |= {float(group["lr"]) for group in prepared.task.optimizer.param_groups if "lr" in group}
        moved += not same(before, parameters_of(prepared.task))
        losses.append(loss)
    return Course(losses, rates)


class NotApplicable(Exception):  # noqa: N818 - no error
    """A property cannot be checked for this loop, or does not apply to it; the text is the reason."""


Explain = Callable[[LoopUnderTest], str | None]
"""Returns the fault by which a loop breaks a property, and the remedy; None without a fault."""


@dataclass(frozen=True)
class PropertyCheck(Property):
    """A property, and the function that explains how a loop breaks it."""

    explain: Explain

    def outcome(self, loop: LoopUnderTest) -> Outcome:
        """The outcome for ``loop``. Raises Stopped, BadStep or Skip as its steps do."""
        try:
            explanation = self.explain(loop)
        except NotApplicable as reason:
            return self.not_applicable(str(reason))
        if explanation:
            return self.broken(explanation)
        return self.not_applicable(STOPS) if loop.traces[0].fault else self.holds()


def property_check(explain: Explain) -> PropertyCheck:
    """Make a function the check of a property. Its name gives the property's name, its docstring the statement."""
    statement = " ".join((explain.__doc__ or "").split())
    return PropertyCheck(explain.__name__.replace("_", "-"), statement, explain)
