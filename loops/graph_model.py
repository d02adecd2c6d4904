"""The model's forward and backward as one CUDA graph each; the rest of the step stays as it is, in five phases.

By torch's own ``make_graphed_callables``: https://docs.pytorch.org/docs/stable/generated/torch.cuda.make_graphed_callables.html.
"""

from typing import Any

import torch
from torch import Tensor, nn

from loopmark.loops.errors import Skip
from loopmark.loops.task import Task
from loopmark.loops.technique import Technique, needs_cuda


def _prepare(task: Task) -> None:
    model = task.model
    forward = model.forward

    def capture_first(inputs: Any) -> Any:
        if not model.training:  # measuring the quality of the untrained model
            return forward(inputs)
        model.forward = forward
        _capture(model, inputs)
        model.forward = _guarded(model.forward, inputs, model)
        return model.forward(inputs)

    # At the first batch of the training itself: to ask for one here would leave it out.
    model.forward = capture_first


def _capture(model: nn.Module, inputs: Any) -> None:
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


def _guarded(graphed: Any, first: Tensor, model: nn.Module) -> Any:
    """``graphed``, but refusing what it would get wrong without a word.

    Another shape: a batch of one row would be spread over all of the old ones. A gradient that is still there: autograd
    keeps the graph's own static gradient as the parameter's, the next replay overwrites it in place, and autograd then
    adds it to itself.
    """
    shape, parameters = first.shape, tuple(model.parameters())

    def forward(inputs: Tensor) -> Any:
        if model.training and inputs.shape != shape:
            raise Skip(
                f"graph_model needs batches of one shape; after {tuple(shape)} came {tuple(inputs.shape)}: "
                "drop an epoch's last, smaller batch"
            )
        if model.training and any(parameter.grad is not None for parameter in parameters):
            raise Skip(
                "graph_model needs gradients that are None before the model is called, or they would count twice: "
                "call optimizer.zero_grad(set_to_none=True) first in the step"
            )
        return graphed(inputs)

    return forward


graph_model = Technique(
    "graph_model",
    "the model's forward and backward as one CUDA graph each",
    rank=65,
    prepare=_prepare,
    captures=True,
    excludes=frozenset({"checkpoint", "cuda_graph", "compile", "compile_reduce_overhead", "compile_max_autotune"}),
    lacks=lambda device: needs_cuda("graph_model", device),
)
