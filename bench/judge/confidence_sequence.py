"""A verdict that can be read after every launch: confidence sequences by betting.

For each possible value m of the true effect, bet that every launch's effect d lies above m. If the true effect is at
most m, no bet gains on average, since roles and order are random and so noise pushes up or down with equal chance.
Then the chance that the stake *ever* grows to 1/α is at most α (Ville 1939). Values m for which it has grown that far
are excluded as too low; the mirror image excludes those that are too high. The rest is an interval that holds at every
look (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"; Howard, Ramdas,
McAuliffe and Sekhon 2021 on confidence sequences).

A bet multiplies the stake by 2 f(x - δ) / (f(x - δ) + f(x + δ)), where x is the distance d - m, δ the effect that it
expects and f the density of the noise. Among the bets that are fair for symmetric noise, its stake grows fastest if δ
is true (Kelly 1956; Grünwald, de Heide and Koolen 2024, "Safe testing"). f is Huber's density, normal in the middle
and exponential beyond, so that an outlier counts no more than a value at the edge (Huber 1964). Each launch has its
own width, from its measurement uncertainty, which has no sign, and from the errors of the launches before it.
"""

import math
from collections.abc import Sequence
from itertools import repeat
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean

from loopmark.bench.judge.statistics import Estimate

Floats: TypeAlias = NDArray[np.float64]

BETS = (0.5, 1.0)  # the expected effects, in deviations of a typical launch
BEYOND = 1.5  # deviations from which on the noise's density is exponential, so that farther values count no more
KEPT = 0.001  # share of the stake that remains when a bet is lost
TO_DEVIATIONS = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
BELIEF, USUAL_EXCESS = 8, 1.2
"""The prior of the spread: ``USUAL_EXCESS`` times the launches' uncertainties, as seen on shared cores, with the weight
of ``BELIEF`` launches."""
_FEWEST = 2  # launches needed for a spread
_TRIMMED = 0.25
_LEAST_SPREAD = _LEAST_UNCERTAINTY = 1e-7
_LUCKY = 1 / 3  # of the usual uncertainty, as the minimum: a smaller one is luck, not a better measurement
_HALVINGS = 40


class ConfidenceSequence:
    """An interval for the middle of a symmetric distribution; ``error`` is the chance that an end is ever wrong."""

    def __init__(self, error: float) -> None:
        self._log_target = math.log(1 / error)
        self._values: list[float] = []
        self._uncertainties: list[float] = []
        self._told = True
        self._deviations: list[float] = []
        self._typical: list[float] = []
        self._low, self._high = -math.inf, math.inf

    def add(self, value: float, uncertainty: float | None = None) -> Estimate:
        """Add a launch's value. The interval never widens.

        ``uncertainty`` is the value's standard error within the launch, independent of the value's sign. Either all
        values have one, or none has.
        """
        self._told = self._told and uncertainty is not None
        self._uncertainties.append(1.0 if uncertainty is None else uncertainty)
        past = np.array(self._values)
        self._deviations.append(float(_deviation(past, np.array(self._uncertainties), told=self._told)))
        self._typical.append(float(_typical(np.array(self._deviations))))
        self._values.append(value)
        self._low, self._high = self._bound(self._low, 1.0), -self._bound(-self._high, -1.0)
        return self.estimate

    @property
    def estimate(self) -> Estimate:
        """The mean of the middle half of the values so far, with the interval."""
        middle = float(trim_mean(self._values, _TRIMMED)) if self._values else math.nan
        if self.torn:
            return Estimate(middle, -math.inf, math.inf)
        return Estimate(min(max(middle, self._low), self._high), self._low, self._high)

    @property
    def torn(self) -> bool:
        """True if every value is excluded: the effect changed during the measurement, so there is no interval."""
        return self._low > self._high

    def __len__(self) -> int:
        return len(self._values)

    def _bound(self, known: float, sign: float) -> float:
        """The largest m excluded as too low, for the values times ``sign``; ``known`` is the previous one."""
        values, deviations, typical = map(np.array, (self._values, self._deviations, self._typical))
        values = sign * values
        if math.isfinite(known) and _log_stakes(values, deviations, typical, known)[-1] < self._log_target:
            return known  # the stake falls with rising m
        widest = np.nan_to_num(deviations).max() + _LEAST_SPREAD
        farthest = (BEYOND + max(BETS)) * float(widest)  # at this distance every bet gains its maximum
        low, high = float(values.min()) - farthest, float(values.max()) + farthest
        if _log_stakes(values, deviations, typical, low)[-1] < self._log_target:
            return known
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if _log_stakes(values, deviations, typical, middle)[-1] >= self._log_target:
                low = middle
            else:
                high = middle
        return max(known, low)


