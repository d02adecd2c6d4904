"""When a loop has trained enough: at its target, when quality no longer rises, or where it diverged.

The second is early stopping by patience (Prechelt, "Early Stopping - But When?", 1998). A rise counts only from a share
of all that was gained so far on, so that the rule needs no scale of its own.
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
    budget_seconds: float  # of training, for each seed of each case, its first steps left aside
    insists: bool = False
    """Whether a step that is none, and a workload without a target, are mistakes in what was asked. Otherwise such a
    step's case has failed, and such a workload's loops are compared with eager and no more."""


PATIENCE, PATIENCE_STEPS = 5, 50
"""Measurements of quality in a row without a rise that counts, and steps: an epoch may be a single one."""
COUNTS_FROM = 0.01  # the share of the gain since the untrained model that a rise must have to count


class EarlyStopping:
    """Hears of quality each time that it is measured; ``untrained`` is that before the first step."""

    def __init__(self, target: Target, until: Until, budget_seconds: float, untrained: float) -> None:
        self._target, self._until, self._budget = target, until, budget_seconds
        self._untrained = self._best = untrained
        self._best_step, self._waited = 0, 0
        self.converged_at_step: int | None = None

    def hear(self, step: int, seconds: float, quality: float) -> Ending | None:
        """Why training ends after ``step`` steps in ``seconds``; None where it goes on."""
        if math.isnan(self._untrained):  # nothing is known to have risen yet
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


EXPLODED = 10.0  # times what training began with; so much on ``IN_A_ROW`` steps running is no outlier any more
IN_A_ROW = 3
FIRST = 5  # steps whose losses tell what training began with
LUCKY = 1000.0  # how many times smaller than those after it a first loss may be by the luck of its batch
RISES = 1.5  # times the loss before, in each of the first steps: no luck, however small the first was


@dataclass(frozen=True)
class Diverged:
    step: int
    how: Divergence


class DivergenceDetector:
    """Hears the losses as they come."""

    def __init__(self) -> None:
        self._steps, self._high = 0, 0
        self._first: list[float] = []

    def hear(self, losses: Sequence[float]) -> Diverged | None:
        """The first step of ``losses`` at which training has gone diverged; None if it has not."""
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
    """The very first loss, or the median of the first few where its batch was a lucky one."""
    usual = median(first)
    rises = all(after > RISES * before for before, after in pairwise(first))
    is_luck = not rises and usual < LUCKY * first[0]
    return max(first[0], usual) if is_luck or not first[0] else first[0]
