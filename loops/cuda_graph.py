"""The whole step captured once as a CUDA graph and replayed for every batch, its phases still visible.

Capture iterates the very generator that eager training would run, so it composes with any step; at each yield it
records an external event, which becomes a node of the graph and is recorded again by every replay.
"""

import inspect

import torch

from loopmark.loops.graphed import Graphed, prepare_capture
from loopmark.loops.task import Task
from loopmark.loops.technique import Step, Technique, needs_cuda


class GraphedStep(Graphed):
    """A step that, after its first few calls, is one graph launch.

    ``marks`` are the phases of a replay: an event at the start of the step, then one for each phase's end. They are
    overwritten by each replay, so they must be read, after a synchronisation, before the next one. Without external
    events (torch before 2.8, ROCm) there are none, and a step can be timed only as a whole: ``graph_phases`` has them.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.marks: tuple[tuple[str, torch.cuda.Event], ...] = ()

    def capture(self, task: Task) -> None:
        """Capture the whole step."""
        graph = torch.cuda.CUDAGraph()
        marks = []
        # Only this thread is held to what capture allows: a DataLoader's may go on pinning memory.
        failure: Exception | None = None
        try:
            with torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local"):
                try:
                    if start := _external_event():
                        start.record()
                        marks.append(("", start))
                    for phase in self.step(task, self.inputs, self.targets):
                        if event := _external_event():
                            event.record()
                            marks.append((phase, event))
                except Exception as error:
                    failure = error
        except Exception as error:
            # A step that fails breaks the capture, whose own complaint would hide why.
            raise (failure or error) from None
        if failure:
            raise failure
        self.graph, self.marks = graph, tuple(marks)

    def replay(self) -> None:
        """One launch."""
        assert self.graph is not None
        self.graph.replay()


def has_external_events() -> bool:
    """Whether this torch can record events within a graph; it asks no device."""
    return torch.version.hip is None and "external" in inspect.signature(torch.cuda.Event.__new__).parameters


def _external_event() -> torch.cuda.Event | None:
    return torch.cuda.Event(enable_timing=True, external=True) if has_external_events() else None


cuda_graph = Technique(
    "cuda_graph",
    "whole step captured and replayed as one CUDA graph",
    rank=90,
    prepare=prepare_capture,
    driver=GraphedStep,
    captures=True,
    excludes=frozenset({"checkpoint"}),  # it reads and sets the random state, which capture forbids
    lacks=lambda device: needs_cuda("cuda_graph", device),
)
