"""One loop after the other, its step followed in a process of its own."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.machine import describe_environment
from loopmark.bench.measure.pool import CaseEnded, WorkerPool
from loopmark.bench.records.footprint import FootprintCase, Footprints
from loopmark.bench.records.machine import Machine
from loopmark.bench.records.run import Plan, Status
from loopmark.loops.catalog import find_loop, find_workload

Tell = Callable[[str, float], None]
"""Is told what is being done, and what fraction of the whole is done."""


def survey(
    plan: Plan, loops: Sequence[str], machine: Machine, started: datetime, pool: WorkerPool, tell: Tell
) -> Footprints:
    """The memory of a step of each of ``loops`` on the plan's workload.

    Raises:
        BadInput: a step yields unknown phases, or none.
    """
    cases = _cases(plan, loops, pool, tell)
    environment = describe_environment(plan.threads, pool.cores)
    began = started.isoformat(timespec="seconds")
    return Footprints(pool.folder.name, began, plan, machine, environment, cases)


def _cases(plan: Plan, loops: Sequence[str], pool: WorkerPool, tell: Tell) -> tuple[FootprintCase, ...]:
    workload = find_workload(plan.workloads[0]).name
    names = dict.fromkeys(find_loop(loop).name for loop in loops)
    found = []
    for number, loop in enumerate(names):
        tell(loop, number / len(names))
        process = pool.start(workload, loop, log=f"memory-{number}", neighbours=0)
        try:
            footprint = process.within(plan.limit_seconds).memory()
            found.append(FootprintCase(workload, loop, "ok", None, footprint))
        except CaseEnded as end:
            if end.bad_step:
                raise BadInput(end.reason) from None
            found.append(FootprintCase(workload, loop, cast(Status, end.status), end.reason, None))
        finally:
            process.kill()
    return tuple(found)
