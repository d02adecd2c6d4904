"""A verdict that may be looked at after every launch: confidence sequences by betting.

For each value m that the true effect might have, bet on every launch's effect d lying above m: the stake grows by
1 + λ·z, with z the distance (d - m), scaled by the spread of the launches so far and clipped to ±1. If the effect is
no larger than m, no bet gains on average (the launches' noise is as likely to push up as down: roles and order are
drawn by lot), and the chance that the stake *ever* grows to 1/α is at most α (Ville 1939). How much is staked on a
launch may depend on whatever does not tell up from down: one that was measured badly counts for less.

The values m against which the stake has grown that far are excluded, and so are, by the mirror image, those that are
too high. What is left is an interval that holds at every look (Waudby-Smith and Ramdas 2024, "Estimating means of
bounded random variables by betting"; Howard, Ramdas, McAuliffe and Sekhon 2021 on confidence sequences).
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean

from bench.judge.statistics import Estimate

Floats: TypeAlias = NDArray[np.float64]

BETS = (0.3, 0.6, 0.98)
"""Shares of the stake: small ones gain from small effects, the largest at most doubles the stake with each launch."""
SCALE = 1.5
"""Of the spread, in standard deviations: what lies farther out counts no more."""
TO_DEVIATIONS = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""
_TRIMMED = 0.25
_LEAST_SPREAD = _LEAST_UNCERTAINTY = 1e-7
_HALVINGS = 40


class ConfidenceSequence:
    """An interval for the middle of a symmetric distribution, fed one value at a time.

    Args:
        error: the chance, at each end, that the end is ever on the wrong side of the truth.
    """

    def __init__(self, error: float) -> None:
        self._log_target = math.log(1 / error)
        self._values: list[float] = []
        self._uncertainties: list[float] = []
        self._weights: list[float] = []
        self._spreads: list[float] = []
        self._low, self._high = -math.inf, math.inf

    def add(self, value: float, uncertainty: float = 1.0) -> Estimate:
        """Another launch's value; the interval never widens.

        Args:
            uncertainty: of the value within its launch, such as a standard error; only its ratio to others' counts.
        """
        self._values.append(value)
        self._uncertainties.append(uncertainty)
        self._weights.append(_weight(np.array(self._uncertainties)))
        self._spreads.append(_spread(np.array(self._values), np.array(self._weights)))
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
        values, weights, spreads = sign * np.array(self._values), np.array(self._weights), np.array(self._spreads)
        farthest = float((spreads / weights).max())
        low, high = float(values.min()) - farthest, float(values.max()) + farthest
        if _log_stakes(values, weights, spreads, low)[-1] < self._log_target:
            return -math.inf
        for _ in range(_HALVINGS):  # the stake falls as m rises
            middle = (low + high) / 2
            if _log_stakes(values, weights, spreads, middle)[-1] >= self._log_target:
                low = middle
            else:
                high = middle
        return low


def _weight(uncertainties: Floats) -> float:
    """What the last of the launches counts: all where it was measured no worse than most, else in proportion less."""
    known = np.maximum(uncertainties, _LEAST_UNCERTAINTY)
    return min(1.0, float(np.median(known) / known[-1]))


def _spread(values: Floats, weights: Floats) -> float:
    """How far from m a weighted value lies that counts in full."""
    deviation = TO_DEVIATIONS * float(np.median(np.abs(weights * (values - np.median(values)))))
    return max(SCALE * deviation, _LEAST_SPREAD)


def _log_stakes(values: Floats, weights: Floats, spreads: Floats, m: float) -> Floats:
    """The logarithm of what a stake of 1, spread over the bets, has become after each of the launches."""
    z = weights * np.clip(weights * (values - m) / spreads, -1, 1)
    z[0] = 0.5 * np.sign(values[0] - m)  # of one value alone no spread is known
    logs = np.array([np.log1p(bet * z).cumsum() for bet in BETS])
    stakes: Floats = np.logaddexp.reduce(logs, axis=0) - math.log(len(BETS))
    return stakes


def ever_excludes(values: ArrayLike, m: float, error: float, uncertainties: ArrayLike | None = None) -> bool:
    """Whether a sequence fed with ``values``, one by one, ever excludes ``m`` as too low."""
    array = np.asarray(values, dtype=float)
    known = np.ones_like(array) if uncertainties is None else np.asarray(uncertainties, dtype=float)
    upto = [slice(n + 1) for n in range(len(array))]
    weights = np.array([_weight(known[part]) for part in upto])
    spreads = np.array([_spread(array[part], weights[part]) for part in upto])
    return bool((_log_stakes(array, weights, spreads, m) >= math.log(1 / error)).any())


def final_interval(values: Sequence[float], error: float, uncertainties: Sequence[float] | None = None) -> Estimate:
    """What a ``ConfidenceSequence`` comes to after all of ``values``."""
    sequence = ConfidenceSequence(error)
    for value, uncertainty in zip(values, uncertainties or [1.0] * len(values), strict=True):
        sequence.add(value, uncertainty)
    return sequence.estimate
