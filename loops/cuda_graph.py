"""The whole step captured once as a CUDA graph and replayed for every batch, its phases still visible.

The recipe is the one in torch's notes (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): warm up
on a side stream, copy each batch into static tensors, capture, replay. Capture iterates the very generator that
eager training would run, so it composes with any step; at each yield it records an external event, which becomes
a node of the graph and is recorded again by every replay.
"""

import torch
from torch import Tensor

from loops.errors import Skip
from loops.task import Task
from loops.technique import Driver, Step, Technique, needs_cuda

WARMUP_STEPS = 3
"""Ordinary steps before capture, as torch's notes ask for; they are real training steps, one a batch."""


class GraphedStep(Driver):
    """A step that, after its first few calls, is one graph launch.

    ``marks`` are the phases of a replay: an event at the start of the step, then one for each phase's end. They are
    overwritten by each replay, so they must be read, after a synchronisation, before the next one. Without external
    events (torch before 2.8, ROCm) there are none, and a step can be timed only as a whole.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.marks: tuple[tuple[str, torch.cuda.Event], ...] = ()
        self._calls = 0
        self._side: torch.cuda.Stream | None = None

    def __call__(self, task: Task, inputs: Tensor, targets: Tensor) -> None:
        """Copy the batch in and replay; the first calls run the step itself, and the next one captures it."""
        if self._calls == 0:
            self._inputs, self._targets = inputs.clone(), targets.clone()
        if inputs.shape != self._inputs.shape or targets.shape != self._targets.shape:
            # Not left to copy_, which would spread a batch of one row over all of the old ones.
            raise Skip(
                f"cuda_graph needs batches of one shape; after {tuple(self._inputs.shape)} came {tuple(inputs.shape)}: "
                "drop an epoch's last, smaller batch"
            )
        self._inputs.copy_(inputs)
        self._targets.copy_(targets)
        with torch.cuda.device(task.device):  # streams and graphs are made on the current device
            if self._calls < WARMUP_STEPS:
                self._run_aside(task)
            else:
                if self.graph is None:
                    self._capture(task)
                assert self.graph is not None
                self.graph.replay()
        self._calls += 1

    def _run_aside(self, task: Task) -> None:
        side = self._side = self._side or torch.cuda.Stream()  # one: the allocator keeps a pool for each stream
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in self.step(task, self._inputs, self._targets):
                pass
        torch.cuda.current_stream().wait_stream(side)

    def _capture(self, task: Task) -> None:
        # Gradients must be made inside the graph's own memory pool, so none may be left from before.
        task.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        marks = []
        # Only this thread is held to what capture allows: a DataLoader's may go on pinning memory.
        failure: Exception | None = None
        try:
            with torch.cuda.graph(graph, stream=self._side, capture_error_mode="thread_local"):
                try:
                    if start := _external_event():
                        start.record()
                        marks.append(("", start))
                    for phase in self.step(task, self._inputs, self._targets):
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


def _external_event() -> torch.cuda.Event | None:
    if torch.version.hip is not None:
        return None
    try:
        return torch.cuda.Event(enable_timing=True, external=True)
    except TypeError:  # torch before 2.8 has no such argument
        return None


def _prepare(task: Task) -> None:
    if task.optimizer_takes("capturable"):
        task.optimizer_options["capturable"] = True
    if task.scaler.is_enabled() and not task.optimizer_options.get("fused"):
        raise Skip(
            "cuda_graph cannot capture amp_fp16's GradScaler, which asks the device whether to skip the step; "
            "a fused optimizer decides on the device: add fused_optimizer"
        )


cuda_graph = Technique(
    "cuda_graph",
    "whole step captured and replayed as one CUDA graph",
    rank=90,
    prepare=_prepare,
    driver=GraphedStep,
    excludes=frozenset({"checkpoint"}),  # it reads and sets the random state, which capture forbids
    lacks=lambda device: needs_cuda("cuda_graph", device),
)
