"""A verdict that may be looked at after every launch: confidence sequences by betting.

For each value m that the true effect might have, bet on every launch's effect d lying above m. If the effect is no
larger than m, no bet gains on average (the launches' noise is as likely to push up as down: roles and order are drawn
by lot), and the chance that the stake *ever* grows to 1/α is at most α (Ville 1939). The values m against which it has
grown that far are excluded, and so are, by the mirror image, those that are too high. What is left is an interval that
holds at every look (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"; Howard,
Ramdas, McAuliffe and Sekhon 2021 on confidence sequences).

A bet multiplies the stake by 2 f(x - δ) / (f(x - δ) + f(x + δ)), with x the distance d - m, δ the effect that it hopes
for and f the density of the noise: of the bets that are fair whichever way the noise pushes, the one whose stake grows
fastest if δ is true (Kelly 1956; Grünwald, de Heide and Koolen 2024, "Safe testing"). f is Huber's, normal in the
middle and exponential beyond, so that a launch that went astray counts no more than one on the brink (Huber 1964). Its
width is each launch's own: how badly it was measured does not tell up from down, and may decide how much it counts.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean

from bench.judge.statistics import Estimate

Floats: TypeAlias = NDArray[np.float64]

BETS = (0.5, 1.0)
"""The effects that are hoped for, in deviations of a typical launch."""
BEYOND = 1.5
"""Where the noise's density turns exponential, in deviations: what lies farther out counts no more."""
KEPT = 0.001
"""Of the stake, with each launch: what is left when a bet is lost."""
TO_DEVIATIONS = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""
_TRIMMED = 0.25
_LEAST_SPREAD = _LEAST_UNCERTAINTY = 1e-7
_LUCKY = 1 / 3
"""Of the usual uncertainty: a launch that seems less uncertain than that was measured luckily, not so well."""
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
        self._deviations: list[float] = []
        self._typical: list[float] = []
        self._low, self._high = -math.inf, math.inf

    def add(self, value: float, uncertainty: float = 1.0) -> Estimate:
        """Another launch's value; the interval never widens.

        Args:
            uncertainty: of the value within its launch, such as a standard error; only its ratio to others' counts.
        """
        self._values.append(value)
        self._uncertainties.append(uncertainty)
        self._deviations.append(_deviation(np.array(self._values), np.array(self._uncertainties)))
        self._typical.append(float(np.median(self._deviations)))
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
        values, deviations, typical = map(np.array, (self._values, self._deviations, self._typical))
        values = sign * values
        farthest = BEYOND * deviations.max() + max(BETS) * typical.max()  # there every bet gains its most
        low, high = float(values.min() - farthest), float(values.max() + farthest)
        if _log_stakes(values, deviations, typical, low)[-1] < self._log_target:
            return -math.inf
        for _ in range(_HALVINGS):  # the stake falls as m rises
            middle = (low + high) / 2
            if _log_stakes(values, deviations, typical, middle)[-1] >= self._log_target:
                low = middle
            else:
                high = middle
        return low


def _deviation(values: Floats, uncertainties: Floats) -> float:
    """The standard deviation of the last launch's value about the truth.

    It is the value's own uncertainty, times how much farther from their middle the values have been than theirs said.
    """
    known = np.maximum(uncertainties, _LEAST_UNCERTAINTY)
    known = np.maximum(known, _LUCKY * np.median(known))
    order = np.argsort(values)
    shares = (known.min() / known[order]).cumsum()
    halves = [np.searchsorted(shares, shares[-1] / 2, side) for side in ("left", "right")]
    middle = values[order][halves].mean()
    excess = TO_DEVIATIONS * float(np.median(np.abs(values - middle) / known))
    return max(excess * float(known[-1]), _LEAST_SPREAD)


def _huber(x: Floats) -> Floats:
    """Minus the logarithm of Huber's density, but for a constant."""
    far = np.abs(x)
    return np.where(far <= BEYOND, far**2 / 2, BEYOND * far - BEYOND**2 / 2)


def _log_stakes(values: Floats, deviations: Floats, typical: Floats, m: float) -> Floats:
    """The logarithm of what a stake of 1, spread over the bets, has become after each of the launches.

    Each of ``values`` has its deviation, and the deviation that had been ``typical`` by then.
    """
    x, logs = (values - m) / deviations, []
    for bet in BETS:
        hoped = bet * typical / deviations
        gains = (1 - KEPT) * np.tanh((_huber(x + hoped) - _huber(x - hoped)) / 2)
        gains[0] = 0.5 * np.sign(x[0])  # of one value alone no deviation is known
        logs.append(np.log1p(gains).cumsum())
    stakes: Floats = np.logaddexp.reduce(np.array(logs), axis=0) - math.log(len(BETS))
    return stakes


def ever_excludes(values: ArrayLike, m: float, error: float, uncertainties: ArrayLike | None = None) -> bool:
    """Whether a sequence fed with ``values``, one by one, ever excludes ``m`` as too low."""
    array, known = _paired(values, uncertainties)
    upto = [slice(n + 1) for n in range(len(array))]
    deviations = np.array([_deviation(array[part], known[part]) for part in upto])
    typical = np.array([np.median(deviations[part]) for part in upto])
    return bool((_log_stakes(array, deviations, typical, m) >= math.log(1 / error)).any())


def final_interval(values: Sequence[float], error: float, uncertainties: Sequence[float] | None = None) -> Estimate:
    """What a ``ConfidenceSequence`` comes to after all of ``values``."""
    sequence = ConfidenceSequence(error)
    for value, uncertainty in zip(*_paired(values, uncertainties), strict=True):
        sequence.add(float(value), float(uncertainty))
    return sequence.estimate


def _paired(values: ArrayLike, uncertainties: ArrayLike | None) -> tuple[Floats, Floats]:
    array = np.asarray(values, dtype=float)
    return array, np.ones_like(array) if uncertainties is None else np.asarray(uncertainties, dtype=float)
