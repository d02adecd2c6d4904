"""CUDA graphs: one for the whole step, one for each phase, or one each for the model's forward and backward.

As torch's notes require, a few ordinary steps on a side stream come first; then each batch is copied into static
tensors, and the step is captured and replayed. Capture runs the same generator as eager training, so it works with any
step. See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs, and for the model's own graphs
https://docs.pytorch.org/docs/stable/generated/torch.cuda.make_graphed_callables.html.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from loopmark.loops.batch import copy_into, layout_of, mapped
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip, Step, Technique, needs_cuda
from loopmark.phases import DATA, listening

WARMUP_STEPS = 3  # ordinary steps before capture, as in torch's notes; they are real training steps, one a batch
TAIL = ""  # names the graph of the code after a step's last yield


class Graphed(Driver):
    """The base of these drivers: ``capture`` records a step on the static batch, and ``replay`` launches it."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.side: torch.cuda.Stream | None = None
        self.names: tuple[str, ...] = ()  # the phases that the step yielded, in order, after its first run
        self._calls = 0
        self.captured = False  # True once the step is captured; calls then replay it

    def __call__(self, task: Task, inputs: Any, targets: Any) -> None:
        """Copy the batch in and replay. The first calls run the step itself, and the next call captures it."""
        self.copy_in(inputs, targets)
        with torch.cuda.device(task.device):  # streams and graphs are created on the current device
            if self._calls < WARMUP_STEPS:
                self._run_aside(task)
            else:
                if not self.captured:
                    # Gradients must be allocated in the graph's own memory pool, so no earlier ones may be left.
                    task.optimizer.zero_grad(set_to_none=True)
                    self.capture(task)
                    self.captured = True
                self.replay()
        self._calls += 1

    def capture(self, task: Task) -> None:
        raise NotImplementedError

    def replay(self) -> None:
        raise NotImplementedError

    def copy_in(self, inputs: Any, targets: Any) -> None:
        """Copy a batch to the tensors that the captured step reads. Raises Skip for another shape."""
        if self._calls == 0:
            self.inputs, self.targets = mapped(Tensor.clone, inputs), mapped(Tensor.clone, targets)
            self._layout = layout_of(inputs), layout_of(targets)
        for now, first in zip((layout_of(inputs), layout_of(targets)), self._layout, strict=True):
            if now != first:  # copy_ would not fail: it would broadcast a batch of one row to all rows
                raise _other_shape("a CUDA graph", first, now)
        copy_into(self.inputs, inputs)
        copy_into(self.targets, targets)

    def _run_aside(self, task: Task) -> None:
        side = self.side = self.side or torch.cuda.Stream()  # only one: the allocator keeps a pool for each stream
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.names = tuple(self.step(task, self.inputs, self.targets))
        torch.cuda.current_stream().wait_stream(side)


def _other_shape(what: str, first: tuple[Any, ...], now: tuple[Any, ...]) -> Skip:
    before, after = next(((a, b) for a, b in zip(first, now, strict=False) if a != b), (first, now))
    came = f"after {before} came {after}"
    return Skip(f"{what} needs batches of one shape; {came}: drop an epoch's last, smaller batch")


def _capture(graph: torch.cuda.CUDAGraph, launch: Callable[[], None], **where: Any) -> None:
    """Capture the work of ``launch``. If ``launch`` fails, its own error is raised, not the broken capture's error."""
    failure: Exception | None = None
    try:
        # Capture restricts only this thread: a DataLoader's thread may still pin memory.
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
    """Make the optimizer decide on the device. Raises Skip where it cannot."""
    if task.make_scheduler is not None:
        raise Skip("a CUDA graph keeps the learning rate of its capture, so make_scheduler would have no effect in it")
    if task.optimizer_takes("capturable"):
        task.optimizer_options["capturable"] = True
    if task.scaler.is_enabled() and not task.optimizer_options.get("fused"):
        raise Skip(
            "a CUDA graph cannot capture amp_fp16's GradScaler, which reads from the device whether to skip the step; "
            "add fused_optimizer, which decides on the device"
        )


