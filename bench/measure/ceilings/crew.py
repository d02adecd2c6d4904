"""The ceilings of the device that a crew works on, with the crew's threads, on its cores."""

from bench.measure.ceilings.survey import Found
from bench.measure.crew import Crew
from bench.records.ceilings import Ceiling


def measure_ceilings(crew: Crew, budget_seconds: float) -> tuple[Ceiling, ...]:
    """What the crew's device can do, each ceiling with its interval; what could not be measured is not among them.

    Raises:
        CaseEnded: the process died, or took longer than the crew's limit beyond its budget.
    """
    return find_ceilings(crew, budget_seconds).ceilings


def find_ceilings(crew: Crew, budget_seconds: float, seed: int = 0) -> Found:
    """The same, with the reasons for what is not among them.

    Args:
        seed: of the matrices, and of the order of the samples.
    """
    process = crew.start_idle(log="ceilings")
    try:
        limit_seconds = crew.limit_seconds + budget_seconds
        return process.ask(Found, "find_ceilings", limit_seconds, budget_seconds=budget_seconds, seed=seed)
    finally:
        process.kill()
