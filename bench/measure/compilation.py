"""What torch.compile did in this process, as its own counters tell it."""

from typing import Any

from loopmark.bench.records.run import CacheState


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
