"""CUDA graphs: the whole step as one graph, a graph for each phase, or the model's forward and backward as one each.

A captured step begins with a few ordinary ones, as torch's notes ask for: warm up on a side stream, copy each batch
into static tensors, capture, replay. Capture iterates the very generator that eager training would run, so it composes
with any step. See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs, and for the model's own graphs
https://docs.pytorch.org/docs/stable/generated/torch.cuda.make_graphed_callables.html.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip, Step, Technique, needs_cuda
from loopmark.phases import DATA

WARMUP_STEPS = 3  # ordinary steps before capture, as torch's notes ask for; they are real training steps, one a batch
TAIL = ""  # names the graph of what a step does after its last yield


class Graphed(Driver):
    """What all such drivers share: ``capture`` records a step on the static batch, and ``replay`` launches it."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.side: torch.cuda.Stream | None = None
        self.names: tuple[str, ...] = ()  # what the step yielded, in order, once it has run
        self._calls = 0
        self.captured = False  # whether a call replays what was captured

    def __call__(self, task: Task, inputs: Tensor, targets: Tensor) -> None:
        """Copy the batch in and replay; the first calls run the step itself, and the next one captures it."""
        self.copy_in(inputs, targets)
        with torch.cuda.device(task.device):  # streams and graphs are made on the current device
            if self._calls < WARMUP_STEPS:
                self._run_aside(task)
            else:
                if not self.captured:
                    # Gradients must be made inside the graph's own memory pool, so none may be left from before.
                    task.optimizer.zero_grad(set_to_none=True)
                    self.capture(task)
                    self.captured = True
                self.replay()
        self._calls += 1

    def capture(self, task: Task) -> None:
        raise NotImplementedError

    def replay(self) -> None:
        raise NotImplementedError

    def copy_in(self, inputs: Tensor, targets: Tensor) -> None:
        """Put a batch where the captured step reads it. Raises Skip for one of another shape."""
        if self._calls == 0:
            self.inputs, self.targets = inputs.clone(), targets.clone()
        if inputs.shape != self.inputs.shape or targets.shape != self.targets.shape:
            # Not left to copy_, which would spread a batch of one row over all of the old ones.
            raise _other_shape("a CUDA graph", self.inputs.shape, inputs.shape)
        self.inputs.copy_(inputs)
        self.targets.copy_(targets)

    def _run_aside(self, task: Task) -> None:
        side = self.side = self.side or torch.cuda.Stream()  # one: the allocator keeps a pool for each stream
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.names = tuple(self.step(task, self.inputs, self.targets))
        torch.cuda.current_stream().wait_stream(side)


def _other_shape(what: str, first: torch.Size, now: torch.Size) -> Skip:
    came = f"after {tuple(first)} came {tuple(now)}"
    return Skip(f"{what} needs batches of one shape; {came}: drop an epoch's last, smaller batch")


def _capture(graph: torch.cuda.CUDAGraph, launch: Callable[[], None], **where: Any) -> None:
    """Capture what ``launch`` does, which breaks the capture where it fails: its own error is raised, that says why."""
    failure: Exception | None = None
    try:
        # Only this thread is held to what capture allows: a DataLoader's may go on pinning memory.
        with torch.cuda.graph(graph, capture_error_mode="thread_local", **where):
            try:
                launch()
            except Exception as error:
                failure = error
    except Exception as error:
        raise (failure or error) from None
    if failure:
        raise failure


def prepare_capture(task: Task) -> None:
    """Have the optimizer decide on the device. Raises Skip where it cannot."""
    if task.optimizer_takes("capturable"):
        task.optimizer_options["capturable"] = True
    if task.scaler.is_enabled() and not task.optimizer_options.get("fused"):
        raise Skip(
            "a CUDA graph cannot capture amp_fp16's GradScaler, which asks the device whether to skip the step; "
            "a fused optimizer decides on the device: add fused_optimizer"
        )


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
        graph, marks = torch.cuda.CUDAGraph(), []

        def launch() -> None:
            for phase in chain(("",), self.step(task, self.inputs, self.targets)):
                if has_external_events():
                    event = torch.cuda.Event(enable_timing=True, external=True)
                    event.record()
                    marks.append((phase, event))

        _capture(graph, launch, stream=self.side)
        self.graph, self.marks = graph, tuple(marks)

    def replay(self) -> None:
        assert self.graph is not None
        self.graph.replay()


