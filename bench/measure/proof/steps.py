"""Single steps: the canonical step from any state, a loop's watched step, and the errors between them."""

import contextlib
import copy
import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loopmark.bench.measure.clock import BadStep, known_phases
from loopmark.bench.measure.proof.precision import FLOAT32_BITS, Switches, least_bits
from loopmark.loops.batch import Batch
from loopmark.loops.goal import double
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver

Layers = dict[str, Tensor]  # a tensor for each layer, by the name of its parameter or buffer


@dataclass(frozen=True)
class State:
    """A task's learnt state, as copies that later steps do not change."""

    layers: Layers  # parameters and buffers
    optimizer: dict[Any, dict[str, Any]]  # by the parameter's number, as in `Optimizer.state_dict`


@dataclass(frozen=True)
class Taken:
    """The results of a step before its update."""

    loss: Tensor
    gradients: Layers  # of the parameters with a gradient
    buffers: Layers  # floating-point buffers after the step


@dataclass(frozen=True)
class Updated:
    """The state after an optimizer's update."""

    parameters: Layers
    slots: Layers  # its own tensors, such as momentum


def digest_of(task: Task) -> str:
    """The SHA-256 of the learnt parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in (*parameters_of(task.plain_model).items(), *buffers_of(task.plain_model).items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().flatten().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def state_of(task: Task) -> State:
    """Copies of ``task``'s learnt state."""
    slots = task.optimizer.state_dict()["state"]
    return State(
        layers={name: tensor.detach().clone() for name, tensor in _layers(task.plain_model)},
        optimizer={index: {key: _copied(value) for key, value in slot.items()} for index, slot in slots.items()},
    )


def parameters_of(model: nn.Module) -> Layers:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def buffers_of(model: nn.Module) -> Layers:
    """Copies of the floating-point buffers, such as the running statistics of batch normalisation."""
    return {name: b.detach().clone() for name, b in model.named_buffers() if b.is_floating_point()}


def gradients_of(model: nn.Module) -> Layers:
    """Copies of the gradients of the parameters that have one."""
    return {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}


