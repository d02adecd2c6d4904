"""The canonical step, taken from any state that another loop has come to."""

import contextlib
import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loopmark.bench.measure.proof.switches import Switches
from loopmark.loops.precise import double
from loopmark.loops.task import Batch, Task

Layers = dict[str, Tensor]
"""A tensor for each layer, by the name of its parameter or buffer."""


@dataclass(frozen=True)
class State:
    """All that a task has learnt: copies, which later steps leave alone."""

    layers: Layers
    """Parameters and buffers."""
    optimizer: dict[Any, dict[str, Any]]
    """By the parameter's number, as in ``Optimizer.state_dict``."""


@dataclass(frozen=True)
class Taken:
    """What a step computed."""

    loss: Tensor
    gradients: Layers
    """Of the parameters that have one."""
    buffers: Layers
    """Those of floating-point type, as they are after the step."""


@dataclass(frozen=True)
class Updated:
    """What an optimizer left."""

    parameters: Layers
    slots: Layers
    """Its own tensors, such as momentum."""


def state_of(task: Task) -> State:
    """Copies of what ``task`` has learnt so far."""
    slots = task.optimizer.state_dict()["state"]
    return State(
        layers={name: tensor.detach().clone() for name, tensor in _layers(task.plain_model)},
        optimizer={index: {key: _copied(value) for key, value in slot.items()} for index, slot in slots.items()},
    )


def parameters_of(model: nn.Module) -> Layers:
    """Copies of the parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def buffers_of(model: nn.Module) -> Layers:
    """Copies of the buffers of floating-point type, such as the running statistics of batch normalisation."""
    return {name: b.detach().clone() for name, b in model.named_buffers() if b.is_floating_point()}


def gradients_of(model: nn.Module) -> Layers:
    """Copies of the gradients, of the parameters that have one."""
    return {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}


def slots_of(model: nn.Module, optimizer: Optimizer) -> Layers:
    """The tensors of floating-point type that ``optimizer`` keeps for each parameter; no copies."""
    return {
        f"{key} of {name}": value.detach().cpu() if value.dim() == 0 else value.detach()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


class Twin:
    """A copy of a task's model that takes the canonical step, one at a time, from whatever state it is given.

    Args:
        task: whose model no technique has changed yet.
        exact: in float64, whose rounding counts for nothing beside float32's.
    """

    def __init__(self, task: Task, *, exact: bool = False) -> None:
        self.model = copy.deepcopy(task.plain_model)
        self._loss_fn = copy.deepcopy(task.loss_fn) if isinstance(task.loss_fn, nn.Module) else task.loss_fn
        self._make_optimizer: Callable[..., Optimizer] = task.make_optimizer
        self._exact = exact
        self._switches = Switches.now()  # no technique has turned any yet
        if exact:
            for part in (self.model, self._loss_fn):
                if isinstance(part, nn.Module):
                    part.double()

    def take(self, state: State, batch: Batch, rounding: AbstractContextManager[Any] | None = None) -> Taken:
        """Everything of the canonical step but the update, from ``state``."""
        self._load(state)
        inputs, targets = (self._typed(tensor) for tensor in batch)
        self.model.zero_grad(set_to_none=True)
        with self._switches.restored(), rounding or contextlib.nullcontext():
            loss = self._loss_fn(self.model(inputs), targets)
            loss.backward()
        return Taken(loss.detach().clone(), gradients_of(self.model), buffers_of(self.model))

    def update(self, state: State, gradients: Layers, nudge: Callable[[float], float] = lambda value: value) -> Updated:
        """What the optimizer's step from ``state`` by ``gradients`` leaves.

        Args:
            nudge: changes each of the optimizer's settings (learning rate, betas, …) a little.
        """
        self._load(state)
        for name, parameter in self.model.named_parameters():
            gradient = gradients.get(name)
            parameter.grad = None if gradient is None else gradient.to(parameter.dtype)
        optimizer = self._make_optimizer(self.model.parameters())
        ours = {id(parameter) for parameter in self.model.parameters()}
        if not all(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"]):
            raise ValueError("make_optimizer leaves the parameters that it is given for others; use those")
        fresh = optimizer.state_dict()
        slots = {index: {key: _copied(value) for key, value in slot.items()} for index, slot in state.optimizer.items()}
        optimizer.load_state_dict({"state": slots, "param_groups": fresh["param_groups"]})
        for group in optimizer.param_groups:
            group.update({key: _nudged(value, nudge) for key, value in group.items() if key != "params"})
        with self._switches.restored():
            optimizer.step()
        return Updated(parameters_of(self.model), slots_of(self.model, optimizer))

    def _load(self, state: State) -> None:
        with torch.no_grad():
            for name, tensor in _layers(self.model):
                tensor.copy_(state.layers[name])

    def _typed(self, tensor: Tensor) -> Tensor:
        return tensor.double() if self._exact and tensor.is_floating_point() else tensor


def _layers(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _copied(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    # The step count of a capturable optimizer lies on the device, where the canonical one takes it for a mistake.
    return value.detach().cpu().clone() if value.dim() == 0 else value.detach().clone()


def _nudged(value: Any, nudge: Callable[[float], float]) -> Any:
    if isinstance(value, float):
        return nudge(value)
    return tuple(_nudged(item, nudge) for item in value) if isinstance(value, tuple) else value


def changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Layers:
    """What was added to each layer, in float64."""
    return {name: double(tensor) - double(before[name]) for name, tensor in after.items()}