def has_external_events() -> bool:
    """Whether this torch can record events within a graph; it asks no device."""
    return torch.version.hip is None and "external" in inspect.signature(torch.cuda.Event.__new__).parameters


class GraphedPhases(Graphed):
    """A step that, after its first few calls, is one graph launch for each phase.

    Ordinary events between the launches tell the phases apart, so it has phases where a graph of the whole step has
    none (torch before 2.8, ROCm), and checks those that it has elsewhere.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        # Each phase's graph; None for one that launches nothing, such as `zero_grad`.
        self.graphs: tuple[tuple[str, torch.cuda.CUDAGraph | None], ...] = ()
        # The graphs of those, for the pool that all share: it goes with the last graph that uses it, even between two.
        self._empty: list[torch.cuda.CUDAGraph] = []

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
        phases: list[str] = []
        while TAIL not in phases:
            graph = torch.cuda.CUDAGraph()
            with warnings.catch_warnings(record=True) as told:  # torch warns of a graph that launches nothing
                warnings.simplefilter("always")
                _capture(graph, lambda: phases.append(next(step, TAIL)), pool=pool, stream=self.side)
            empty = any("CUDA Graph is empty" in str(warning.message) for warning in told)
            graphs.append((phases[-1], None if empty else graph))
            if empty:
                self._empty.append(graph)
        self.graphs = tuple(graphs)

    def replay(self) -> None:
        for _, graph in self.graphs:
            if graph is not None:
                graph.replay()


def _capture_at_first_call(task: Task) -> None:
    model = task.model
    forward = model.forward

    def capture_first(inputs: Any) -> Any:
        if not model.training:  # measuring the quality of the untrained model
            return forward(inputs)
        model.forward = forward
        _capture_model(model, inputs)
        model.forward = _guarded(model.forward, inputs.shape, model)
        return model.forward(inputs)

    # At the first batch of the training itself: to ask for one here would leave it out.
    model.forward = capture_first


def _capture_model(model: nn.Module, inputs: Any) -> None:
    if not isinstance(inputs, Tensor):
        raise Skip(f"graph_model needs a model whose inputs are one tensor; this one's are a {type(inputs).__name__}")
    if any((model._forward_hooks, model._forward_pre_hooks, model._backward_hooks)):
        raise Skip("graph_model needs a model without hooks of its own")
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    caches = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)  # what it holds would be left out of the graph
    try:
        torch.cuda.make_graphed_callables(model, (inputs.detach().clone(),), allow_unused_input=True)
    finally:
        torch.set_autocast_cache_enabled(caches)
    with torch.no_grad():
        for buffer, before in buffers:  # its warm-up counts for the running statistics of batch normalisation
            buffer.copy_(before)


def _guarded(graphed: Any, shape: torch.Size, model: nn.Module) -> Any:
    """``graphed``, but refusing what it would get wrong without a word.

    Another shape: a batch of one row would be spread over all of the old ones. A gradient that is still there: autograd
    keeps the graph's own static gradient as the parameter's, the next replay overwrites it in place, and autograd then
    adds it to itself.
    """
    parameters = tuple(model.parameters())

    def forward(inputs: Tensor) -> Any:
        if model.training and inputs.shape != shape:
            raise _other_shape("graph_model", shape, inputs.shape)
        if model.training and any(parameter.grad is not None for parameter in parameters):
            raise Skip(
                "graph_model needs gradients that are None before the model is called, or they would count twice: "
                "call optimizer.zero_grad(set_to_none=True) first in the step"
            )
        return graphed(inputs)

    return forward


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
graph_model = Technique(
    "graph_model",
    "the model's forward and backward as one CUDA graph each",
    rank=65,
    prepare=_capture_at_first_call,
    captures=True,
    excludes=frozenset({"checkpoint", "cuda_graph", "compile", "compile_reduce_overhead", "compile_max_autotune"}),
    lacks=lambda device: needs_cuda("graph_model", device),
)
