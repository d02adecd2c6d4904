"""The step at which training went astray."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.records.training import Divergence

EXPLODED = 10.0
"""Times the first step's loss; so much on ``IN_A_ROW`` steps running is no outlier any more."""
IN_A_ROW = 3


@dataclass(frozen=True)
class Astray:
    """When, and how."""

    step: int
    how: Divergence


class Watch:
    """Hears the losses as they come."""

    def __init__(self) -> None:
        self._steps, self._high = 0, 0
        self._first: float | None = None

    def hear(self, losses: Sequence[float]) -> Astray | None:
        """The first step of ``losses`` at which training has gone astray; None if it has not."""
        for loss in losses:
            step = self._steps
            self._steps += 1
            if math.isnan(loss):
                return Astray(step, "not a number")
            if math.isinf(loss):
                return Astray(step, "infinite")
            if self._first is None:
                self._first = abs(loss)
            self._high = self._high + 1 if abs(loss) > EXPLODED * self._first else 0
            if self._high == IN_A_ROW:
                return Astray(step - IN_A_ROW + 1, "exploded")
        return None