def _deviation(past: Floats, uncertainties: Floats, *, told: bool) -> Floats:
    """The standard deviation of the next launch's value about the truth, without using that value.

    It is the value's own uncertainty, the last of ``uncertainties``, times the factor by which the ``past`` values
    deviated more from their middle than their uncertainties predict; NaN if there are too few. It must not use the
    value itself: a width that shrinks when the value lies near the others would let a fair bet gain. Shapes: ``past``
    (..., n), ``uncertainties`` (..., n + 1) with the next one, result (...). ``told`` uncertainties are standard
    errors, used until the values contradict them.
    """
    known = np.maximum(uncertainties, _LEAST_UNCERTAINTY)
    known = np.maximum(known, _LUCKY * np.median(known, axis=-1, keepdims=True))
    if past.shape[-1] < _FEWEST and not told:
        return np.full(past.shape[:-1], np.nan)
    excess = np.full((*past.shape[:-1], BELIEF if told else 0), USUAL_EXCESS)
    if past.shape[-1]:
        off = np.abs(past - _weighted_median(past, 1 / known[..., :-1])) / known[..., :-1]
        excess = np.concatenate([excess, TO_DEVIATIONS * off], axis=-1)
    deviation: Floats = np.maximum(np.median(excess, axis=-1) * known[..., -1], _LEAST_SPREAD)
    return deviation


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    """The weighted median of each sequence along the last axis, which is kept with length 1."""
    order = np.argsort(values, axis=-1)
    shares = np.take_along_axis(weights / weights.max(axis=-1, keepdims=True), order, axis=-1).cumsum(axis=-1)
    half = shares[..., -1:] / 2
    halves = np.stack([(shares < half).sum(axis=-1), (shares <= half).sum(axis=-1)], axis=-1)
    middle = np.take_along_axis(np.take_along_axis(values, order, axis=-1), halves, axis=-1)
    return np.asarray(middle.mean(axis=-1, keepdims=True))


def _typical(deviations: Floats) -> Floats:
    """The median of the deviations so far, along the last axis; NaN if none is known."""
    blind = int(np.isnan(deviations).sum(axis=-1).max(initial=0))  # launches without one, at each start
    known = deviations[..., blind:]
    return np.median(known, axis=-1) if known.shape[-1] else np.full(deviations.shape[:-1], np.nan)


def _huber(x: Floats) -> Floats:
    """Minus the logarithm of Huber's density, up to a constant."""
    far = np.abs(x)
    return np.where(far <= BEYOND, far**2 / 2, BEYOND * far - BEYOND**2 / 2)


def _log_stakes(values: Floats, deviations: Floats, typical: Floats, m: float) -> Floats:
    """The logarithm of a stake of 1, divided among the bets, after each launch.

    ``values`` (..., launches) have their deviations and the ``typical`` ones so far; both are NaN if unknown.
    """
    blind = np.isnan(deviations)
    x, logs = (values - m) / deviations, []
    for bet in BETS:
        hoped = bet * typical / deviations
        gains = (1 - KEPT) * np.tanh((_huber(x + hoped) - _huber(x - hoped)) / 2)
        logs.append(np.log1p(np.where(blind, 0.5 * np.sign(values - m), gains)).cumsum(axis=-1))
    stakes: Floats = np.logaddexp.reduce(np.array(logs), axis=0) - math.log(len(BETS))
    return stakes


def ever_excludes(
    values: ArrayLike, m: float, error: float, uncertainties: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """True if a sequence of ``values`` (..., launches), added one by one, ever excludes ``m`` as too low. (...)"""
    array, told = np.asarray(values, dtype=float), uncertainties is not None
    known = np.ones_like(array) if uncertainties is None else np.asarray(uncertainties, dtype=float)
    launches = range(array.shape[-1])
    deviations = np.stack([_deviation(array[..., :n], known[..., : n + 1], told=told) for n in launches], axis=-1)
    typical = np.stack([_typical(deviations[..., : n + 1]) for n in launches], axis=-1)
    excluded: NDArray[np.bool_] = np.any(_log_stakes(array, deviations, typical, m) >= math.log(1 / error), axis=-1)
    return excluded


def final_interval(values: Sequence[float], error: float, uncertainties: Sequence[float] | None = None) -> Estimate:
    """The estimate of a ``ConfidenceSequence`` after all of ``values``."""
    sequence = ConfidenceSequence(error)
    for value, uncertainty in zip(values, uncertainties or repeat(None, len(values)), strict=True):
        sequence.add(value, uncertainty)
    return sequence.estimate
