"""Where a step's time goes: its phases, from the lapped blocks, adding up to the step."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

TRIMMED = 0.25
"""The share of steps, by total time, left out at either end of each launch; rounded up to whole steps."""


def phase_seconds(samples: pd.DataFrame, order: Sequence[str], column: str) -> dict[str, float]:
    """Seconds of each phase of a typical step of one case: each phase's mean share of the median launch's step.

    A launch's step is the mean over the middle half of its lapped steps. Whole steps are left out, by their total
    time, never single phases, so that the phases still add up to a step, and no one launch that something disturbed
    decides how long it is. A phase that repeats within a step (gradient accumulation) counts with all its turns.

    Args:
        samples: rows of one case from ``Samples.phases``.
        order: the phases' names in the order in which the result has them.
        column: ``host_seconds`` or ``device_seconds``; rows where it is NaN are absent phases.
    """
    seen = samples[column].notna()
    present = samples if seen.all() else samples[seen]
    if present.empty:
        return {}
    of_step = present.groupby(["launch", "step"])
    steps = of_step[column].sum()
    launch = steps.groupby("launch")
    rank, count = launch.rank(method="first"), launch.transform("size")
    # At least one step at either end, so that few steps are robust too, but never all of them.
    cut = np.minimum(np.ceil(TRIMMED * count), (count - 1) // 2)
    inside = (rank > cut) & (rank <= count - cut)
    kept = present[inside.to_numpy()[of_step.ngroup()]]
    sums = kept.groupby(["launch", "phase"], observed=True)[column].sum().unstack(fill_value=0)
    launches = sums.div(inside.groupby("launch").sum(), axis="index")
    totals = launches.sum(axis="columns")
    means = launches.div(totals, axis="index").mean() * totals.median()
    return {phase: float(means[phase]) for phase in order if phase in means.index}