def slots_of(model: nn.Module, optimizer: Optimizer) -> Layers:
    """The floating-point tensors that ``optimizer`` keeps for each parameter, not copied."""
    return {
        f"{key} of {name}": value.detach().cpu() if value.dim() == 0 else value.detach()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


class Twin:
    """A copy of a model, made before any technique changes it, that takes the canonical step from any given state.

    An ``exact`` twin computes in float64, whose rounding is negligible beside float32's.
    """

    def __init__(self, task: Task, *, exact: bool = False) -> None:
        self.model = copy.deepcopy(task.plain_model)
        self._loss_fn = copy.deepcopy(task.loss_fn) if isinstance(task.loss_fn, nn.Module) else task.loss_fn
        self._make_optimizer: Callable[..., Optimizer] = task.make_optimizer
        self._exact = exact
        self._switches = Switches.now()  # no technique has changed them yet
        if exact:
            for part in (self.model, self._loss_fn):
                if isinstance(part, nn.Module):
                    part.double()

    def take(self, state: State, batch: Batch, rounding: AbstractContextManager[Any] | None = None) -> Taken:
        """The canonical step from ``state``, without the update."""
        self._load(state)
        inputs, targets = (t.double() if self._exact and t.is_floating_point() else t for t in batch)
        self.model.zero_grad(set_to_none=True)
        with self._switches.restored(), rounding or contextlib.nullcontext():
            loss = self._loss_fn(self.model(inputs), targets)
            loss.backward()
        return Taken(loss.detach().clone(), gradients_of(self.model), buffers_of(self.model))

    def update(self, state: State, gradients: Layers, nudge: Callable[[float], float] = lambda value: value) -> Updated:
        """The optimizer's update from ``state``. ``nudge`` slightly changes each setting (learning rate, betas, …)."""
        self._load(state)
        for name, parameter in self.model.named_parameters():
            gradient = gradients.get(name)
            parameter.grad = None if gradient is None else gradient.to(parameter.dtype)
        optimizer = self._make_optimizer(self.model.parameters())
        ours = {id(parameter) for parameter in self.model.parameters()}
        if not all(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"]):
            raise ValueError("make_optimizer uses other parameters than the ones it is given; use the given ones")
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


def _layers(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _copied(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    # A capturable optimizer keeps its step count on the device, where the canonical one rejects it.
    return value.detach().cpu().clone() if value.dim() == 0 else value.detach().clone()


def _nudged(value: Any, nudge: Callable[[float], float]) -> Any:
    if isinstance(value, float):
        return nudge(value)
    return tuple(_nudged(item, nudge) for item in value) if isinstance(value, tuple) else value


def changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Layers:
    """The change of each layer, in float64."""
    return {name: double(tensor) - double(before[name]) for name, tensor in after.items()}


Errors = dict[tuple[str, str], float]  # by kind and layer


def errors_of(taken: Taken, truth: Taken) -> Errors:
    """The errors in order of computation: loss, gradients from the last layer to the first, buffers."""
    unwanted = taken.gradients.keys() - truth.gradients.keys()  # parameters that should have no gradient
    return {
        **relative("loss", {"": taken.loss}, {"": truth.loss}),
        **relative("gradient", taken.gradients, dict(reversed(truth.gradients.items()))),
        **relative("buffer", taken.buffers, truth.buffers),
        **{("gradient", name): math.inf for name in unwanted},
    }


def relative(kind: str, some: Layers, truth: Layers) -> Errors:
    """The norm of each layer's difference over the norm of the truth; infinite where the truth is zero."""
    return {(kind, name): _distance(some.get(name), double(dense(tensor))) for name, tensor in truth.items()}


def _distance(some: Tensor | None, truth: Tensor) -> float:
    size = float(truth.norm())
    away = size if some is None else float((double(dense(some)) - truth).norm())
    if math.isnan(away):
        return math.inf
    return away / size if size else (math.inf if away else 0.0)


def dense(tensor: Tensor) -> Tensor:
    """A dense tensor: an embedding's gradient may be sparse, and its optimizer may require that."""
    return tensor.to_dense() if tensor.is_sparse else tensor


def worst(several: Iterable[Errors]) -> Errors:
    """The largest error of each kind and layer."""
    found: Errors = {}
    for errors in several:
        found |= {key: max(error, found.get(key, 0.0)) for key, error in errors.items()}
    return found


@dataclass(frozen=True)
class Own(Taken):
    """The results of the loop's own step, with its optimizer's update."""

    updated: Updated
    told: bool  # True if the step left its loss in `Task.last_loss`


def was_skipped(before: State, own: Own) -> bool:
    """True if a scaler, the task's or the step's own, skipped the update because a gradient was not finite."""
    if all(bool(dense(gradient).isfinite().all()) for gradient in own.gradients.values()):
        return False
    return all(torch.equal(before.layers[name], after) for name, after in own.updated.parameters.items())


class WatchedLoop:
    """A loop that trains a task, with a record of its predictions' precision and the gradients its optimizer gets.

    Raises Skip where the loop cannot train the task.
    """

    def __init__(self, task: Task, loop: Loop) -> None:
        self.bits = FLOAT32_BITS  # the fewest significant bits so far, also by an autocast in the user's own step
        self._task = task
        self._handed: Layers | None = None
        self._watch_predictions()
        self._step = loop.prepare(task)
        self._watch_optimizer()

    def take(self, batch: Batch) -> Own:
        """Take one step. Raises BadStep for unknown phases, a loss that is not a scalar, or added parameters."""
        task, model = self._task, self._task.plain_model
        self._handed, names = None, [name for name, _ in model.named_parameters()]
        if isinstance(self._step, Driver):
            self._step(task, *batch)
            self._handed = None  # a replay does not call the optimizer in Python
        else:
            known_phases(list(self._step(task, *batch)))
        if names != (now := [name for name, _ in model.named_parameters()]):
            other = sorted({*names} ^ {*now})
            raise BadStep(f"the step adds or removes parameters of the model: {', '.join(other[:3])}")
        told = task.last_loss is not None
        loss = torch.as_tensor(task.last_loss if told else math.nan, device=task.device).detach().clone()
        if loss.numel() != 1:
            raise BadStep(f"the step leaves a loss of shape {tuple(loss.shape)} in task.last_loss; leave a scalar")
        gradients = gradients_of(model) if self._handed is None else self._handed
        updated = Updated(parameters_of(model), slots_of(model, task.optimizer))
        return Own(loss, gradients, buffers_of(model), updated, told)

    def _watch_predictions(self) -> None:
        loss_fn = self._task.loss_fn

        def note(predictions: Any = None) -> None:
            if isinstance(predictions, Tensor):
                self.bits = min(self.bits, least_bits(self._task, predictions))

        def watched(predictions: Any, targets: Any) -> Any:
            note(predictions)
            return loss_fn(predictions, targets)

        if isinstance(loss_fn, nn.Module):  # it stays a module, since a step may use its other attributes
            loss_fn.register_forward_pre_hook(lambda _, given: note(*given[:1]))
        else:
            self._task.loss_fn = watched

    def _watch_optimizer(self) -> None:
        optimizer, step = self._task.optimizer, self._task.optimizer.step

        @functools.wraps(step)
        def noting(*arguments: Any, **options: Any) -> Any:
            # After unscaling and clipping. A fused optimizer unscales itself, by the scale set on it by the scaler.
            scale = getattr(optimizer, "grad_scale", None)
            found = gradients_of(self._task.plain_model)
            self._handed = found if scale is None else {name: gradient / scale for name, gradient in found.items()}
            return step(*arguments, **options)

        optimizer.step = noting  # type: ignore[method-assign]
