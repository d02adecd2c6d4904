"""A whole run: every loop of every workload in a process of its own, taking turns, launch after launch."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, cast

import pandas as pd
import torch

from bench.measure.answers import Finished, Ready, Turn, Warm
from bench.measure.collector import Collector, LaunchKey
from bench.measure.crew import Crew
from bench.measure.forecast import Forecast
from bench.measure.launcher import apart
from bench.measure.machine import available_cores, describe_environment
from bench.measure.process import CaseEnded, WorkerProcess
from bench.measure.schedule import QUADS_A_TURN, Schedule, steps_per_block
from bench.measure.spending import LEAST_WINDOW_SECONDS, WINDOW_SECONDS, Spent
from bench.records import store
from bench.records.machine import Machine
from bench.records.run import Case, Launch, Plan, Run, Status
from bench.records.samples import Samples
from bench.records.throttle import disturbs
from bench.records.work import PhaseWork
from loops.catalog import find_loop, find_workload
from loops.loop import EAGER

LEAST_ROUNDS = 3
"""Rounds of a launch, however small its budget: a median needs more than one."""
MOST_AGAIN = 2
"""Times that a turn under a throttle is taken again, at the end of its round; at the power cap it stays as it is."""
BUSY = 0.5
"""The share of blocks with a core taken away, from which on a run's figures are those of a busy machine. On a shared
machine with nothing else to do it was 0.2."""
NEVER_REACHED = "the run was interrupted before this case was measured"


class Progress(Protocol):
    """Whoever shows a person how far the run is. It is told between blocks only, never while one is timed."""

    def tell(self, doing: str, done: float, remaining_seconds: float | None) -> None:
        """``done`` is a fraction of the whole; the remaining time is None until it can be told."""


@dataclass
class _Live:
    """A case's process in the present launch."""

    index: int
    process: WorkerProcess
    ready: Ready
    warm: Warm
    steps: int
    joules_per_step: float | None = None


