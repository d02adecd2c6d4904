"""How long loops train, and how often."""

from dataclasses import dataclass

from loopmark.bench.records.training import Until


@dataclass(frozen=True)
class Terms:
    """How long, and how often."""

    seeds: int
    until: Until
    budget_seconds: float
    """Of training, for each seed of each case, its first steps left aside."""
    insists: bool = False
    """Whether a step that is none, and a workload without a target, are mistakes in what was asked. Otherwise such a
    step's case has failed, and such a workload's loops are compared with eager and no more."""
