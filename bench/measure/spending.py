"""Energy of steps: over a window long enough for a counter that is updated a few tens of times a second.

The window begins and ends where the counter moves. Between two of its updates it stands still, so that a window of any
other length would be off by up to one update at either end; as it still is where the steps between two looks at it take
as long as an update.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from loopmark.bench.measure.energy import EnergyMeter

WINDOW_SECONDS = 1.0
LEAST_WINDOW_SECONDS = 0.4
"""A window is shorter where several launches measure, so that a case spends about as long on energy however many."""
MOST_WINDOWS = 3
"""Of ``WINDOW_SECONDS``, until the counter has moved."""


@dataclass(frozen=True)
class Spent:
    """What some steps took."""

    steps: int
    seconds: float
    joules: float

    @property
    def joules_per_step(self) -> float | None:
        """None where nothing counts energy, or it did not move."""
        return self.joules / self.steps if self.steps and math.isfinite(self.joules) and self.joules > 0 else None


NOTHING = Spent(0, 0.0, math.nan)


def spend(
    take_steps: Callable[[], int],
    meter: EnergyMeter,
    window_seconds: float = WINDOW_SECONDS,
    now: Callable[[], float] = time.perf_counter,
) -> Spent:
    """Steps for about ``window_seconds``, from one move of the counter to another.

    Args:
        take_steps: some steps, done when it returns; how many they were.
    """
    if math.isnan(before := meter.joules()):
        return NOTHING
    begun = now()
    while meter.joules() == before:  # the steps until it moves do not count
        take_steps()
        if now() - begun > MOST_WINDOWS * window_seconds and meter.joules() == before:
            return NOTHING
    start, first, steps = now(), meter.joules(), 0
    while True:
        last = meter.joules()
        steps += take_steps()
        joules, seconds = meter.joules(), now() - start
        if seconds >= window_seconds and joules != last:
            return Spent(steps, seconds, joules - first)
        if seconds > MOST_WINDOWS * window_seconds:
            return NOTHING
