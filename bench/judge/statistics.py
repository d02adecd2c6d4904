"""Intervals: each function is one textbook method, with its source."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from loopmark.bench.median import median_interval

CONFIDENCE = 0.95
LARGEST_LOG = 700.0
MEDIAN_ERROR = math.sqrt(math.pi / 2)  # standard error of the median over that of the mean, for a normal sample


def exp(value: float) -> float:
    """e to the power of ``value``; infinite if too large for a float; NaN for NaN."""
    return math.inf if value >= LARGEST_LOG else math.exp(value)


def finite(value: float | None) -> float | None:
    """``value``, or None where it is NaN or infinite, which JSON and spreadsheets cannot hold."""
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Estimate:
    """A value and its interval, in the value's unit: 95 % unless stated otherwise."""

    value: float
    low: float
    high: float

    def map(self, function: Callable[[float], float]) -> "Estimate":
        """The estimate of a monotonic function of the value; its interval's ends are in ascending order."""
        low, high = sorted((function(self.low), function(self.high)))
        return Estimate(function(self.value), low, high)

    def exp(self) -> "Estimate":
        """The estimate of a ratio from that of its logarithm."""
        return self.map(exp)

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    @property
    def reach(self) -> float:
        """The largest distance from zero within the interval."""
        return max(abs(self.low), abs(self.high))


def t_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Half the width of Student's t interval, in standard errors."""
    return float(stdtrit(freedom, (1 + confidence) / 2))


def student(values: ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """The mean of independent values with Student's t interval (Student 1908), infinite for a single value."""
    sample = np.asarray(values, dtype=float)
    count, mean = len(sample), float(np.mean(sample))
    if count < 2:
        return Estimate(mean, -math.inf, math.inf)
    half = t_quantile(count - 1, confidence) * float(np.std(sample, ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half)


def welch(values: ArrayLike, baseline: ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """The mean of ``values`` minus that of ``baseline``, with different spreads (Welch 1947; Satterthwaite 1946).

    The interval is infinite if either side has a single value.
    """
    samples = [np.asarray(side, dtype=float) for side in (values, baseline)]
    difference = float(np.mean(samples[0]) - np.mean(samples[1]))
    if min(map(len, samples)) < 2:
        return Estimate(difference, -math.inf, math.inf)
    variances = [float(np.var(sample, ddof=1)) / len(sample) for sample in samples]
    variance = sum(variances)
    if variance == 0:
        return Estimate(difference, difference, difference)
    # As shares of the sum, since the squares of variances as small as 1e-170 would be zero.
    freedom = 1 / sum((part / variance) ** 2 / (len(s) - 1) for part, s in zip(variances, samples, strict=True))
    half = t_quantile(freedom, confidence) * math.sqrt(variance)
    return Estimate(difference, difference - half, difference + half)


def median(values: ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """The median with the interval of ``median_interval``: infinite for too few values."""
    return Estimate(*median_interval(values, confidence))


def falls(values: ArrayLike) -> float:
    """The probability that values without a trend fall this steadily, by Spearman's rank correlation with their order.

    One-sided, by Student's t approximation (Zar, "Significance Testing of the Spearman Rank Correlation Coefficient",
    1972). It is 1 for fewer than four values, and if one is NaN.
    """
    sample = np.asarray(values, dtype=float)
    count = len(sample)
    if count < 4 or np.isnan(sample).any() or (sample == sample[0]).all():
        return 1.0
    correlation = float(np.corrcoef(np.arange(count), pd.Series(sample).rank())[0, 1])
    if correlation <= -1:
        return 0.0
    return float(stdtr(count - 2, correlation * math.sqrt((count - 2) / (1 - min(correlation**2, 1 - 1e-15)))))
