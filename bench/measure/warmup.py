"""Warm-up: steps until they have stopped getting faster, and what was compiled meanwhile."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from loopmark.bench.records.run import CacheState, Case

WINDOW = 5  # steps whose median is one look; two looks side by side decide
STILL_FASTER = 0.95  # a look this much below the one before it says that steps are still getting faster
AT_LEAST_SECONDS = 0.2  # a handful of microsecond steps says nothing: clocks are still rising and pages still arriving


@dataclass(frozen=True)
class WarmUp:
    """The steps that are kept apart, each timed to its end, and whether they became steady."""

    seconds: tuple[float, ...]
    steady: bool

    @property
    def steady_step_seconds(self) -> float:
        return median(self.seconds[-WINDOW:])

    @property
    def excess_seconds(self) -> float:
        """Seconds of the steps beyond as many steady ones: compilation, autotuning, first touches."""
        return max(0.0, sum(self.seconds) - len(self.seconds) * self.steady_step_seconds)


def is_steady(seconds: Sequence[float]) -> bool:
    """True where the last few steps are no faster than the few before them, the very first step left aside."""
    if len(seconds) < 2 * WINDOW + 1 or sum(seconds[1:]) < AT_LEAST_SECONDS:
        return False
    before, now = median(seconds[-2 * WINDOW : -WINDOW]), median(seconds[-WINDOW:])
    return now >= STILL_FASTER * before


def warm_up(take_step: Callable[[], float], ceiling_seconds: float) -> WarmUp:
    """Take steps until they are steady, or until ``ceiling_seconds`` have gone by since the first one ended.

    ``take_step`` does one step to its end and returns its seconds; the first may compile for minutes.
    """
    seconds = [take_step()]
    while not (steady := is_steady(seconds)) and (len(seconds) <= WINDOW or sum(seconds[1:]) < ceiling_seconds):
        seconds.append(take_step())
    return WarmUp(tuple(seconds), steady)


def unsteady(cases: Iterable[Case], ceiling_seconds: float) -> list[str]:
    """A warning for each case that was still getting faster in some launch when its warm-up ended at its ceiling."""
    late = ((case, sum(launch.steady is False for launch in case.launches)) for case in cases)
    return [
        f"{case.workload}, {case.label}: {count} of {len(case.launches)} launches were still getting faster when their "
        f"warm-up reached {ceiling_seconds:g} s; measure again on an idle machine, and not with --quick"
        for case, count in late
        if count
    ]


class CompilationLog:
    """Counts from its making on: seconds of compilation, and whether compiled code was found in a cache."""

    def __init__(self) -> None:
        self._seconds = _total_seconds()
        self._counts = _cache_counts()

    def seconds(self) -> float:
        """Seconds spent compiling; 0 where nothing was."""
        return _total_seconds() - self._seconds

    def cache_state(self) -> CacheState:
        """``cold`` when anything had to be compiled anew, ``warm`` when all was found, ``none`` without a compile."""
        hits, misses = (now - before for now, before in zip(_cache_counts(), self._counts, strict=True))
        if misses:
            return "cold"
        if hits:
            return "warm"
        return "cold" if self.seconds() > 0 else "none"


def _dynamo() -> Any:
    # Imported when a worker needs it: it takes longer than the rest of the program, which only names this class.
    import torch._dynamo.utils

    return torch._dynamo.utils


def _total_seconds() -> float:
    return float(_dynamo().calculate_time_spent().get("total_wall_time", 0.0))


def _cache_counts() -> tuple[int, int]:
    counters = _dynamo().counters
    inductor, autograd = counters["inductor"], counters["aot_autograd"]
    hits = inductor["fxgraph_cache_hit"] + autograd["autograd_cache_hit"]
    # A program whose joint graph missed is recompiled, unless the graphs that it splits into are found one by one.
    misses = inductor["fxgraph_cache_miss"] + inductor["fxgraph_cache_bypass"]
    return hits, misses
