"""Warm-up: steps taken until their times are steady, and the compilation during them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from loopmark.bench.records.run import CacheState, Case

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


class CompilationLog:
    """Seconds of compilation since its creation, and the state of the compile cache."""

    def __init__(self) -> None:
        self._seconds = _total_seconds()
        self._counts = _cache_counts()

    def seconds(self) -> float:
        """Seconds spent compiling; 0 without compilation."""
        return _total_seconds() - self._seconds

    def cache_state(self) -> CacheState:
        """``cold`` if any code was compiled, ``warm`` if all was found in a cache, ``none`` without compilation."""
        hits, misses = (now - before for now, before in zip(_cache_counts(), self._counts, strict=True))
        if misses:
            return "cold"
        if hits:
            return "warm"
        return "cold" if self.seconds() > 0 else "none"


def _dynamo() -> Any:
    # Imported only when a worker needs it: it takes longer than the rest of the program.
    import torch._dynamo.utils

    return torch._dynamo.utils


def _total_seconds() -> float:
    return float(_dynamo().calculate_time_spent().get("total_wall_time", 0.0))


def _cache_counts() -> tuple[int, int]:
    counters = _dynamo().counters
    inductor, autograd = counters["inductor"], counters["aot_autograd"]
    hits = inductor["fxgraph_cache_hit"] + autograd["autograd_cache_hit"]
    # A program whose joint graph missed is recompiled, unless each of the graphs it splits into is found.
    misses = inductor["fxgraph_cache_miss"] + inductor["fxgraph_cache_bypass"]
    return hits, misses
