"""When is a loop warm? When its steps have stopped getting faster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

WINDOW = 5
"""Steps whose median is one look; two looks side by side decide."""
STILL_FASTER = 0.95
"""A look this much below the one before it says that steps are still getting faster."""
AT_LEAST_SECONDS = 0.2
"""A handful of microsecond steps says nothing: clocks are still rising and pages still arriving."""


@dataclass(frozen=True)
class WarmUp:
    """The steps that are kept apart, each timed to its end, and whether they became steady."""

    seconds: tuple[float, ...]
    steady: bool

    @property
    def steady_step_seconds(self) -> float:
        """The median of the last few steps."""
        return median(self.seconds[-WINDOW:])

    @property
    def excess_seconds(self) -> float:
        """What the steps took beyond as many steady ones: compilation, autotuning, first touches."""
        return max(0.0, sum(self.seconds) - len(self.seconds) * self.steady_step_seconds)


def is_steady(seconds: Sequence[float]) -> bool:
    """Whether the last few steps are no faster than the few before them, the very first step left aside."""
    if len(seconds) < 2 * WINDOW + 1 or sum(seconds[1:]) < AT_LEAST_SECONDS:
        return False
    before, now = median(seconds[-2 * WINDOW : -WINDOW]), median(seconds[-WINDOW:])
    return now >= STILL_FASTER * before


def warm_up(take_step: Callable[[], float], ceiling_seconds: float) -> WarmUp:
    """Take steps until they are steady, or until ``ceiling_seconds`` have gone by since the first one ended.

    Args:
        take_step: does one step to its end and returns its seconds.
        ceiling_seconds: counted from the end of the first step, which may compile for minutes.
    """
    seconds = [take_step()]
    while not is_steady(seconds):
        if len(seconds) > WINDOW and sum(seconds[1:]) >= ceiling_seconds:
            return WarmUp(tuple(seconds), steady=False)
        seconds.append(take_step())
    return WarmUp(tuple(seconds), steady=True)
