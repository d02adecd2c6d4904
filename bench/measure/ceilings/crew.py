"""The ceilings of the device that a crew works on, with the crew's threads, on its cores."""

import time
from datetime import UTC, datetime

from loopmark.bench.measure.ceilings.survey import Found
from loopmark.bench.measure.crew import Crew
from loopmark.bench.measure.process import WorkerProcess
from loopmark.bench.records.ceilings import Ceilings
from loopmark.bench.records.machine import Machine
from loopmark.bench.records.run import Plan


def measure_ceilings(crew: Crew, plan: Plan, machine: Machine, budget_seconds: float) -> Ceilings:
    """What the crew's device can do, each ceiling with its interval, and the reasons for what has none.

    Raises:
        CaseEnded: the process died, or took longer than the crew's limit beyond its budget.
    """
    started, start = datetime.now(UTC), time.perf_counter()
    process = crew.start_idle(log="ceilings")
    try:
        environment = process.within(crew.limit_seconds).environment()
        found = find_ceilings(process, crew.limit_seconds, budget_seconds, plan.seed)
    finally:
        process.kill()
    return Ceilings(
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - start,
        budget_seconds=budget_seconds,
        seed=plan.seed,
        machine=machine,
        environment=environment,
        device=plan.device,
        ceilings=found.ceilings,
        left_out=found.left_out,
    )


def find_ceilings(process: WorkerProcess, limit_seconds: float, budget_seconds: float, seed: int) -> Found:
    """What ``process`` finds within ``budget_seconds``; it is given up on ``limit_seconds`` after them."""
    return process.within(limit_seconds + budget_seconds).find_ceilings(budget_seconds=budget_seconds, seed=seed)
