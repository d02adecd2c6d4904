"""When a loop has trained enough: at its target, or when quality no longer rises.

The second is early stopping by patience (Prechelt, "Early Stopping - But When?", 1998). A rise counts only from a share
of all that was gained so far on, so that the rule needs no scale of its own.
"""

import math

from loopmark.bench.records.training import Ending, Target, Until

PATIENCE, PATIENCE_STEPS = 5, 50
"""Measurements of quality in a row without a rise that counts, and steps: an epoch may be a single one."""
COUNTS_FROM = 0.01
"""The share of the gain since the untrained model that a rise must have to count."""


class Stopping:
    """Hears of quality each time that it is measured.

    Args:
        target: what is to be reached.
        until: whether the target is enough.
        budget_seconds: of training.
        untrained: the quality before the first step.
    """

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
