"""``kernels.csv``: every kernel or operator of every phase, in base units."""

import csv
import io

from bench.records.trace import Profile

HEADINGS = ("phase", "name", "calls_per_step", "seconds_per_step", "share_of_phase")


def as_csv(profile: Profile) -> str:
    """One row a kernel of a phase, the phases in their order, the dearest first; no phase where none launched it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS)
    for phase in profile.phases:
        for cost in phase.costs:
            writer.writerow([phase.phase, cost.name, cost.calls_per_step, cost.seconds_per_step, phase.share(cost)])
    for cost in profile.unattributed:
        writer.writerow([None, cost.name, cost.calls_per_step, cost.seconds_per_step, None])
    return text.getvalue()
