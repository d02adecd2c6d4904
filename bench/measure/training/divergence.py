"""The step at which training went astray."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.records.training import Divergence

EXPLODED = 10.0
"""Times what the first steps' losses were; so much on ``IN_A_ROW`` steps running is no outlier any more."""
IN_A_ROW = 3
FIRST = 5
"""Steps whose median loss is what training began with, unless the very first was larger: one batch may be lucky."""


@dataclass(frozen=True)
class Astray:
    """When, and how."""

    step: int
    how: Divergence


class Watch:
    """Hears the losses as they come."""

    def __init__(self) -> None:
        self._steps, self._high = 0, 0
        self._first: list[float] = []

    def hear(self, losses: Sequence[float]) -> Astray | None:
        """The first step of ``losses`` at which training has gone astray; None if it has not."""
        for loss in losses:
            step = self._steps
            self._steps += 1
            if math.isnan(loss):
                return Astray(step, "not a number")
            if math.isinf(loss):
                return Astray(step, "infinite")
            if len(self._first) < FIRST:
                self._first.append(abs(loss))
                continue
            began_with = max(self._first[0], median(self._first))
            self._high = self._high + 1 if abs(loss) > EXPLODED * began_with else 0
            if self._high == IN_A_ROW:
                return Astray(step - IN_A_ROW + 1, "exploded")
        return None
