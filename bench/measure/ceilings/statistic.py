"""The median of samples with its interval. Judging has the same method, and measuring may not know it."""

import math
from collections.abc import Sequence
from statistics import median

CONFIDENCE = 0.95
LEAST_SAMPLES = 6
"""Fewer cannot bracket a median with 95 % confidence: all five lie on one side of it in 1 of 16 cases."""


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median of at least ``LEAST_SAMPLES`` values, and both ends of its interval.

    The ends are order statistics, which assume no distribution (Thompson 1936).
    """
    count = len(values)
    if count < LEAST_SAMPLES:
        raise ValueError(f"{count} values cannot bracket their median; it takes {LEAST_SAMPLES}")
    ordered = sorted(values)
    rank = _outermost(count)
    return median(ordered), ordered[rank - 1], ordered[count - rank]


def _outermost(count: int) -> int:
    """The largest r for which the r-th value from either end misses the median with at most (1-confidence)/2."""
    allowed, missed, rank = (1 - CONFIDENCE) / 2 * 2**count, 0, 0
    while (missed := missed + math.comb(count, rank)) <= allowed:
        rank += 1
    return rank
