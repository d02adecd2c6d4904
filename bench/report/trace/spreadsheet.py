"""``kernels.csv``: every kernel or operator of every phase, in base units."""

from loopmark.bench.records.trace import Profile
from loopmark.bench.report.csv_text import csv_text

HEADINGS = ("phase", "name", "calls_per_step", "seconds_per_step", "share_of_phase")


def as_csv(profile: Profile) -> str:
    """One row a kernel of a phase, the phases in their order, the dearest first; no phase where none launched it."""
    rows: list[list[object]] = [
        [phase.phase, cost.name, cost.calls_per_step, cost.seconds_per_step, phase.share(cost)]
        for phase in profile.phases
        for cost in phase.costs
    ]
    rows += [[None, cost.name, cost.calls_per_step, cost.seconds_per_step, None] for cost in profile.unattributed]
    return csv_text(HEADINGS, rows)
