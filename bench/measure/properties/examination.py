"""All properties of one loop, in a worker process: asked for one by one, so that what is known survives what is not."""

from dataclasses import dataclass

import torch

from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.properties import (
    descent,
    gradients,
    held,
    kept,
    loss,
    moves,
    phases,
    reach,
    runs,
    seeds,
    updates,
    waiting,
    work,
)
from loopmark.bench.measure.properties.recorder import STOPS
from loopmark.bench.measure.properties.step_trace import Subject
from loopmark.bench.measure.properties.trial import Stopped, within
from loopmark.bench.records.checks import Outcome, Property
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.errors import BadSpec, Skip
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.user_code import defined_at, described, forget

CHECKS = {
    module.PROPERTY: module.check
    for module in (
        phases, moves, updates, work, loss, reach, held, kept, gradients, runs, descent, waiting, seeds,
    )
}  # fmt: skip
"""Every property and the function that checks it: first what a few steps show, then what takes many, or fresh tasks."""
RUNS = runs.PROPERTY
PROPERTIES = {prop.name: prop for prop in CHECKS}


@dataclass(frozen=True)
class Checked:
    """What one check found: its outcome, and ``runs`` too where the step stopped meanwhile."""

    outcomes: tuple[Outcome, ...] = ()
    hangs: bool = False
    """Whether it was stopped at the limit of time; another check would be too."""
    bad_input: str | None = None
    """Why what was given is no loop, or no workload to try it on."""

    def add_to(self, outcomes: dict[str, Outcome]) -> None:
        """Put the outcomes among others, by name; what was found broken stays so."""
        for outcome in self.outcomes:
            if outcome.name not in outcomes or outcomes[outcome.name].status != "broken":
                outcomes[outcome.name] = outcome


def checked(subject: Subject, prop: Property) -> Checked:
    """Check one property of ``subject``. Raises Skip where its task is of the wrong kind."""
    try:
        return Checked((CHECKS[prop](subject),))
    except Stopped as end:
        why = prop.not_applicable(STOPS)
        stopped = runs.stopped(subject, end.fault)
        return Checked((stopped,) if prop is runs.PROPERTY else (stopped, why), end.fault.hangs)
    except BadStep as error:
        return Checked(bad_input=f"{defined_at(subject.trial.step)}: {error}")


class Examination:
    """Examines the loop of an assignment."""

    def __init__(self, assignment: Assignment) -> None:
        self._given = assignment
        self._device = torch.device(assignment.device)
        torch.set_num_threads(assignment.threads)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        self._subject = Subject(self._make_task, self._make_loop, assignment.seed)
        self._begun = False

    def check(self, name: str, seconds: float) -> Checked:
        """Check the property of that name, for at most so many seconds.

        Raises Skip where the machine or the workload is of the wrong kind.
        """
        try:
            if not self._begun and (refused := self._begin()):
                return refused
            with within(seconds):
                return checked(self._subject, PROPERTIES[name])
        except BadSpec as error:
            return Checked(bad_input=str(error))

    def _begin(self) -> Checked | None:
        """Make sure that eager can be trained on the workload: what cannot is no workload to verify a loop on."""
        this = self._given
        if reason := find_workload(this.workload).lacks() or find_loop(this.loop).lacks(self._device):
            raise Skip(reason)
        try:
            fault = self._subject.eagers_trace.fault
        except (Skip, BadSpec):
            raise
        except Exception as error:  # a person's own workload may raise whatever it likes
            return Checked(bad_input=f"cannot make the workload {this.workload}: {described(error)}")
        if fault:
            no_use = f"eager itself fails on the workload {this.workload}, so no loop can be tried on it"
            return Checked(bad_input=f"{no_use}: it {fault.text}")
        self._begun = True
        return None

    def _make_task(self, seed: int) -> Task:
        this = self._given
        return find_workload(this.workload).make(self._device, this.size, this.batch_size, seed)

    def _make_loop(self) -> Loop:
        forget(this := self._given.loop)
        return find_loop(this)