class Conductor:
    """Carries out a plan and keeps the run in a folder, which is whole after every launch of every workload."""

    def __init__(self, plan: Plan, machine: Machine, started: datetime, progress: Progress) -> None:
        self._plan, self._machine, self.progress = plan, machine, progress
        self._started = started
        self._cores = available_cores()[: plan.threads]
        self._environment = describe_environment(plan.threads, self._cores)
        self._schedule = Schedule(plan.seed)
        self._collector = Collector()
        self._cases = _cases(*apart(lacking, plan))
        self._workloads = tuple(dict.fromkeys(case.workload for case in self._cases))
        self._warnings: list[str] = []
        self._unfinished: set[LaunchKey] = set()
        if not self._cores:
            self._warnings.append("this system cannot pin processes to cores, which adds noise; give more --launches")
        self._forecast = Forecast(self._workloads, plan.launches, dict.fromkeys(self._workloads, 0.0))

    @property
    def loops(self) -> tuple[str, ...]:
        """The loop of each case that this machine can run."""
        return tuple(case.loop for case in self._cases if case.status == "ok")

    def conduct(self, crew: Crew) -> tuple[Run, Samples]:
        """Measure into the crew's folder, and return what was measured; Ctrl-C ends it early with what there is."""
        interrupted = False
        self._crew = crew
        try:
            for launch in range(self._plan.launches):
                for workload in self._workloads:
                    self._launch(workload, launch)
                    self._keep(interrupted=False)
        except KeyboardInterrupt:
            interrupted = True
        self._cases = [c if c.launches or c.status != "ok" else c.ended("skipped", NEVER_REACHED) for c in self._cases]
        self._warnings += unsteady(self._cases, self._plan.warmup_ceiling_seconds)
        self._warnings += busy(self._collector.samples().blocks)
        return self._keep(interrupted)

    def _keep(self, interrupted: bool) -> tuple[Run, Samples]:
        run = Run(
            name=self._crew.folder.name,
            started=self._started.isoformat(timespec="seconds"),
            seconds=(datetime.now(UTC) - self._started).total_seconds(),
            interrupted=interrupted,
            plan=self._plan,
            machine=self._machine,
            environment=self._environment,
            cases=tuple(self._cases),
            warnings=tuple(self._warnings),
        )
        samples = self._collector.samples()
        store.write(self._crew.folder, run, samples)
        return run, samples

    def _launch(self, workload: str, launch: int) -> None:
        """One launch of every case of ``workload``: processes up, warmed, taking turns, gone."""
        indices = [i for i, c in enumerate(self._cases) if c.workload == workload and c.status == "ok"]
        if not indices:
            return
        with self._processes() as live:
            start = time.perf_counter()
            for number, index in enumerate(self._schedule.shuffled(indices)):
                self._tell(workload, launch, index, "starting", started_part=number / len(indices))
                if started := self._start(index, launch):
                    live.append(started)
            self._forecast.sampling_seconds[workload] = self._sampling_seconds(len(live))
            compiled = sum(one.warm.compile_seconds for one in live)
            self._forecast.started(workload, launch, time.perf_counter() - start, compiled)
            try:
                self._sample(workload, launch, live)
                self._measure_energy(launch, live)
            finally:
                # Also when a person has had enough: what was measured so far is a launch, if a short one.
                for one in live:
                    self._finish(one, launch)

    @contextmanager
    def _processes(self) -> Iterator[list[_Live]]:
        live: list[_Live] = []
        try:
            yield live
        finally:
            # Whatever came in between, a launch that was not finished leaves no samples behind.
            for key in self._unfinished:
                self._collector.drop(key)
            self._unfinished.clear()
            for one in live:
                one.process.close()

    def _start(self, index: int, launch: int) -> _Live | None:
        """A process for the case, warmed up; None when the case has ended instead."""
        plan, case = self._plan, self._cases[index]
        process = self._crew.start(
            case.workload,
            case.loop,
            log=f"case-{index}-launch-{launch}",
            neighbours=sum(c.workload == case.workload and c.status == "ok" for c in self._cases) - 1,
        )
        try:
            ready = process.ask(Ready, "set_up", plan.limit_seconds, with_hash=launch == 0)
            warm = process.ask(Warm, "warm", plan.limit_seconds, ceiling_seconds=plan.warmup_ceiling_seconds)
        except CaseEnded as end:
            process.kill()
            self._end(index, end)
            return None
        except BaseException:
            process.kill()
            raise
        self._collector.add_warm_up((index, launch), warm)
        self._unfinished.add((index, launch))
        if ready.compiles and warm.compile_cache == "none":
            self._warnings.append(f"{case.workload}, {case.label}: torch compiled nothing; see why in loopmark doctor")
        known = replace(
            case,
            batch_size=ready.batch_size,
            parameters=ready.parameters,
            data_sha256=case.data_sha256 or ready.data_sha256,
            phases=warm.phases or case.phases,
        )
        self._cases[index] = known
        steps = steps_per_block(warm.step_seconds, plan.block_seconds)
        return _Live(index, process, ready, warm, steps)

    def _sample(self, workload: str, launch: int, live: list[_Live]) -> None:
        """Rounds, in each of which every case takes one turn, until the budget is spent."""
        budget, spent, round_ = self._sampling_seconds(len(live)), 0.0, 0
        while live and (round_ < LEAST_ROUNDS or spent < budget):
            turns = list(live)
            for _ in range(1 + (MOST_AGAIN if self._plan.remeasure_throttled else 0)):
                again = []
                for one in self._schedule.shuffled(turns):
                    self._tell(workload, launch, one.index, f"round {round_ + 1}", spent=spent)
                    start = time.perf_counter()
                    turn = self._turn(one, launch, live)
                    spent += time.perf_counter() - start
                    if turn is None:
                        continue
                    self._collector.add_turn((one.index, launch), round_, turn)
                    if any(disturbs(disturbance.throttle_reasons) for _, _, disturbance in turn.blocks):
                        again.append(one)
                turns = again
            round_ += 1

    def _turn(self, one: _Live, launch: int, live: list[_Live]) -> Turn | None:
        """One turn of a case; None where it ends the case, which then is live no longer."""
        limit = self._turn_limit(one)
        try:
            return one.process.ask(
                Turn,
                "take_turn",
                limit,
                ours=limit < self._plan.limit_seconds,
                order=self._schedule.turn(),
                steps=one.steps,
                own_processes=len(live),
            )
        except CaseEnded as end:
            self._lose(one, launch, live, end)
            return None

    def _measure_energy(self, launch: int, live: list[_Live]) -> None:
        """What a step of each case spends, one after the other in random order: a counter counts for all."""
        window = max(LEAST_WINDOW_SECONDS, WINDOW_SECONDS / self._plan.launches)
        for one in self._schedule.shuffled(live):
            try:
                spent = one.process.ask(
                    Spent, "spend", self._plan.limit_seconds, steps=one.steps, window_seconds=window
                )
            except CaseEnded as end:
                self._lose(one, launch, live, end)
            else:
                one.joules_per_step = spent.joules_per_step

    def _lose(self, one: _Live, launch: int, live: list[_Live], end: CaseEnded) -> None:
        """A case has ended within a launch, of which nothing is kept."""
        live.remove(one)
        one.process.kill()
        self._collector.drop((one.index, launch))
        self._end(one.index, end)

    def _finish(self, one: _Live, launch: int) -> None:
        """Ask a worker for its last figures and write its launch down."""
        key = (one.index, launch)
        try:
            if not (one.process.settle(self._turn_limit(one)) and self._collector.turns(key)):
                self._collector.drop(key)
                return
            finished = one.process.ask(Finished, "finish", self._plan.limit_seconds)
        except CaseEnded as end:
            self._collector.drop(key)
            self._end(one.index, end)
            return
        warm, case = one.warm, self._cases[one.index]
        if launch == 0:
            case = replace(case, work=self._work(one))
        made = Launch(
            index=launch,
            setup_seconds=one.ready.seconds,
            first_step_seconds=warm.first_step_seconds,
            warmup_steps=len(warm.warm_up.seconds),
            warmup_seconds=sum(warm.warm_up.seconds),
            steady=warm.warm_up.steady,
            steady_step_seconds=warm.warm_up.steady_step_seconds,
            excess_seconds=warm.warm_up.excess_seconds,
            compile_seconds=warm.compile_seconds,
            compile_cache=warm.compile_cache,
            steps=finished.steps,
            peak_memory_bytes=finished.peak_memory_bytes,
            skipped_steps=finished.skipped_steps,
            final_scale=finished.final_scale,
            pid=one.process.pid,
            joules_per_step=one.joules_per_step,
            gpu=finished.gpu,
        )
        self._unfinished.discard(key)
        self._cases[one.index] = replace(case, launches=(*case.launches, made), memory_kind=finished.memory_kind)

    def _work(self, one: _Live) -> tuple[PhaseWork, ...]:
        """What the case's step has to do, counted once all its timing is over; empty where it cannot be counted."""
        try:
            return one.process.ask(tuple, "count_work", self._plan.limit_seconds)
        except CaseEnded as end:  # what was measured stands
            case = self._cases[one.index]
            self._warnings.append(f"{case.workload}, {case.label}: its MFU is not known: {end.reason}")
            return ()

    def _end(self, index: int, end: CaseEnded) -> None:
        self._cases[index] = self._cases[index].ended(cast(Status, end.status), end.reason)

    def _sampling_seconds(self, cases: int) -> float:
        return self._plan.budget_seconds / self._plan.launches * cases

    def _turn_limit(self, one: _Live) -> float:
        """Far more than a turn takes, and far less than a person waits for one that hangs."""
        expected = (4 * QUADS_A_TURN * one.steps + 1) * one.warm.step_seconds
        return min(self._plan.limit_seconds, 30 + 50 * expected)

    def _tell(
        self,
        workload: str,
        launch: int,
        index: int,
        doing: str,
        *,
        started_part: float = 1.0,
        spent: float | None = None,
    ) -> None:
        plan = self._plan
        position = launch * len(self._workloads) + self._workloads.index(workload)
        budget = self._forecast.sampling_seconds[workload]
        part = 0.5 * started_part + 0.5 * min(1.0, (spent or 0.0) / budget if budget else 0.0)
        self.progress.tell(
            f"{workload} · {self._cases[index].label} · launch {launch + 1}/{plan.launches} · {doing}",
            (position + part) / (plan.launches * len(self._workloads)),
            self._forecast.remaining_seconds(workload, launch, spent),
        )


