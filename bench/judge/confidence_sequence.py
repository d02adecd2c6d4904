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
width is each launch's own, from how badly it was measured, which does not tell up from down, and from how far off the
launches before it were.
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

BETS = (0.5, 1.0)  # the effects that are hoped for, in deviations of a typical launch
BEYOND = 1.5  # where the noise's density turns exponential, in deviations: what lies farther out counts no more
KEPT = 0.001  # of the stake, with each launch: what is left when a bet is lost
TO_DEVIATIONS = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
BELIEF, USUAL_EXCESS = 8, 1.2
"""Before there are values to judge by, their spread is taken for this many times what their uncertainties say (as seen
on shared cores), and counts as much as so many launches."""
_FEWEST = 2  # launches that show a spread at all
_TRIMMED = 0.25
_LEAST_SPREAD = _LEAST_UNCERTAINTY = 1e-7
_LUCKY = 1 / 3  # of the usual uncertainty: a launch that seems less uncertain was measured luckily, not so well
_HALVINGS = 40


class ConfidenceSequence:
    """An interval for the middle of a symmetric distribution; each end is ever wrong with a chance of ``error``."""

    def __init__(self, error: float) -> None:
        self._log_target = math.log(1 / error)
        self._values: list[float] = []
        self._uncertainties: list[float] = []
        self._told = True
        self._deviations: list[float] = []
        self._typical: list[float] = []
        self._low, self._high = -math.inf, math.inf

    def add(self, value: float, uncertainty: float | None = None) -> Estimate:
        """Another launch's value; the interval never widens.

        ``uncertainty`` is the value's standard error as the launch knows it, whatever the value's sign. All values have
        one, or none has.
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
        """Whether every value has been excluded: what is measured has changed meanwhile, and nothing bounds it."""
        return self._low > self._high

    def __len__(self) -> int:
        return len(self._values)

    def _bound(self, known: float, sign: float) -> float:
        """The largest m that has been excluded from below, of the values times ``sign``; ``known`` was one before."""
        values, deviations, typical = map(np.array, (self._values, self._deviations, self._typical))
        values = sign * values
        if math.isfinite(known) and _log_stakes(values, deviations, typical, known)[-1] < self._log_target:
            return known  # the stake falls as m rises
        widest = np.nan_to_num(deviations).max() + _LEAST_SPREAD
        farthest = (BEYOND + max(BETS)) * float(widest)  # there every bet gains its most
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
    """The standard deviation of the next launch's value about the truth, before that value is looked at.

    It is the value's own uncertainty, the last of ``uncertainties``, times how much farther from their middle the
    ``past`` values have been than theirs said; NaN where they are too few to say. It must not look at the value itself:
    a width that shrinks when the value lies where the others do would let a fair bet gain. Shapes are (..., n) of
    ``past``, (..., n + 1) of ``uncertainties``, which has the next one's, and (...) of the answer. ``told``
    uncertainties are standard errors, to be believed until the values say otherwise.
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
    """The median of each sequence along the last axis, which stays as an axis of one."""
    order = np.argsort(values, axis=-1)
    shares = np.take_along_axis(weights / weights.max(axis=-1, keepdims=True), order, axis=-1).cumsum(axis=-1)
    half = shares[..., -1:] / 2
    halves = np.stack([(shares < half).sum(axis=-1), (shares <= half).sum(axis=-1)], axis=-1)
    middle = np.take_along_axis(np.take_along_axis(values, order, axis=-1), halves, axis=-1)
    return np.asarray(middle.mean(axis=-1, keepdims=True))


def _typical(deviations: Floats) -> Floats:
    """The median of the deviations so far, along the last axis; NaN while none is known."""
    blind = int(np.isnan(deviations).sum(axis=-1).max(initial=0))  # launches without one, the first of every sequence
    known = deviations[..., blind:]
    return np.median(known, axis=-1) if known.shape[-1] else np.full(deviations.shape[:-1], np.nan)


def _huber(x: Floats) -> Floats:
    """Minus the logarithm of Huber's density, but for a constant."""
    far = np.abs(x)
    return np.where(far <= BEYOND, far**2 / 2, BEYOND * far - BEYOND**2 / 2)


def _log_stakes(values: Floats, deviations: Floats, typical: Floats, m: float) -> Floats:
    """The logarithm of what a stake of 1, spread over the bets, has become after each of the launches.

    ``values``, (..., launches), have deviations and those ``typical`` by then; both NaN where none is known.
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
    """Whether sequences of ``values``, (..., launches), fed one by one, ever exclude ``m`` as too low. (...)"""
    array, told = np.asarray(values, dtype=float), uncertainties is not None
    known = np.ones_like(array) if uncertainties is None else np.asarray(uncertainties, dtype=float)
    launches = range(array.shape[-1])
    deviations = np.stack([_deviation(array[..., :n], known[..., : n + 1], told=told) for n in launches], axis=-1)
    typical = np.stack([_typical(deviations[..., : n + 1]) for n in launches], axis=-1)
    excluded: NDArray[np.bool_] = np.any(_log_stakes(array, deviations, typical, m) >= math.log(1 / error), axis=-1)
    return excluded


def final_interval(values: Sequence[float], error: float, uncertainties: Sequence[float] | None = None) -> Estimate:
    """What a ``ConfidenceSequence`` comes to after all of ``values``."""
    sequence = ConfidenceSequence(error)
    for value, uncertainty in zip(values, uncertainties or repeat(None, len(values)), strict=True):
        sequence.add(value, uncertainty)
    return sequence.estimate
