"""Warm-up: steps taken until their times are steady."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from loopmark.bench.records.run import Case

WINDOW = 5  # steps in a window; the medians of two successive windows are compared
STILL_FASTER = 0.95  # steps are still getting faster where a median is below this share of the previous one
AT_LEAST_SECONDS = 0.2  # a few microsecond steps are too short: clocks still rise and pages are still loaded


@dataclass(frozen=True)
class WarmUp:
    """The warm-up steps, each timed to its end; ``steady`` is False where they never became steady."""

    seconds: tuple[float, ...]
    steady: bool

    @property
    def steady_step_seconds(self) -> float:
        return median(self.seconds[-WINDOW:])

    @property
    def excess_seconds(self) -> float:
        """Seconds beyond the same number of steady steps: compilation, autotuning, first memory accesses."""
        return max(0.0, sum(self.seconds) - len(self.seconds) * self.steady_step_seconds)


def is_steady(seconds: Sequence[float]) -> bool:
    """True if the last window's steps are no faster than the previous window's. The first step is ignored."""
    if len(seconds) < 2 * WINDOW + 1 or sum(seconds[1:]) < AT_LEAST_SECONDS:
        return False
    before, now = median(seconds[-2 * WINDOW : -WINDOW]), median(seconds[-WINDOW:])
    return now >= STILL_FASTER * before


def warm_up(take_step: Callable[[], float], ceiling_seconds: float) -> WarmUp:
    """Take steps until they are steady, or until ``ceiling_seconds`` after the end of the first step.

    ``take_step`` completes one step and returns its seconds. The first may compile for minutes.
    """
    seconds = [take_step()]
    while not (steady := is_steady(seconds)) and (len(seconds) <= WINDOW or sum(seconds[1:]) < ceiling_seconds):
        seconds.append(take_step())
    return WarmUp(tuple(seconds), steady)


def unsteady(cases: Iterable[Case], ceiling_seconds: float) -> list[str]:
    """A warning for each case whose steps were still getting faster at the end of a launch's warm-up."""
    late = ((case, sum(launch.steady is False for launch in case.launches)) for case in cases)
    return [
        f"{case.workload}, {case.label}: {count} of {len(case.launches)} launches were still getting faster when their "
        f"warm-up reached {ceiling_seconds:g} s; measure again on an idle machine, and not with --quick"
        for case, count in late
        if count
    ]
