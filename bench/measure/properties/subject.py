"""A loop that is examined: fresh tasks for it, and what was seen of its first steps."""

from collections.abc import Callable
from functools import cached_property

from loopmark.bench.measure.properties.fault import Fault
from loopmark.bench.measure.properties.snapshot import parameters_of, same
from loopmark.bench.measure.properties.trace import Trace, watch
from loopmark.bench.measure.properties.trial import Trial
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Task

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
