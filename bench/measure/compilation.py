"""Compilation by torch.compile in this process, from torch's own counters and metrics.

Most of their names are private to torch. Where one is missing, its fact is unknown, and no run fails.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from loopmark.bench.records.run import CacheState, Compilation, GraphBreak
from loopmark.loops.user_code import defined_at, place_among

MOST_METRICS = 10_000  # torch keeps the last 64 compilations by default
COUNTED_STEPS, COUNTING_SECONDS = 30, 1.0  # most steps whose graphs are counted, and the time after which no more are
REGION = "Torch-Compiled Region: "  # the profiler's range of a compiled frame, which has one graph or none
LIMIT = re.compile(r"(\w*(?:recompile|cache_size)_limit) (?:cache size limit|reached)(?:.*currently set to (\d+))?")


class CompilationLog:
    """The compilation in this process since the log's creation."""

    def __init__(self) -> None:
        with contextlib.suppress(AttributeError):
            _dynamo().set_compilation_metrics_limit(MOST_METRICS)
        self._began, self._warm_graphs = time.time(), 0
        self._before, self._counts, self._graphs = _total_seconds(), _cache_counts(), _graphs()

    def seconds(self) -> float:
        """Seconds spent compiling, even if in vain; 0 without compilation."""
        return _total_seconds() - self._before

    def graphs(self) -> int:
        """Compiled graphs, without backward graphs."""
        return _graphs() - self._graphs

    def cache_state(self) -> CacheState:
        """``cold`` if any code was compiled, ``warm`` if all was found in a cache, ``none`` without compilation."""
        hits, misses = (now - before for now, before in zip(_cache_counts(), self._counts, strict=True))
        return "none" if not self.graphs() else "warm" if hits and not misses else "cold"

    def end_warm_up(self) -> None:
        """Count the graphs compiled from now on as late."""
        self._warm_graphs = self.graphs()

    def found(self, model: nn.Module, take_step: Callable[[], None] | None) -> Compilation:
        """All facts so far, and the graphs of a few more steps; None for ``take_step`` leaves these unknown."""
        graphs = self.graphs()
        found = Compilation(graphs, graphs - self._warm_graphs, self.seconds(), graphs_per_step=None if graphs else 0.0)
        try:
            # One for each graph, forward or backward, and for each attempt in vain.
            metrics = [one for one in _dynamo().get_compilation_metrics() if one.start_time_us / 1e6 >= self._began]
            again = {one.compile_id: one for one in metrics if one.recompile_reason and _has_graph(one)}
            limits = [limit for one in metrics if (limit := LIMIT.search(one.fail_reason or ""))]
            found = replace(
                found,
                again=len(again),
                # A graph's backward graph has the same id.
                again_seconds=sum((one.duration_us or 0) / 1e6 for one in metrics if one.compile_id in again),
                again_because=_cause([*again.values()][-1].recompile_reason) if again else None,
                limit_reached="=".join(filter(None, limits[-1].groups())) if limits else None,
                breaks=tuple(dict.fromkeys(self._breaks(model, metrics))),
            )
            if graphs and take_step is not None:
                empty = {one.compile_id for one in metrics if one.co_name and not _has_graph(one)}
                per_step = _graphs_per_step(take_step, empty)
                # Without any, and without a limit, this torch names its ranges otherwise.
                found = replace(found, graphs_per_step=per_step if per_step or limits else None)
        except (AttributeError, TypeError):  # another torch, which has other names for them
            pass
        return found

    def _breaks(self, model: nn.Module, metrics: list[Any]) -> Iterator[GraphBreak]:
        """The places where graphs end, and where code was left uncompiled."""
        told = [
            ([(at.filename, at.lineno) for at in one.user_stack], one.reason) for one in _dynamo().graph_break_reasons
        ]
        for one in metrics:
            if one.fail_reason and not LIMIT.search(one.fail_reason):
                filename = one.fail_user_frame_filename or one.co_filename
                told.append(([(filename, one.fail_user_frame_lineno or one.co_firstlineno)], one.fail_reason))
        for stack, reason in told:
            place = place_among(stack)
            if all(Path(torch.__file__).parent in Path(filename).parents for filename, _ in stack):
                disabled = _disabled(model, reason)
                if disabled is None and self.graphs():
                    continue  # torch breaks its own code on purpose, such as its optimizers'
                place = disabled or place
            yield GraphBreak(place, _said(reason))


def _graphs_per_step(take_step: Callable[[], None], empty: set[str]) -> float | None:
    """The mean number of graphs that a few steps call; compiled frames in ``empty`` have none."""
    counts, end = list[int](), time.perf_counter() + COUNTING_SECONDS
    with contextlib.suppress(Exception):  # a step may refuse the profiler; the run has its timing by now
        while len(counts) < COUNTED_STEPS and time.perf_counter() < end:
            with profile(activities=[ProfilerActivity.CPU]) as profiler:
                take_step()
            frames = [name.removeprefix(REGION) for e in profiler.events() or () if (name := e.name).startswith(REGION)]
            counts.append(sum(frame not in empty for frame in frames))
    return sum(counts) / len(counts) if counts else None


def _dynamo() -> Any:
    # Imported only when a worker needs it: it takes longer than the rest of the program.
    import torch._dynamo.utils

    return torch._dynamo.utils


def _total_seconds() -> float:
    return float(_dynamo().calculate_time_spent().get("total_wall_time", 0.0))


def _graphs() -> int:
    return int(_dynamo().counters["stats"]["unique_graphs"])


def _cache_counts() -> tuple[int, int]:
    counters = _dynamo().counters
    inductor, autograd = counters["inductor"], counters["aot_autograd"]
    hits = inductor["fxgraph_cache_hit"] + autograd["autograd_cache_hit"]
    # A program whose joint graph missed is recompiled, unless each of the graphs it splits into is found.
    misses = inductor["fxgraph_cache_miss"] + inductor["fxgraph_cache_bypass"]
    return hits, misses


def _has_graph(one: Any) -> bool:
    return bool(one.has_guarded_code and one.graph_op_count)


def _cause(reason: str) -> str:
    """torch's reason to compile again, without the code and number of the compilation: ``0/7: a == 3  # if a: …``."""
    said = re.split(r"\s+# ", re.sub(r"^\d+/\d+: ", "", reason), maxsplit=1)[0]
    place = re.search(r" # (\S+:\d+) in ", reason)
    return f"{said} at {Path(place[1]).name}" if place else said  # torch cuts the path itself, within a folder's name


def _said(reason: str) -> str:
    """torch's explanation of a break, without addresses; its first line where there is none."""
    said = re.search("Explanation: (.*)", reason) or re.search("(.+)", reason)
    return re.sub(r" at 0x[0-9a-f]+", "", said[1] if said else "unknown").strip().rstrip(".")


def _disabled(model: nn.Module, reason: str) -> str | None:
    """The definition of the ``forward`` that ``reason`` names, where torch itself stands between it and its caller."""
    named = re.search(r"<function (\S+) at ", reason)
    forwards = (type(module).forward for module in model.modules())
    return next((defined_at(one) for one in forwards if named and one.__qualname__ == named[1]), None)
