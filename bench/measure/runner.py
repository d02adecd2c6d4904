"""The timing of a run: every loop of every workload in its own process, taking turns, launch after launch."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from loopmark.bench.measure import launches, schedule
from loopmark.bench.measure.answers import Turn
from loopmark.bench.measure.inventory import cases_of, foretold, lacking
from loopmark.bench.measure.launcher import apart
from loopmark.bench.measure.launches import LaunchState, RunningCase
from loopmark.bench.measure.machine import CommandFacts
from loopmark.bench.measure.meters import LEAST_WINDOW_SECONDS, WINDOW_SECONDS, busy
from loopmark.bench.measure.pool import CaseEnded, WorkerPool
from loopmark.bench.measure.warmup import Cycle, unsteady
from loopmark.bench.records import store
from loopmark.bench.records.run import Run, disturbs
from loopmark.bench.records.samples import Samples

if TYPE_CHECKING:
    from loopmark.bench.measure.worker import Worker

T = TypeVar("T")
MOST_AGAIN = 2
"""Most repeats of a throttled turn, at the end of its round. Turns at the power cap are not repeated."""
NEVER_REACHED = "the run was interrupted before this case was measured"


class Runner:
    """Carries out a plan and stores the run in a folder, which is complete after every launch of every workload."""

    def __init__(self, facts: CommandFacts, progress: schedule.Progress, *, looks_at_loaders: bool = True) -> None:
        self._facts, self.progress, self._looks_at_loaders = facts, progress, looks_at_loaders
        self._plan = plan = facts.plan
        self._schedule = schedule.Schedule(plan.seed)
        self._collector = launches.Collector()
        self._cases = cases_of(*apart(lacking, plan), plan.baseline)
        self._workloads = tuple(dict.fromkeys(case.workload for case in self._cases))
        self._warnings: list[str] = []
        self._unfinished: set[launches.LaunchKey] = set()
        if not self._facts.cores:
            self._warnings.append("this system cannot pin processes to cores, which adds noise; give more --launches")
        self._capacities = {workload: launches.DeviceCapacity() for workload in self._workloads}
        self._warned_of_memory: set[str] = set()
        self._cycles: dict[str, Cycle | None] = {}
        self._forecast = schedule.Forecast.of(plan, self.cases)

    @property
    def cases(self) -> tuple[tuple[str, str], ...]:
        """The workload and loop of each case that this machine can run."""
        return tuple((case.workload, case.loop) for case in self._cases if case.status == "ok")

    def run(self, pool: WorkerPool) -> tuple[Run, Samples]:
        """Measure, store the run in the pool's folder, and return it. Ctrl-C ends it early with the samples so far."""
        interrupted = False
        self._pool = pool
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
        facts = self._facts.fields(self._pool.folder, interrupted=interrupted)
        run = Run(**facts, cases=tuple(self._cases), warnings=tuple(self._warnings))
        samples = self._collector.samples()
        if run.was_measured:
            store.write(self._pool.folder, run, samples)
        return run, samples

    def _launch(self, workload: str, launch: int) -> None:
        """Run one launch of every case of ``workload``, from start to end of its processes, in groups that fit."""
        indices = [i for i, c in enumerate(self._cases) if c.workload == workload and c.status == "ok"]
        order = self._schedule.shuffled(indices)
        baseline = next(i for i, c in enumerate(self._cases) if c.workload == workload)
        if self._plan.device != "cpu" or not launch:  # first, how much memory a case takes, and what fails in all
            order.sort(key=lambda index: index != baseline)
        state = LaunchState(workload, launch, baseline, order, self._capacities[workload], time.perf_counter())
        try:
            while state.waiting:
                self._take_group(state)
        finally:
            # An unfinished launch leaves no samples, even after an error.
            for key in self._unfinished:
                self._collector.drop(key)
            self._unfinished.clear()
            told = launches.memory_warnings(state, self._cases[baseline])
            if told and workload not in self._warned_of_memory:
                self._warned_of_memory.add(workload)
                self._warnings += told
            for one in state.live:
                one.process.close()

    def _take_group(self, state: LaunchState) -> None:
        """Run the cases that fit on the device together, from start to end. The baseline stays while cases wait."""
        staying: list[RunningCase] = []
        try:
            fresh = self._fill(state)
            self._sample(state)
            self._measure_energy(state, fresh)
            staying = [one for one in state.live if state.waiting and one.index == state.baseline]
        finally:
            # Also after Ctrl-C: the samples so far are kept as a short launch.
            for one in [one for one in state.live if one not in staying]:
                self._tell(state, one.index, "finishing", sampling=True)
                self._finish(one, state.launch)
                one.process.close()
                state.live.remove(one)

    def _fill(self, state: LaunchState) -> list[RunningCase]:
        """Start the cases that fit beside the running ones, and return them."""
        start, fresh = time.perf_counter(), list[RunningCase]()
        state.groups += 1
        while (index := state.next()) is not None:
            doing, expected = self._forecast.next_start(self._cases[index])
            self._tell(state, index, doing, expected=expected)
            try:
                one = self._start(index, state)
            except CaseEnded as end:
                self._give_up(index, state, end)
                continue
            if doing == "compiling":
                self._forecast.cold[state.workload] = one.ready.seconds + sum(one.warm.warm_up.seconds)
            state.live.append(one)
            fresh.append(one)
            state.capacity.note(one.warm.held)
            state.compile_seconds += one.warm.compile_seconds
            if state.live == [one] and not state.capacity.holds_one_more() and self._shrink(index, state):
                fresh.clear()
                self._lose(one, state)
        state.starting_seconds += time.perf_counter() - start
        self._choose_blocks(state)
        least = schedule.LEAST_ROUNDS * schedule.LONG_BLOCKS * sum(one.cycle.seconds for one in state.live if one.cycle)
        budget = state.sampled_seconds + max(least, self._sampling_seconds(len(state.live) + len(state.waiting)))
        self._forecast.sampling[state.workload] = budget
        self._forecast.started(state.workload, state.launch, state.starting_seconds, state.compile_seconds)
        return fresh

    def _choose_blocks(self, state: LaunchState) -> None:
        """Choose the steps of a block. Those of all loops, in all launches, hold cycles of the baseline's data."""
        first = min(state.live, key=lambda one: one.index != state.baseline, default=None)
        cycle = self._cycles.setdefault(state.workload, first.warm.cycle) if first else None
        for one in state.live:
            one.cycle = cycle
            one.steps = schedule.steps_per_block(one.warm.step_seconds, self._plan.block_seconds, cycle)

    def _shrink(self, index: int, state: LaunchState) -> bool:
        """Queue the baseline with half the batch size, if no other case fits beside it; True if queued."""
        before = self._cases[index].batch_size
        begins = not state.launch and not state.rounds and state.waiting and index == state.baseline
        if not begins or self._pool.shrink(state.workload, before) is None:
            return False
        state.whole_batch = state.whole_batch or before
        self._cycles.pop(state.workload, None)  # epochs now have more steps
        state.capacity = self._capacities[state.workload] = launches.DeviceCapacity()  # cases now need less memory
        state.waiting.insert(0, index)
        return True

    def _start(self, index: int, state: LaunchState) -> RunningCase:
        """A process for the case, warmed up. Raises CaseEnded where the case has ended."""
        plan, case, launch = self._plan, self._cases[index], state.launch
        log, neighbours = f"case-{index}-launch-{launch}", len(state.live)
        process = self._pool.start(case.workload, case.loop, log=log, neighbours=neighbours, repeat=case.repeat)
        try:
            ready = process.within(plan.limit_seconds).set_up(with_hash=launch == 0)
            sha256 = case.data_sha256 or ready.data_sha256
            case = replace(case, batch_size=ready.batch_size, parameters=ready.parameters, data_sha256=sha256)
            case = replace(case, code=ready.code, excludes=ready.excludes)
            self._cases[index] = case
            warm = process.within(plan.limit_seconds).warm(ceiling_seconds=plan.warmup_ceiling_seconds)
        except BaseException:
            process.kill()
            raise
        self._collector.add_warm_up((index, launch), warm)
        self._unfinished.add((index, launch))
        self._cases[index] = replace(case, phases=warm.phases or case.phases)
        return RunningCase(index, process, ready, warm)

    def _sample(self, state: LaunchState) -> None:
        """Take rounds until the budget is spent. In a round, every running case takes one turn."""
        live = state.live
        budget, spent, first = self._sampling_seconds(len(live)), 0.0, state.rounds
        while live and (state.rounds - first < schedule.LEAST_ROUNDS or spent < budget):
            turns = list(live)
            for _ in range(1 + (MOST_AGAIN if self._plan.remeasure_throttled else 0)):
                again = []
                for one in self._schedule.shuffled(turns):
                    if one not in live:  # it has ended, or starts again with the baseline
                        continue
                    self._tell(state, one.index, f"round {state.rounds + 1}", sampling=True)
                    start = time.perf_counter()
                    turn = self._turn(one, state)
                    took = time.perf_counter() - start
                    spent += took
                    one.turns_seconds += took
                    state.sampled_seconds += took
                    if turn is None:
                        continue
                    self._collector.add_turn((one.index, state.launch), state.rounds, turn)
                    if any(disturbs(disturbance.throttle_reasons) for _, _, disturbance in turn.blocks):
                        again.append(one)
                turns = again
            state.rounds += 1

    def _turn(self, one: RunningCase, state: LaunchState) -> Turn | None:
        """One turn of a case; None if the turn ended the case, which is then removed."""
        limit = self._turn_limit(one)
        try:
            return one.process.within(limit, ours=limit < self._plan.limit_seconds).take_turn(
                order=self._schedule.turn(schedule.blocks_a_turn(one.steps, one.warm.lead_in, one.cycle)),
                steps=one.steps,
                own_processes=len(state.live),
            )
        except CaseEnded as end:
            self._lose(one, state)
            self._give_up(one.index, state, end)
            return None

    def _measure_energy(self, state: LaunchState, fresh: list[RunningCase]) -> None:
        """Measure the energy of each of ``fresh`` one at a time, in random order: the counter covers all processes."""
        window = max(LEAST_WINDOW_SECONDS, WINDOW_SECONDS / self._plan.launches)
        for one in self._schedule.shuffled(fresh):
            if one not in state.live:
                continue
            try:
                spent = one.process.within(self._plan.limit_seconds).spend(steps=one.steps, window_seconds=window)
            except CaseEnded as end:
                self._lose(one, state)
                self._give_up(one.index, state, end)
            else:
                one.joules_per_step = spent.joules_per_step

    def _lose(self, one: RunningCase, state: LaunchState) -> None:
        """Remove a case and kill its process; its samples of this launch are dropped."""
        state.live.remove(one)
        one.process.kill()
        self._collector.drop((one.index, state.launch))

    def _give_up(self, index: int, state: LaunchState, end: CaseEnded) -> None:
        """End a case, unless it only lacked memory and can start again with fewer neighbours or smaller batches."""
        case, lacked_memory = self._cases[index], end.ran_out_of == "device memory"
        is_baseline = index == state.baseline
        if lacked_memory and state.put_off(index):
            if state.launch == 0:  # the first launch must compile everything
                self._pool.forget_compiled(case.workload, case.loop, case.repeat)
            if is_baseline:
                self._start_over(state)
        elif not (lacked_memory and not state.live and self._shrink(index, state)):
            if is_baseline and state.whole_batch:  # halving did not help
                self._pool.unshrink(state.workload)
                state.whole_batch = None
            self._cases[index] = self._cases[index].ended(end.status, end.reason)
            if end.status == "failed" and not end.ran_out_of:
                self._end_alike(state, end)

    def _end_alike(self, state: LaunchState, end: CaseEnded) -> None:
        """End the waiting cases that would fail as another has."""
        for index in list(state.waiting):
            case = self._cases[index]
            reason = end.reason if end.of_task else foretold(case, self._cases)
            if reason is not None and not case.launches:
                state.waiting.remove(index)
                self._cases[index] = case.ended(end.status, reason)

    def _start_over(self, state: LaunchState) -> None:
        """Queue all running cases again with the baseline, which ran out of memory: every ratio needs it."""
        for one in list(state.live):
            self._lose(one, state)
            state.waiting.append(one.index)
        if state.groups > 1:
            self._warnings.append(
                f"{state.workload}: {self._cases[state.baseline].label} ran out of device memory in launch "
                f"{state.launch + 1} and started again; cases that had finished by then have no speedup in this launch"
            )

    def _finish(self, one: RunningCase, launch: int) -> None:
        """Get a worker's final figures and record its launch."""
        key = (one.index, launch)
        try:
            if not (one.process.settle(self._turn_limit(one)) and self._collector.turns(key)):
                self._collector.drop(key)
                return
            finished = one.process.within(self._plan.limit_seconds).finish(with_compilation=True)
        except CaseEnded as end:
            self._collector.drop(key)
            self._cases[one.index] = self._cases[one.index].ended(end.status, end.reason)
            return
        case = self._cases[one.index]
        if launch == 0:
            if self._looks_at_loaders and case.loop == self._plan.baseline and not case.repeat:
                unknown = "its loader was not looked at"
                for loading in self._afterwards(one, unknown, lambda worker: worker.examine_loader()) or ():
                    case = replace(case, loading=loading)
                    self._warnings += [f"{case.workload}: {loading.repeated}"] if loading.repeated else []
            work = self._afterwards(one, "its MFU is unknown", lambda worker: worker.count_work())
            case = replace(case, work=work or ())
        made = one.launch(launch, finished)
        self._unfinished.discard(key)
        self._cases[one.index] = replace(case, launches=(*case.launches, made), memory_kind=finished.memory_kind)

    def _afterwards(self, one: RunningCase, unknown: str, ask: "Callable[[Worker], T]") -> T | None:
        """The answer of a case's process after all its timing; None, with a warning, if it fails."""
        case = self._cases[one.index]
        try:
            return ask(one.process.within(self._plan.limit_seconds))
        except CaseEnded as end:
            self._warnings.append(f"{case.workload}, {case.label}: {unknown}: {end.reason}")
            return None

    def _sampling_seconds(self, cases: int) -> float:
        return self._plan.budget_seconds / self._plan.launches * cases

    def _turn_limit(self, one: RunningCase) -> float:
        """A limit far above a turn's duration, so that a hanging turn ends soon."""
        expected = (schedule.BLOCKS_A_TURN * (one.warm.lead_in + one.steps) + 1) * one.warm.step_seconds
        return min(self._plan.limit_seconds, 30 + 50 * expected)

    def _tell(
        self, state: LaunchState, index: int, doing: str, *, sampling: bool = False, expected: float | None = None
    ) -> None:
        plan, waiting = self._plan, len(state.waiting)
        left = self._forecast.remaining_seconds(state.workload, state.launch, time.perf_counter() - state.began)
        if sampling or state.groups > 1:
            left += state.starting_seconds / max(1, state.cases - waiting) * waiting
        position = state.launch * len(self._workloads) + self._workloads.index(state.workload)
        state.part = max(state.part, 1 - (waiting + (not sampling)) / state.cases)
        self.progress.tell(
            f"launch {state.launch + 1}/{plan.launches} · {state.workload} · {self._cases[index].label} · {doing}",
            (position + state.part) / (plan.launches * len(self._workloads)),
            left,
            expected,
        )
