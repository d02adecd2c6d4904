"""What a run warns of: cases that were not steady, cores that others took, a device that was too small."""

from collections.abc import Iterable

import pandas as pd

from loopmark.bench.measure.residency import UnderWay
from loopmark.bench.records.run import Case

BUSY = 0.5
"""The share of blocks with a core taken away, from which on a run's figures are those of a busy machine. On a shared
machine with nothing else to do it was 0.2."""


def unsteady(cases: Iterable[Case], ceiling_seconds: float) -> list[str]:
    """A warning for each case that was still getting faster in some launch when its warm-up ended at its ceiling."""
    late = ((case, sum(launch.steady is False for launch in case.launches)) for case in cases)
    return [
        f"{case.workload}, {case.label}: {count} of {len(case.launches)} launches were still getting faster when their "
        f"warm-up reached {ceiling_seconds:g} s; measure again on an idle machine, and not with --quick"
        for case, count in late
        if count
    ]


def busy(blocks: pd.DataFrame) -> list[str]:
    """A warning where the machine had more to do than this run: others took a core away in most blocks."""
    disturbed = (blocks["involuntary_switches"] > 0) | (blocks["steal_seconds"] > 0)
    if not len(blocks) or (share := float(disturbed.mean())) <= BUSY:
        return []
    return [f"others took the cores away in {share:.0%} of the blocks; see loopmark doctor, and measure again"]


def room(launch: UnderWay, baseline: Case) -> list[str]:
    """What a device that was too small has changed: smaller batches, and turns taken in groups."""
    workload, said = launch.workload, []
    if launch.whole_batch not in (None, baseline.batch_size):
        said.append(
            f"{workload}: by estimate no second loop fits the device beside {baseline.label} with batches of "
            f"{launch.whole_batch}, so it is measured with batches of {baseline.batch_size}; --batch-size chooses "
            "another"
        )
    if launch.groups > 1:
        together = f", each with {baseline.label}" if baseline.status == "ok" else ""
        said.append(
            f"{workload}: its {launch.cases} cases do not fit the device together; they took turns in "
            f"{launch.groups} groups{together}"
        )
    return said
