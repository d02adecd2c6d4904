"""The median of samples with its interval. Judging has the same method, and measuring may not know it."""

from collections.abc import Sequence
from statistics import median

import numpy as np
from scipy.special import bdtr

MISSES = 1 / 40
"""At each end: both together leave 95 %."""
LEAST_SAMPLES = 6
"""Fewer cannot bracket a median with 95 % confidence: five all lie on one side of it in 1 of 16 cases."""


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median of at least ``LEAST_SAMPLES`` values, and both ends of its interval.

    The ends are order statistics, which assume no distribution (Thompson 1936).
    """
    count = len(values)
    if count < LEAST_SAMPLES:
        raise ValueError(f"{count} values cannot bracket their median; it takes {LEAST_SAMPLES}")
    ordered = sorted(values)
    # The largest r for which the r-th value from either end misses the median seldom enough.
    rank = int(np.sum(bdtr(np.arange(count), count, 0.5) <= MISSES))
    return median(ordered), ordered[rank - 1], ordered[count - rank]
