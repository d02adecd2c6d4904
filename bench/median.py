"""The median of samples with its interval: the only statistic that both measuring and judging need."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

LEAST_SAMPLES = 6  # fewer cannot bracket a median with 95 % confidence: all of 5 lie on one side in 1 of 16 cases


def median_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """The median, and both ends of its order-statistic interval, which assumes no distribution (Thompson 1936).

    The ends are infinite if there are too few values for the confidence.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    count, middle = len(ordered), float(np.median(ordered)) if len(ordered) else math.nan
    # The largest rank from either end that misses the median with a chance of at most (1 - confidence) / 2.
    rank = int(np.sum(bdtr(np.arange(count), count, 0.5) <= (1 - confidence) / 2))
    if rank == 0:
        return middle, -math.inf, math.inf
    return middle, float(ordered[rank - 1]), float(ordered[count - rank])