def unsteady(cases: Iterable[Case], ceiling_seconds: float) -> list[str]:
    """A warning for each case that was still getting faster in some launch when its warm-up ended at its ceiling."""
    late = ((case, sum(launch.steady is False for launch in case.launches)) for case in cases)
    return [
        f"{case.workload}, {case.label}: {count} of {len(case.launches)} launches were still getting faster when their "
        f"warm-up reached {ceiling_seconds:g} s; measure again on an idle machine, and not with --quick"
        for case, count in late
        if count
    ]


def busy(blocks: pd.DataFrame) -> list[str]:
    """A warning where the machine had more to do than this run: others took a core away in most blocks."""
    disturbed = (blocks["involuntary_switches"] > 0) | (blocks["steal_seconds"] > 0)
    if not len(blocks) or (share := float(disturbed.mean())) <= BUSY:
        return []
    return [f"others took the cores away in {share:.0%} of the blocks; see loopmark doctor, and measure again"]


Lacks = dict[str, str | None]
"""Names, each with what this machine lacks for it, as a sentence; None where it can run."""


def lacking(plan: Plan) -> tuple[Lacks, Lacks]:
    """The plan's workloads and its loops, the baseline first."""
    device = torch.device(plan.device)
    workloads = {workload.name: workload.lacks() for workload in map(find_workload, plan.workloads)}
    return workloads, {loop.name: loop.lacks(device) for loop in (EAGER, *map(find_loop, plan.loops))}


def _cases(workloads: Lacks, loops: Lacks) -> list[Case]:
    """The baseline, the baseline again, and every other loop, for each workload."""
    cases = []
    for workload, no_data in workloads.items():
        for loop, no_support in loops.items():
            reason = no_data or no_support
            case = Case(
                workload=workload,
                loop=loop,
                repeat=False,
                status="skipped" if reason else "ok",
                reason=reason,
                batch_size=None,
                parameters=None,
                data_sha256=None,
                phases=(),
                memory_kind=None,
                launches=(),
            )
            cases.append(case)
            if loop == EAGER.name:
                cases.append(replace(case, repeat=True))
    return cases
