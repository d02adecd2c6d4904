"""Each phase of the step captured as a CUDA graph of its own, replayed one after the other for every batch.

A launch for each phase instead of one for the step, and ordinary events between them tell the phases apart. So it has
phases where a graph of the whole step has none (torch before 2.8, ROCm), and checks those that it has elsewhere.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from loopmark.loops.graphed import Graphed, prepare_capture
from loopmark.loops.task import Task
from loopmark.loops.technique import Step, Technique, needs_cuda
from loopmark.phases import DATA

TAIL = ""
"""Names the graph of what a step does after its last yield."""


class GraphedPhases(Graphed):
    """A step that, after its first few calls, is one graph launch for each phase."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.graphs: tuple[tuple[str, torch.cuda.CUDAGraph | None], ...] = ()
        """None for a phase that launches nothing, such as ``zero_grad``."""
        self._empty: list[torch.cuda.CUDAGraph] = []
        """Kept for the pool that all share: it is given back with the last graph that uses it, even between two."""

    def phased(self, task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        """One step that yields each phase's name once its graph is launched, ``data`` first: the batch is copied in.

        The calls before the first replay do the whole step and name its phases only then: they run aside.
        """
        if not self.captured:
            yield DATA
            self(task, inputs, targets)
            yield from self.names
            return
        self.copy_in(inputs, targets)
        yield DATA
        for phase, graph in self.graphs:
            if graph is not None:
                graph.replay()
            if phase != TAIL:
                yield phase

    def capture(self, task: Task) -> None:
        """Capture the step from yield to yield; all in one pool, since each graph reads what those before it made."""
        pool = torch.cuda.graph_pool_handle()
        step = self.step(task, self.inputs, self.targets)
        graphs: list[tuple[str, torch.cuda.CUDAGraph | None]] = []
        while not graphs or graphs[-1][0] != TAIL:
            phase, graph, launches = _capture_next(step, pool, self.side)
            graphs.append((phase, graph if launches else None))
            if not launches:
                self._empty.append(graph)
        self.graphs = tuple(graphs)

    def replay(self) -> None:
        """All launches, in order."""
        for _, graph in self.graphs:
            if graph is not None:
                graph.replay()


def _capture_next(
    step: Iterator[str], pool: Any, stream: torch.cuda.Stream | None
) -> tuple[str, torch.cuda.CUDAGraph, bool]:
    """What ``step`` does up to its next yield, or its end, and whether it launches anything: torch warns if not."""
    graph, phase = torch.cuda.CUDAGraph(), TAIL
    failure: Exception | None = None
    try:
        with (
            warnings.catch_warnings(record=True) as told,
            torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
        ):
            warnings.simplefilter("always")
            try:
                phase = next(step, TAIL)
            except Exception as error:
                failure = error
    except Exception as error:
        raise (failure or error) from None  # a step that fails breaks the capture, whose complaint would hide why
    if failure:
        raise failure
    empty = any("CUDA Graph is empty" in str(warning.message) for warning in told)
    return phase, graph, not empty


graph_phases = Technique(
    "graph_phases",
    "each phase captured and replayed as a CUDA graph of its own",
    rank=90,
    prepare=prepare_capture,
    driver=GraphedPhases,
    captures=True,
    excludes=frozenset({"checkpoint", "cuda_graph", "graph_model"}),
    lacks=lambda device: needs_cuda("graph_phases", device),
)
