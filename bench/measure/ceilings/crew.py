"""The ceilings of the device that a crew works on, with the crew's threads, on its cores."""

import time
from datetime import UTC, datetime

from bench.measure.ceilings.survey import Found
from bench.measure.crew import Crew
from bench.records.ceilings import Ceilings
from bench.records.machine import Environment, Machine
from bench.records.run import Plan


def measure_ceilings(crew: Crew, plan: Plan, machine: Machine, environment: Environment, budget: float) -> Ceilings:
    """What the crew's device can do, by ``budget`` seconds of measuring.

    Raises:
        CaseEnded: the process died, or took longer than the crew's limit beyond its budget.
    """
    started, start = datetime.now(UTC), time.perf_counter()
    found = find_ceilings(crew, budget, plan.seed)
    return Ceilings(
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - start,
        budget_seconds=budget,
        seed=plan.seed,
        machine=machine,
        environment=environment,
        device=plan.device,
        ceilings=found.ceilings,
        left_out=found.left_out,
    )


def find_ceilings(crew: Crew, budget_seconds: float, seed: int = 0) -> Found:
    """Every ceiling, and the reasons for what has none.

    Args:
        seed: of the matrices, and of the order of the samples.
    """
    process = crew.start_idle(log="ceilings")
    try:
        limit_seconds = crew.limit_seconds + budget_seconds
        return process.ask(Found, "find_ceilings", limit_seconds, budget_seconds=budget_seconds, seed=seed)
    finally:
        process.kill()
