"""Where a step's time goes: its phases, from the lapped blocks, adding up to the step."""

from collections.abc import Sequence

import pandas as pd

TRIMMED = 0.1
"""The share of steps, by total time, that is left out at either end of each launch."""


def phase_seconds(samples: pd.DataFrame, order: Sequence[str], column: str) -> dict[str, float]:
    """Mean seconds of each phase over the middle 80 % of a case's lapped steps, by step time; averaged over launches.

    Whole steps are left out, never single phases, so that the phases still add up to a step: the sum of the result
    is the trimmed mean step. A phase that repeats within a step (gradient accumulation) counts with all its turns.

    Args:
        samples: rows of one case from ``Samples.phases``.
        order: the phases' names in the order in which the result has them.
        column: ``host_seconds`` or ``device_seconds``; rows where it is NaN are absent phases.
    """
    present = samples[samples[column].notna()]
    if present.empty:
        return {}
    steps = present.groupby(["launch", "step"])[column].sum()
    launch = steps.groupby("launch")
    inside = steps.between(
        launch.transform("quantile", TRIMMED), launch.transform("quantile", 1 - TRIMMED), inclusive="both"
    )
    kept = steps.index[inside]
    sums = (
        present.set_index(["launch", "step"])
        .loc[lambda frame: frame.index.isin(kept)]
        .groupby(["launch", "phase"])[column]
        .sum()
        .unstack(fill_value=0.0)
    )
    means = sums.div(inside.groupby("launch").sum(), axis="index").mean()
    return {phase: float(means[phase]) for phase in order if phase in means.index}
