"""A verdict that may be looked at after every launch: confidence sequences by betting.

For each value m that the true effect might have, bet on every launch's effect d lying above m: the stake grows by
1 + λ·z, with z the distance (d - m), scaled by the spread of the launches so far and clipped to ±1. If the effect is
no larger than m, no bet gains on average (the launches' noise is as likely to push up as down: roles and order are
drawn by lot), and the chance that the stake *ever* grows to 1/α is at most α (Ville 1939). The values m against which
it has grown that far are excluded, and so are, by the mirror image, those that are too high. What is left is an
interval that holds at every look (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting"; Howard, Ramdas, McAuliffe and Sekhon 2021 on confidence sequences).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

from bench.judge.statistics import Estimate

BETS = (0.3, 0.6, 0.98)
"""Shares of the stake: small ones gain from small effects, the largest at most doubles the stake with each launch."""
SCALE = 1.5
"""Of the spread, in standard deviations: what lies farther out counts no more."""
_TO_DEVIATIONS = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""
_TRIMMED = 0.25
_LEAST_SPREAD = 1e-7
_HALVINGS = 40


class ConfidenceSequence:
    """An interval for the middle of a symmetric distribution, fed one value at a time.

    Args:
        error: the chance, at each end, that the end is ever on the wrong side of the truth.
    """

    def __init__(self, error: float) -> None:
        self._log_target = math.log(1 / error)
        self._values: list[float] = []
        self._spreads: list[float] = []
        self._low, self._high = -math.inf, math.inf

    def add(self, value: float) -> Estimate:
        """Another launch's value; the interval never widens."""
        self._values.append(value)
        self._spreads.append(_spread(np.array(self._values)))
        self._low = max(self._low, self._bound(1.0))
        self._high = min(self._high, -self._bound(-1.0))
        return self.estimate

    @property
    def estimate(self) -> Estimate:
        """The mean of the middle half of the values so far, with the interval."""
        middle = float(trim_mean(self._values, _TRIMMED)) if self._values else math.nan
        return Estimate(min(max(middle, self._low), self._high), self._low, self._high)

    def __len__(self) -> int:
        return len(self._values)

    def _bound(self, sign: float) -> float:
        """The largest m that is excluded from below, of the values times ``sign``."""
        values, spreads = sign * np.array(self._values), np.array(self._spreads)
        low, high = float(values.min()) - float(spreads.max()), float(values.max()) + float(spreads.max())
        if _log_stake(values, spreads, low) < self._log_target:
            return -math.inf
        for _ in range(_HALVINGS):  # the stake falls as m rises
            middle = (low + high) / 2
            if _log_stake(values, spreads, middle) >= self._log_target:
                low = middle
            else:
                high = middle
        return low


def _spread(values: NDArray[np.float64]) -> float:
    """How far from m a value lies that counts in full."""
    deviation = _TO_DEVIATIONS * float(np.median(np.abs(values - np.median(values))))
    return max(SCALE * deviation, _LEAST_SPREAD)


def _log_stake(values: NDArray[np.float64], spreads: NDArray[np.float64], m: float) -> float:
    """The logarithm of what a stake of 1, spread over the bets, has become."""
    z = np.clip((values - m) / spreads, -1, 1)
    z[0] = 0.5 * np.sign(values[0] - m)  # of one value alone no spread is known
    logs = np.array([np.log1p(bet * z).sum() for bet in BETS])
    return float(np.logaddexp.reduce(logs) - math.log(len(BETS)))


def ever_excludes(values: Sequence[float] | NDArray[np.float64], m: float, error: float) -> bool:
    """Whether a sequence fed with ``values``, one by one, ever excludes ``m`` as too low."""
    array = np.asarray(values, dtype=float)
    spreads = np.array([_spread(array[: n + 1]) for n in range(len(array))])
    z = np.clip((array - m) / spreads, -1, 1)
    z[:1] = 0.5 * np.sign(array[:1] - m)
    logs = np.array([np.cumsum(np.log1p(bet * z)) for bet in BETS])
    return bool((np.logaddexp.reduce(logs, axis=0) - math.log(len(BETS)) >= math.log(1 / error)).any())


def final_interval(values: Sequence[float], error: float) -> Estimate:
    """What a ``ConfidenceSequence`` comes to after all of ``values``."""
    sequence = ConfidenceSequence(error)
    for value in values:
        sequence.add(value)
    return sequence.estimate
