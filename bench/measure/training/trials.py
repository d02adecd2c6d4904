"""One workload trained from one seed: every loop in a process of its own, a leg at a time, in random order."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.answers import Ready
from loopmark.bench.measure.conduct import Progress
from loopmark.bench.measure.crew import Crew
from loopmark.bench.measure.process import CaseEnded, WorkerProcess
from loopmark.bench.measure.schedule import Schedule
from loopmark.bench.measure.training.course import Begun
from loopmark.bench.measure.training.notebook import Notebook
from loopmark.bench.measure.training.stopping import Stopping, Watch
from loopmark.bench.measure.training.terms import Terms
from loopmark.bench.records.run import Status
from loopmark.bench.records.training import Target, Trial

LEG_STEPS = 50
"""Quality is measured after each epoch, and within a longer one at least this often."""
ONE_BY_ONE = 5
"""First steps that are timed each to its end: they compile, and a CUDA graph is captured in the fourth."""
NEVER_REACHED = "training was interrupted before this case"

Key = tuple[str, str]
"""Workload and loop."""
Endings = Mapping[Key, tuple[Status, str]]
"""The cases that are not trained, each with what became of it and why."""


@dataclass
class _Live:
    """A trial under way."""

    index: int
    process: WorkerProcess
    stopping: Stopping
    watch: Watch
    legs: Iterator[int]
    seconds: float = 0.0
    joules: float = 0.0


class Trials:
    """The trials of one workload and seed."""

    def __init__(self, workload: str, seed: int, terms: Terms, crew: Crew, notebook: Notebook) -> None:
        self._workload, self._seed, self._terms = workload, seed, terms
        self._crew, self._notebook = crew, notebook
        self._limit = crew.limit_seconds
        self._live: list[_Live] = []
        self._running: list[_Live] = []
        """Those of ``_live`` that are not at their end."""
        self._put_off: list[int] = []
        """Trials that ran out of device memory beside others, and come when these have ended."""

    def train(
        self, loops: tuple[str, ...], endings: dict[Key, tuple[Status, str]], schedule: Schedule, progress: Progress
    ) -> None:
        """Train every loop to its end.

        Args:
            endings: the cases that are not trained; those that fail now are added, since they would with any seed.
            progress: told which loop is at which step, and how much of its budget is spent.

        Raises:
            BadInput: a step that is none, or, where the terms insist, a workload that states no target.
            KeyboardInterrupt: what was trained until then is in the notebook.
        """
        self._endings, first = endings, len(self._notebook.trials)
        self._notebook.trials += [self._trial(loop, endings) for loop in loops]
        indices = range(first, len(self._notebook.trials))
        try:
            for index in schedule.shuffled(indices):
                self._start(index)
            while self._running or self._put_off:
                if not self._running:
                    self._start(self._put_off.pop(0))
                for one in schedule.shuffled(self._running):
                    trial = self._notebook.trials[one.index]
                    # Of the loop that has trained the longest, so that it never goes back.
                    spent = min(1.0, max(each.seconds for each in self._live) / self._terms.budget_seconds)
                    progress.tell(f"{trial.loop} · training, seed {self._seed} · step {trial.steps:,}", spent, None)
                    if not self._go_on(one):
                        self._running.remove(one)
                        one.process.close()  # at once: the others may need its memory
        except KeyboardInterrupt:
            self._interrupt(indices)
            raise
        finally:
            for one in self._live:
                one.process.close()

    def _trial(self, loop: str, endings: Endings) -> Trial:
        trial = Trial(workload=self._workload, loop=loop, seed=self._seed, status="ok", reason=None)
        ending = endings.get(trial.key)
        return replace(trial, status=ending[0], reason=ending[1]) if ending else trial

    def _start(self, index: int) -> None:
        """A process for the trial, unless it has ended already or does so now."""
        trial = self._notebook.trials[index]
        if trial.status != "ok":
            return
        process = self._crew.start(
            trial.workload, trial.loop, log=f"training-{index}", neighbours=len(self._running), seed=trial.seed
        )
        try:
            ready, begun = begin(process, self._limit)
            target = expect_target(trial.workload, begun, self._terms, self._notebook)
        except CaseEnded as end:
            process.close()
            self._give_up(index, end, others=len(self._running))
            return
        except BaseException:
            process.kill()
            raise
        if target is None:
            process.close()
            reason = f"{trial.workload} states no target, so there is nothing to train for"
            self._notebook.trials[index] = replace(trial, status="skipped", reason=reason)
            return
        untrained = float("nan") if begun.quality is None else begun.quality
        self._notebook.trials[index] = replace(
            trial, setup_seconds=ready.seconds, steps_per_epoch=begun.steps_per_epoch
        )
        if trial.setup_seconds is None:  # else it was put off, and this is known
            self._notebook.add_evaluation(index, 0, 0.0, 0.0, untrained)
        stopping = Stopping(target, self._terms.until, self._terms.budget_seconds, untrained)
        one = _Live(index, process, stopping, Watch(), legs(begun.steps_per_epoch))
        self._live.append(one)
        self._running.append(one)

    def _go_on(self, one: _Live) -> bool:
        """Train one trial a leg further; whether it goes on after that."""
        trial = self._notebook.trials[one.index]
        first_steps = ONE_BY_ONE - len(trial.first_steps_seconds)
        try:
            leg = one.process.within(self._limit).train(steps=next(one.legs), one_by_one=first_steps)
        except CaseEnded as end:
            self._give_up(one.index, end, others=len(self._running) - 1)
            return False
        self._notebook.add_losses(one.index, trial.steps, leg.losses)
        one.seconds += leg.seconds
        one.joules += leg.joules
        trial = replace(
            trial,
            first_steps_seconds=(*trial.first_steps_seconds, *leg.first_steps_seconds),
            compile_seconds=leg.compile_seconds,
            compile_cache=leg.compile_cache,
            steps=trial.steps + len(leg.losses),
            skipped_steps=leg.skipped_steps,
            final_scale=leg.final_scale,
        )
        self._notebook.add_evaluation(one.index, trial.steps, one.seconds, one.joules, leg.quality)
        astray = one.watch.hear(leg.losses)
        # The first steps compile, which is no part of what the budget is for.
        ending = one.stopping.hear(trial.steps, one.seconds - sum(trial.first_steps_seconds), leg.quality)
        if astray:
            trial = replace(trial, ending="diverged", diverged_at_step=astray.step, divergence=astray.how)
        elif ending:
            trial = replace(trial, ending=ending, converged_at_step=one.stopping.converged_at_step)
        self._notebook.trials[one.index] = trial
        return trial.ending is None

    def _give_up(self, index: int, end: CaseEnded, others: int) -> None:
        """End a trial; put it off instead where it ran out of device memory beside ``others`` before its first step."""
        if others and end.ran_out_of == "device memory" and not self._notebook.trials[index].steps:
            self._put_off.append(index)
            return
        refuse_bad_step(end, self._terms)
        trial = self._notebook.trials[index]
        ended = replace(trial, status=cast(Status, end.status), reason=end.reason)
        self._notebook.trials[index] = ended
        self._endings[trial.key] = ended.status, end.reason

    def _interrupt(self, indices: range) -> None:
        for index in indices:
            trial = self._notebook.trials[index]
            if trial.status == "ok" and trial.ending is None:
                never = replace(trial, status="skipped", reason=NEVER_REACHED)
                self._notebook.trials[index] = replace(trial, ending="was interrupted") if trial.steps else never


def begin(process: WorkerProcess, limit_seconds: float) -> tuple[Ready, Begun]:
    """Have a process make its task and get ready to train it. Raises CaseEnded where it cannot."""
    ready = process.within(limit_seconds).set_up(with_hash=False)
    return ready, process.within(limit_seconds).begin_course()


def expect_target(workload: str, begun: Begun, terms: Terms, notebook: Notebook) -> Target | None:
    """The workload's target, noted; None where it has none and need not. Raises BadInput where it must."""
    if begun.target is not None:
        notebook.targets.setdefault(workload, begun.target)
    elif terms.insists:
        raise BadInput(f"{workload} states no target; give its Task a goal=Goal(metric, target, measure)")
    return begun.target


def refuse_bad_step(end: CaseEnded, terms: Terms) -> None:
    """Raise BadInput where a case ended because its step is none and the terms insist: that is a mistake, no result."""
    if end.bad_step and terms.insists:
        raise BadInput(end.reason) from None


def legs(steps_per_epoch: int | None) -> Iterator[int]:
    """How many steps each leg has, without end: an epoch, or even parts of one longer than ``LEG_STEPS``."""
    epoch = steps_per_epoch or LEG_STEPS
    parts = math.ceil(epoch / LEG_STEPS)
    ends = [round(part * epoch / parts) for part in range(parts + 1)]
    while True:
        yield from (end - begin for begin, end in pairwise(ends))
