"""One loop after the other, examined in a process of its own."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.pool import CaseEnded, WorkerProcess, worker_pool
from loopmark.bench.measure.properties import runs
from loopmark.bench.measure.properties.examination import PROPERTIES, Checked
from loopmark.bench.records.run import Plan
from loopmark.bench.records.verification import Outcome, Verification
from loopmark.loops.catalog import find_loop, find_workload

GRACE_SECONDS = 20.0
"""A worker ends a check at its limit by itself, and then knows where the loop was; it is ended from outside only later,
which also leaves it time to make its first task."""

Tell = Callable[[str, float], None]
"""Is told what is being done, and what fraction of the whole is done."""


def verify(plan: Plan, loops: Sequence[str], tell: Tell) -> tuple[Verification, ...]:
    """Examine each of ``loops`` on the plan's workload.

    Raises:
        BadInput: a step yields unknown phases or none, or the workload is none that eager can be trained on.
    """
    workload = find_workload(plan.workloads[0]).name
    found = []
    with tempfile.TemporaryDirectory(prefix="loopmark-verify-") as folder, worker_pool(plan, Path(folder)) as pool:
        for number, loop in enumerate(find_loop(loop).name for loop in loops):

            def tell_part(doing: str, done: float, number: int = number, loop: str = loop) -> None:
                tell(f"{loop} · {doing}", (number + done) / len(loops))

            process = pool.start(workload, loop, log=str(number), neighbours=0)
            try:
                found.append(_examine(process, plan, Verification(loop, workload, plan.device), tell_part))
            finally:
                process.kill()
    return tuple(found)


def _examine(process: WorkerProcess, plan: Plan, blank: Verification, tell: Tell) -> Verification:
    """All outcomes of one loop, in their order, whatever becomes of its process."""
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
            checked = Checked((runs.PROPERTY.broken(f"{why}; it was while {name} was looked at"),), hangs=True)
        if checked.bad_input is not None:
            raise BadInput(checked.bad_input)
        checked.add_to(outcomes)
        if checked.hangs:
            break
    for name, prop in PROPERTIES.items():
        outcomes.setdefault(name, prop.not_applicable("the loop was ended before this could be looked at"))
    return replace(blank, outcomes=tuple(outcomes[name] for name in PROPERTIES))
