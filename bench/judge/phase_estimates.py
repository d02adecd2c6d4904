"""How sure the seconds of each phase are, over the launches of a case."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from loopmark.bench.judge.breakdown import phase_seconds
from loopmark.bench.judge.statistics import Estimate, exp, student


def phase_estimates(laps: pd.DataFrame, order: Sequence[str]) -> dict[str, Estimate]:
    """Seconds a step in each phase as ``phase_seconds`` has them, on the device's clock where there is one.

    The interval has the width, as a ratio, of Student's t interval over the launches: each launch's phases by itself,
    as logarithms. A launch alone bounds nothing; nor do launches one of which lacks the phase, or saw it take no time.

    Args:
        laps: rows of one case from ``Samples.phases``.
        order: the phases' names in the order in which the result has them.
    """
    column = "device_seconds" if laps["device_seconds"].notna().any() else "host_seconds"
    launches = [phase_seconds(own, order, column) for _, own in laps.groupby("launch")]
    typical = phase_seconds(laps, order, column)
    return {phase: _about(value, [own.get(phase, 0.0) for own in launches]) for phase, value in typical.items()}


def _about(value: float, launches: Sequence[float]) -> Estimate:
    if min(launches) <= 0:
        return Estimate(value, -math.inf, math.inf)
    logs = np.log(launches)
    return student(logs - logs.mean()).map(lambda log: value * exp(log))
