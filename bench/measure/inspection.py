"""Untimed inspection of loops, each in its own process: properties, memory, and a trace."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.inventory import nothing_measured
from loopmark.bench.measure.machine import CommandFacts
from loopmark.bench.measure.pool import CaseEnded, Tick, WorkerPool, WorkerProcess, kept, worker_pool
from loopmark.bench.measure.properties.examination import PROPERTIES, Checked
from loopmark.bench.records.checks import Outcome, Verification
from loopmark.bench.records.footprint import FootprintCase, Footprints
from loopmark.bench.records.run import Plan, Status
from loopmark.bench.records.trace import TRACE_FILE, Trace
from loopmark.loops.catalog import find_loop, find_workload

GRACE_SECONDS = 20.0
"""Seconds beyond a check's limit before the worker is killed. The worker ends a check at the limit by itself, and can
then report where the loop was. The extra time also covers the creation of its first task."""
MOST_STEPS = 100  # most steps of a trace: at over ten thousand events a step, viewers cannot open more

Tell = Callable[[str, float], None]  # called with the current activity and the fraction done


def verify(plan: Plan, loops: Sequence[str], tell: Tell, tick: Tick) -> tuple[Verification, ...]:
    """Check every property of each of ``loops`` on the plan's workload.

    Raises BadInput for a workload on which eager cannot be trained.
    """
    workload = find_workload(plan.workloads[0]).name
    found = []
    with tempfile.TemporaryDirectory(prefix="loopmark-") as folder, worker_pool(plan, Path(folder), tick) as pool:
        for number, loop in enumerate(find_loop(loop).name for loop in loops):

            def tell_part(doing: str, done: float, number: int = number, loop: str = loop) -> None:
                tell(f"{loop} · {doing}", (number + done) / len(loops))

            with pool.start(workload, loop, log=str(number), neighbours=0) as process:
                log = Path(folder) / "logs" / f"{number}.txt"
                found.append(_verified(process, log, plan, Verification(loop, workload, plan.device), tell_part))
    return tuple(found)


def _verified(process: WorkerProcess, log: Path, plan: Plan, blank: Verification, tell: Tell) -> Verification:
    """All outcomes of one loop, in order, even where its process fails."""
    limit = plan.limit_seconds
    outcomes: dict[str, Outcome] = {}
    for number, name in enumerate(PROPERTIES):
        tell(name, number / len(PROPERTIES))
        try:
            checked = process.within(limit + GRACE_SECONDS).verify(name=name, seconds=limit)
        except CaseEnded as end:
            if end.status == "skipped":
                return replace(blank, skipped=end.reason)
            why = f"hangs: {end.reason}" if end.status == "timed_out" else end.reason
            checked = Checked((PROPERTIES["runs"].broken(f"{why}, during the check of {name}{kept(log)}"),), hangs=True)
        if checked.bad_input is not None:
            raise BadInput(checked.bad_input)
        checked.add_to(outcomes)
        if checked.hangs:
            break
    for name, prop in PROPERTIES.items():
        outcomes.setdefault(name, prop.not_applicable("the loop was ended before this check"))
    return replace(blank, outcomes=tuple(outcomes[name] for name in PROPERTIES))


def profile_memory(facts: CommandFacts, loops: Sequence[str], pool: WorkerPool, tell: Tell) -> Footprints:
    """The memory of a step of each of ``loops`` on the plan's workload.

    Raises BadInput where every loop fails.
    """
    plan = facts.plan
    workload = find_workload(plan.workloads[0]).name
    names = dict.fromkeys(find_loop(loop).name for loop in loops)
    cases = []
    for number, loop in enumerate(names):
        tell(f"{loop} · memory of a step", number / len(names))
        with pool.start(workload, loop, log=f"memory-{number}", neighbours=0) as process:
            try:
                cases.append(FootprintCase(workload, loop, "ok", None, process.within(plan.limit_seconds).memory()))
            except CaseEnded as end:
                cases.append(FootprintCase(workload, loop, end.status, end.reason, None))
    if not any(case.status == "ok" for case in cases) and any(case.status == "failed" for case in cases):
        raise BadInput(nothing_measured(cases))
    began = facts.started.isoformat(timespec="seconds")
    return Footprints(pool.folder.name, began, plan, facts.machine, facts.environment, tuple(cases))


def trace(plan: Plan, loop: str, steps: int, tell: Tell, tick: Tick) -> tuple[Trace, bytes]:
    """The trace of ``loop`` on the plan's workload, and the compressed Chrome trace; empty if the case was ended.

    It runs in its own process, so that the profiler does not affect a measuring process. Raises BadInput where the step
    yields unknown phases or none.
    """
    blank = Trace(find_workload(plan.workloads[0]).name, find_loop(loop).name, plan.device, "ok")
    with tempfile.TemporaryDirectory(prefix="loopmark-") as folder, worker_pool(plan, Path(folder), tick) as pool:
        file = Path(folder) / TRACE_FILE
        with pool.start(blank.workload, blank.loop, log="trace", neighbours=0) as process:
            try:
                tell("making the task", 0.0)
                process.within(plan.limit_seconds).set_up(with_hash=False)
                tell("warming up, then profiling", 0.2)
                profile = process.within(plan.limit_seconds).trace(
                    steps=steps, ceiling_seconds=plan.warmup_ceiling_seconds, file=file
                )
            except CaseEnded as end:
                reason = end.reason + ("" if end.status == "skipped" else kept(Path(folder) / "logs"))
                return replace(blank, status=_status(end), reason=reason), b""
        return replace(blank, profile=profile), file.read_bytes()


def _status(end: CaseEnded) -> Status:
    """The status of an ended case. Raises BadInput where its step yields unknown phases or none."""
    if end.bad_step:
        raise BadInput(end.reason) from None
    return end.status
