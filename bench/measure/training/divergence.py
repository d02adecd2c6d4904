"""The step at which training went astray."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from loopmark.bench.records.training import Divergence

EXPLODED = 10.0
"""Times what training began with; so much on ``IN_A_ROW`` steps running is no outlier any more."""
IN_A_ROW = 3
FIRST = 5
"""Steps whose losses tell what training began with."""
LUCKY = 1000.0
"""How many times smaller than those after it a first loss may be by the luck of its batch."""
RISES = 1.5
"""Times the loss before, in each of the first steps: no luck, however small the first was."""


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
            heard = [(step, abs(loss))]
            if len(self._first) < FIRST:
                self._first.append(abs(loss))
                heard = list(enumerate(self._first)) if len(self._first) == FIRST else []
            for at, size in heard:
                self._high = self._high + 1 if size > EXPLODED * _began_with(self._first) else 0
                if self._high == IN_A_ROW:
                    return Astray(at - IN_A_ROW + 1, "exploded")
        return None


def _began_with(first: Sequence[float]) -> float:
    """The very first loss, or the median of the first few where its batch was a lucky one."""
    usual = median(first)
    rises = all(after > RISES * before for before, after in pairwise(first))
    is_luck = not rises and usual < LUCKY * first[0]
    return max(first[0], usual) if is_luck or not first[0] else first[0]
