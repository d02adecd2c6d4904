"""The checks of a loop's properties, in a worker process: one at a time, so that a failure keeps earlier results."""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch

from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.properties import step_checks, training_checks
from loopmark.bench.measure.properties.prepared_loop import Fault, Stopped, within
from loopmark.bench.measure.properties.step_trace import STOPS, LoopUnderTest, PropertyCheck
from loopmark.bench.records.checks import Outcome
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from loopmark.loops.user_code import BadSpec, defined_at, described, forget

PROPERTIES = {
    prop.name: prop
    for prop in (
        step_checks.phases_in_order,
        step_checks.only_optimizer_moves_parameters,
        step_checks.one_update,
        step_checks.work_in_its_phase,
        training_checks.scalar_loss,
        training_checks.loss_reaches_parameters,
        step_checks.no_yield_in_with,
        step_checks.batch_and_mode_kept,
        training_checks.zeroed_gradients,
        training_checks.runs,
        training_checks.loss_decreases,
        step_checks.no_hidden_synchronisation,
        training_checks.seed_decides,
    )
}
"""Every property: first those that need a few steps, then those that need many, or new tasks."""


@dataclass(frozen=True)
class Checked:
    """The outcome of one check, and of ``runs`` too if the step stopped during it."""

    outcomes: tuple[Outcome, ...] = ()
    hangs: bool = False  # True if every other check would end the same way, as at the time limit
    bad_input: str | None = None  # the reason why the given loop or workload cannot be used

    def add_to(self, outcomes: dict[str, Outcome]) -> None:
        """Add the outcomes to ``outcomes`` by name. A broken property stays broken."""
        for outcome in self.outcomes:
            if outcome.name not in outcomes or outcomes[outcome.name].status != "broken":
                outcomes[outcome.name] = outcome


def checked(loop: LoopUnderTest, prop: PropertyCheck) -> Checked:
    """Check one property of ``loop``. Raises Skip where the loop cannot run its task."""
    try:
        return Checked((prop.outcome(loop),))
    except Stopped as end:
        runs = training_checks.runs
        stopped = replace(runs, explain=partial(training_checks.explain_stop, fault=end.fault)).outcome(loop)
        others = () if prop is runs else (prop.not_applicable(STOPS),)
        return Checked((stopped, *others), end.fault.hangs)
    except BadStep as error:
        return Checked((step_checks.phases_in_order.broken(f"{defined_at(loop.prepared.step)}: {error}"),), hangs=True)


class Examination:
    """Examines the loop of an assignment."""

    def __init__(self, assignment: Assignment) -> None:
        self._given = assignment
        self._device = torch.device(assignment.device)
        self._loop = LoopUnderTest(self._make_task, self._make_loop, assignment.seed)

    def check(self, name: str, seconds: float) -> Checked:
        """Check the property ``name`` for at most ``seconds``.

        Raises Skip where the machine or the workload cannot be used.
        """
        try:
            if self._refusal:
                return Checked(bad_input=self._refusal)
            with within(seconds):
                return checked(self._loop, PROPERTIES[name])
        except BadSpec as error:
            return Checked(bad_input=str(error))

    @cached_property
    def _refusal(self) -> str | None:
        """The reason why no loop can be verified on the workload: eager itself cannot be trained on it; else None."""
        this = self._given
        if reason := find_workload(this.workload).lacks() or find_loop(this.loop).lacks(self._device):
            raise Skip(reason)
        own = self._make_loop()
        try:
            fault = self._loop.eagers_trace.fault
        except Skip:
            if own.is_canonical:
                raise
            fault = Fault("")
        except BadSpec:
            raise
        except Exception as error:  # a user's own workload may raise anything
            return f"cannot make the workload {this.workload}: {described(error)}"
        if fault and not own.is_canonical:
            self._loop = LoopUnderTest(self._make_task, self._make_loop, this.seed)
            self._loop.reference = Loop("the step itself", own.base)
        elif fault:
            return f"eager itself fails on the workload {this.workload}, so no loop can be tried on it: it {fault.text}"
        return None

    def _make_task(self, seed: int) -> Task:
        this = self._given
        return find_workload(this.workload).make(self._device, this.size, this.batch_size, seed)

    def _make_loop(self) -> Loop:
        forget(this := self._given.loop)
        return find_loop(this)
