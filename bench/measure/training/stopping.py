"""The end of a loop's training: at its target, when quality stops rising, or when it diverges.

The second rule is early stopping by patience (Prechelt, "Early Stopping - But When?", 1998). A rise counts only if it
is at least a given share of the whole gain so far, so that the rule does not depend on the metric's scale.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from loopmark.bench.records.training import Divergence, Ending, Target, Until


@dataclass(frozen=True)
class Terms:
    seeds: int
    until: Until
    budget_seconds: float  # training time for each seed of each case, without its first steps
    insists: bool = False
    """True to raise BadInput for a bad step, or for a workload without a target. If False, a bad step's case fails,
    and the loops of such a workload are compared with the baseline but not trained."""


PATIENCE, PATIENCE_STEPS = 5, 50
"""Measurements in a row without a rise that counts, and the least steps, since an epoch may be a single step."""
COUNTS_FROM = 0.01  # the share of the gain since the untrained model that a rise must have to count


class EarlyStopping:
    """Decides when to stop, from each measured quality; ``untrained`` is the quality before the first step."""

    def __init__(self, target: Target, until: Until, budget_seconds: float, untrained: float) -> None:
        self._target, self._until, self._budget = target, until, budget_seconds
        self._untrained = self._best = untrained
        self._best_step, self._waited = 0, 0
        self.converged_at_step: int | None = None

    def hear(self, step: int, seconds: float, quality: float) -> Ending | None:
        """The reason why training ends after ``step`` steps in ``seconds``; None if it continues."""
        if math.isnan(self._untrained):  # the first known quality is the start
            self._untrained = self._best = quality
        gained = self._target.gain(self._untrained, self._best)
        if self._target.gain(self._best, quality) > COUNTS_FROM * max(0.0, gained):
            self._best, self._best_step, self._waited = quality, step, 0
        else:
            self._waited += 1
        if self._until == "target" and self._target.is_met(quality):
            return "reached the target"
        if self._waited >= PATIENCE and step - self._best_step >= PATIENCE_STEPS and self._best_step > 0:
            self.converged_at_step = self._best_step
            return "converged"
        return "spent its budget" if seconds >= self._budget else None


EXPLODED = 10.0  # times the initial loss; ``IN_A_ROW`` steps in a row above this limit are a divergence
IN_A_ROW = 3
FIRST = 5  # number of first losses that give the initial loss
LUCKY = 1000.0  # a lucky batch may make the first loss smaller than later ones by up to this factor
RISES = 1.5  # if each of the first losses is above this factor times the last one, luck does not explain it


@dataclass(frozen=True)
class Diverged:
    step: int
    how: Divergence


class DivergenceDetector:
    """Detects divergence from the losses, in their order."""

    def __init__(self) -> None:
        self._steps, self._high = 0, 0
        self._first: list[float] = []

    def hear(self, losses: Sequence[float]) -> Diverged | None:
        """The first step of ``losses`` at which training has diverged; None if it has not."""
        for loss in losses:
            step = self._steps
            self._steps += 1
            if math.isnan(loss):
                return Diverged(step, "not a number")
            if math.isinf(loss):
                return Diverged(step, "infinite")
            heard = [(step, abs(loss))]
            if len(self._first) < FIRST:
                self._first.append(abs(loss))
                heard = list(enumerate(self._first)) if len(self._first) == FIRST else []
            for at, size in heard:
                self._high = self._high + 1 if size > EXPLODED * _began_with(self._first) else 0
                if self._high == IN_A_ROW:
                    return Diverged(at - IN_A_ROW + 1, "exploded")
        return None


def _began_with(first: Sequence[float]) -> float:
    """The initial loss: the first one, or the median of the first few if its batch was lucky."""
    usual = median(first)
    rises = all(after > RISES * before for before, after in pairwise(first))
    is_luck = not rises and usual < LUCKY * first[0]
    return max(first[0], usual) if is_luck or not first[0] else first[0]