class GraphedStep(Graphed):
    """A step that is one graph launch after its first few calls.

    ``marks``: the phases of a replay, with an event at the step's start and at each phase's end. Each replay overwrites
    them, so they must be read after a synchronisation and before the next replay. Without external events (torch before
    2.8, ROCm), there are none, and only whole steps can be timed; use ``graph_phases`` for phases.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.marks: tuple[tuple[str, torch.cuda.Event], ...] = ()

    def capture(self, task: Task) -> None:
        graph, marks = torch.cuda.CUDAGraph(), []

        def mark(phase: str) -> None:
            if has_external_events():
                event = torch.cuda.Event(enable_timing=True, external=True)
                event.record()
                marks.append((phase, event))

        def launch() -> None:
            with listening(mark):
                for phase in chain(("",), self.step(task, self.inputs, self.targets)):
                    mark(phase)

        _capture(graph, launch, stream=self.side)
        self.graph, self.marks = graph, tuple(marks)

    def replay(self) -> None:
        assert self.graph is not None
        self.graph.replay()


def has_external_events() -> bool:
    """True if this torch can record events within a graph; no device is queried."""
    return torch.version.hip is None and "external" in inspect.signature(torch.cuda.Event.__new__).parameters


class GraphedPhases(Graphed):
    """A step that is one graph launch per phase after its first few calls.

    Ordinary events between the launches time the phases. They are available where a graph of the whole step has no
    phases (torch before 2.8, ROCm), and elsewhere they serve as a check of its phases.
    """

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        # Each phase's graph; None for a phase that launches nothing, such as `zero_grad`.
        self.graphs: tuple[tuple[str, torch.cuda.CUDAGraph | None], ...] = ()
        # All graphs, kept because the shared pool is freed as soon as no graph uses it, even during capture.
        self._kept: list[torch.cuda.CUDAGraph] = []

    def phased(self, task: Task, inputs: Any, targets: Any) -> Iterator[str]:
        """One step that yields each phase's name after its graph's launch, ``data`` first, after copying the batch.

        Calls before the first replay run the whole step on the side stream, and yield its phases afterwards.
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
        """Capture the step from yield to yield, all in one pool, since each graph reads the earlier graphs' results."""
        pool = torch.cuda.graph_pool_handle()
        step = self.step(task, self.inputs, self.targets)
        graphs: list[tuple[str, torch.cuda.CUDAGraph | None]] = []
        phases: list[str] = []
        while TAIL not in phases:
            graph = torch.cuda.CUDAGraph()
            with warnings.catch_warnings(record=True) as told:  # torch warns about a graph that launches nothing
                warnings.simplefilter("always")
                _capture(graph, lambda: phases.append(next(step, TAIL)), pool=pool, stream=self.side)
            empty = any("CUDA Graph is empty" in str(warning.message) for warning in told)
            graphs.append((phases[-1], None if empty else graph))
            self._kept.append(graph)
        self.graphs = tuple(graphs)

    def replay(self) -> None:
        for _, graph in self.graphs:
            if graph is not None:
                graph.replay()


def _capture_at_first_call(task: Task) -> None:
    model = task.model
    forward = model.forward

    def capture_first(*arguments: Any, **options: Any) -> Any:
        if not model.training:  # measuring the quality of the untrained model
            return forward(*arguments, **options)
        model.forward = forward
        if options or len(arguments) != 1:
            raise Skip("graph_model needs a model that is called with one tensor; this one gets several arguments")
        (inputs,) = arguments
        _capture_model(model, inputs)
        model.forward = _guarded(model.forward, inputs.shape, model)
        return model.forward(inputs)

    # At the first batch of training: to fetch one here would remove it from the training.
    model.forward = capture_first


def _capture_model(model: nn.Module, inputs: Any) -> None:
    if not isinstance(inputs, Tensor):
        raise Skip(f"graph_model needs a model whose inputs are one tensor; this one's are a {type(inputs).__name__}")
    if any((model._forward_hooks, model._forward_pre_hooks, model._backward_hooks)):
        raise Skip("graph_model needs a model without its own hooks")
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    caches = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)  # cached casts would be missing from the graph
    try:
        torch.cuda.make_graphed_callables(model, (inputs.detach().clone(),), allow_unused_input=True)
    finally:
        torch.set_autocast_cache_enabled(caches)
    with torch.no_grad():
        for buffer, before in buffers:  # the capture's warm-up changes the running statistics of batch normalisation
            buffer.copy_(before)


def _guarded(graphed: Any, shape: torch.Size, model: nn.Module) -> Any:
    """``graphed``, with Skip raised for inputs and gradients that it would silently get wrong.

    Another shape: a batch of one row would be broadcast to all rows. A gradient that is not None: autograd uses the
    graph's static gradient as the parameter's; the next replay overwrites it in place, and autograd then adds it to
    itself.
    """
    parameters = tuple(model.parameters())

    def forward(inputs: Tensor) -> Any:
        if model.training and inputs.shape != shape:
            raise _other_shape("graph_model", (tuple(shape),), (tuple(inputs.shape),))
        if model.training and any(parameter.grad is not None for parameter in parameters):
            raise Skip(
                "graph_model needs gradients that are None before the model is called; else they count twice: "
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
    code="with torch.cuda.graph(graph):  # the whole step; then graph.replay()",
    captures=True,
    excludes=frozenset({"checkpoint"}),  # checkpoint reads and sets the random state, which capture forbids
    lacks=lambda device: needs_cuda("cuda_graph", device),
)
graph_phases = Technique(
    "graph_phases",
    "each phase captured and replayed as a CUDA graph of its own",
    rank=90,
    prepare=prepare_capture,
    driver=GraphedPhases,
    code="with torch.cuda.graph(graph):  # each phase; then graph.replay() of each",
    captures=True,
    excludes=frozenset({"checkpoint", "cuda_graph", "graph_model"}),
    lacks=lambda device: needs_cuda("graph_phases", device),
)
graph_model = Technique(
    "graph_model",
    "the model's forward and backward as one CUDA graph each",
    rank=65,
    prepare=_capture_at_first_call,
    code="model = torch.cuda.make_graphed_callables(model, (inputs,))",
    captures=True,
    excludes=frozenset({"checkpoint", "cuda_graph", "compile", "compile_reduce_overhead", "compile_max_autotune"}),
    lacks=lambda device: needs_cuda("graph_model", device),
)
