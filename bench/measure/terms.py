"""How long loops train, and how often."""

from dataclasses import dataclass

from bench.records.training import Until


@dataclass(frozen=True)
class Terms:
    """How long, and how often."""

    seeds: int
    until: Until
    budget_seconds: float
    """Of training, for each seed of each case."""
    insists: bool = False
    """Whether a workload without a target is a mistake; otherwise its loops are compared with eager and no more."""
