"""One case traced in a process of its own, so that nothing of the profiler is left in one that measures."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.pool import CaseEnded, WorkerPool, worker_pool
from loopmark.bench.records.run import Plan
from loopmark.bench.records.trace import TRACE_FILE, Profile, Status, Trace
from loopmark.loops.catalog import find_loop, find_workload

MOST_STEPS = 100
"""Of one trace: ten thousand events and more a step make a file that no viewer opens."""

Tell = Callable[[str, float], None]
"""Is told what is being done, and what fraction of the whole is done."""
_STATUS: dict[str, Status] = {"skipped": "skipped", "timed_out": "timed_out"}


def trace(plan: Plan, loop: str, steps: int, tell: Tell) -> tuple[Trace, bytes]:
    """Trace ``loop`` on the plan's workload, and the compressed Chrome trace; empty where the case was ended.

    Raises:
        BadInput: the step names unknown phases or none.
    """
    blank = Trace(find_workload(plan.workloads[0]).name, find_loop(loop).name, plan.device, "ok")
    with tempfile.TemporaryDirectory(prefix="loopmark-trace-") as folder, worker_pool(plan, Path(folder)) as pool:
        file = Path(folder) / TRACE_FILE
        try:
            profile = _profile(pool, plan, blank, steps, file, tell)
        except CaseEnded as end:
            if end.bad_step:
                raise BadInput(end.reason) from None
            return replace(blank, status=_STATUS.get(end.status, "failed"), reason=end.reason), b""
        return replace(blank, profile=profile), file.read_bytes()


def _profile(pool: WorkerPool, plan: Plan, blank: Trace, steps: int, file: Path, tell: Tell) -> Profile:
    process = pool.start(blank.workload, blank.loop, log="trace", neighbours=0)
    try:
        tell("making the task", 0.0)
        process.within(plan.limit_seconds).set_up(with_hash=False)
        tell("warming up, then profiling", 0.2)
        ceiling = plan.warmup_ceiling_seconds
        return process.within(plan.limit_seconds).trace(steps=steps, ceiling_seconds=ceiling, file=file)
    finally:
        process.kill()
