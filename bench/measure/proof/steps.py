"""Single steps: the canonical step from any state, a loop's watched step, and the errors between them."""

import copy
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loopmark.bench.measure.clock import BadStep, known_phases
from loopmark.bench.measure.proof.precision import FLOAT32_BITS, least_bits
from loopmark.loops.batch import Batch, tensors_in
from loopmark.loops.goal import double
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver

Layers = dict[str, Tensor]  # a tensor for each layer, by the name of its parameter or buffer


@dataclass(frozen=True)
class State:
    """A task's learnt state, as copies that later steps do not change."""

    layers: Layers  # parameters and buffers
    gradients: Layers  # left by the step before
    optimizers: dict[str, dict[Any, dict[str, Any]]]  # by name, and by the parameter's number as in `state_dict`


@dataclass(frozen=True)
class Updated:
    """The state after an optimizer's update."""

    parameters: Layers
    slots: Layers  # its own tensors, such as momentum

    def since(self, before: State) -> Layers:
        """The change of each parameter since ``before``, in float64, and the optimizer's own tensors."""
        return {**changes({name: before.layers[name] for name in self.parameters}, self.parameters), **self.slots}

    def equals(self, other: "Updated") -> bool:
        return alike(self.parameters, other.parameters) and alike(self.slots, other.slots)


@dataclass(frozen=True)
class Taken:
    """The results of a step."""

    loss: Tensor
    gradients: Layers  # of the parameters with a gradient, as the optimizer got them
    buffers: Layers  # floating-point buffers after the step
    updated: Updated | None = None  # None where the step was taken without its update


def digest_of(task: Task) -> str:
    """The SHA-256 of the learnt parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in (*parameters_of(task.plain_model).items(), *buffers_of(task.plain_model).items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().flatten().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def state_of(task: Task) -> State:
    """Copies of ``task``'s learnt state."""
    return State(
        layers={name: tensor.detach().clone() for name, tensor in layers_of(task.plain_model)},
        gradients=gradients_of(task.plain_model),
        optimizers={name: copied(optimizer.state_dict()["state"]) for name, optimizer in task.optimizers.items()},
    )


def parameters_of(model: nn.Module) -> Layers:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def buffers_of(model: nn.Module) -> Layers:
    """Copies of the floating-point buffers, such as the running statistics of batch normalisation."""
    return {name: b.detach().clone() for name, b in model.named_buffers() if b.is_floating_point()}


def gradients_of(model: nn.Module) -> Layers:
    """Copies of the gradients of the parameters that have one."""
    return {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}


def slots_of(model: nn.Module, *optimizers: Optimizer) -> Layers:
    """The floating-point tensors that the optimizers keep for each parameter, not copied."""
    return {
        f"{key} of {name}": value.detach().cpu() if value.dim() == 0 else value.detach()
        for name, parameter in model.named_parameters()
        for optimizer in optimizers
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


def layers_of(model: nn.Module) -> list[tuple[str, Tensor]]:
    """The parameters and buffers by name, not copied."""
    return [*model.named_parameters(), *model.named_buffers()]


def settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The settings of each group of parameters."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def copied(slots: Mapping[Any, Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    """A copy of an optimizer's state, by the parameter's number."""

    def one(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return copy.deepcopy(value)
        # A capturable optimizer keeps its step count on the device, where the canonical one rejects it.
        return value.detach().cpu().clone() if value.dim() == 0 else value.detach().clone()

    return {number: {key: one(value) for key, value in slot.items()} for number, slot in slots.items()}


def alike(some: Layers, others: Layers) -> bool:
    """True if both have the same layers, equal in every bit."""
    return some.keys() == others.keys() and all(torch.equal(dense(some[n]), dense(one)) for n, one in others.items())


def changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Layers:
    """The change of each layer, in float64."""
    return {name: double(tensor) - double(before[name]) for name, tensor in after.items()}


Settings = dict[str, list[dict[str, Any]]]  # of optimizers, by name, for each group of parameters
Errors = dict[tuple[str, str], float]  # by kind and layer


def errors_of(taken: Taken, truth: Taken, before: State) -> Errors:
    """The errors in order of computation: loss, gradients from the last layer to the first, buffers, the update."""
    updates = Errors()
    if taken.updated is not None and truth.updated is not None:
        updates = relative("update", taken.updated.since(before), truth.updated.since(before))
    unwanted = taken.gradients.keys() - truth.gradients.keys()  # parameters that should have no gradient
    return {
        **relative("loss", {"": taken.loss}, {"": truth.loss}),
        **relative("gradient", taken.gradients, dict(reversed(truth.gradients.items())), share=NOTHING),
        **relative("buffer", taken.buffers, truth.buffers),
        **{("gradient", name): math.inf for name in unwanted},
        **updates,
    }


NOTHING = 2.0**-40
"""The share of the norm of all gradients below which float64 shows one that is zero in exact arithmetic, such as that
of a bias before batch normalisation."""
CANCELS = 64.0
"""The sums of such a gradient cancel, and round by about the root of their number of terms more than others do."""


def relative(kind: str, some: Layers, truth: Layers, share: float = 0.0) -> Errors:
    """The norm of each layer's difference over the norm of the truth; infinite where the truth is zero.

    A layer with at most this ``share`` of the norm of all layers is measured against all of them.
    """
    exact = {name: double(dense(tensor)) for name, tensor in truth.items()}
    sizes = {name: float(tensor.norm()) for name, tensor in exact.items()}
    of_all = CANCELS * math.hypot(*sizes.values()) if share else 0.0
    return {
        (kind, name): _distance(
            some.get(name), tensor, sizes[name] if sizes[name] > share * of_all / CANCELS else of_all
        )
        for name, tensor in exact.items()
    }


def _distance(some: Tensor | None, truth: Tensor, size: float) -> float:
    away = float(truth.norm() if some is None else (double(dense(some)) - truth).norm())
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

    updated: Updated = field(kw_only=True)
    settings: Settings = field(kw_only=True)  # of its optimizers when they were called
    told: bool = field(kw_only=True)  # True if the step left its loss in `Task.last_loss`


def was_skipped(before: State, own: Own) -> bool:
    """True if a scaler, the task's or the step's own, skipped the update because a gradient was not finite."""
    if all(bool(dense(gradient).isfinite().all()) for gradient in own.gradients.values()):
        return False
    return all(torch.equal(before.layers[name], after) for name, after in own.updated.parameters.items())


class Handed:
    """The gradients that a task's optimizers get, after unscaling and clipping, and their settings at that moment.

    An optimizer that is given a closure computes its gradients by itself.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.settings: Settings = {}
        self.forget()
        for optimizer in task.optimizers.values():
            optimizer.register_step_pre_hook(self._note)

    def forget(self) -> None:
        """Begin a new step."""
        self._got: Layers | None = None

    def gradients(self) -> Layers:
        """Those of the last step; the gradients that it left where no optimizer was called without a closure."""
        return gradients_of(self._task.plain_model) if self._got is None else self._got

    def note_settings(self) -> None:
        """Keep the settings that the optimizers have now."""
        for name, optimizer in self._task.optimizers.items():
            self.settings[name] = settings_of(optimizer)

    def _note(self, optimizer: Optimizer, arguments: Any, options: Any) -> None:
        self.note_settings()
        if any(map(callable, (*arguments[1:], *options.values()))):
            return
        scale = getattr(optimizer, "grad_scale", None)  # set by a scaler on a fused optimizer, which unscales itself
        mine = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        found = {
            name: parameter.grad.detach().clone() / (1 if scale is None else scale)
            for name, parameter in self._task.plain_model.named_parameters()
            if parameter.grad is not None and id(parameter) in mine
        }
        self._got = {**(self._got or {}), **found}


class WatchedLoop:
    """A loop that trains a task, with a record of its predictions' precision and the gradients its optimizers get.

    Raises Skip where the loop cannot train the task.
    """

    def __init__(self, task: Task, loop: Loop) -> None:
        self.bits = FLOAT32_BITS  # the fewest significant bits so far, also by an autocast in the user's own step
        self._task = task
        self._watch_predictions()
        self._step = loop.prepare(task)
        self.is_replayed = isinstance(self._step, Driver)
        self._handed = Handed(task)

    def take(self, batch: Batch) -> Own:
        """Take one step. Raises BadStep for unknown phases, a loss that is not a scalar, or added parameters."""
        task, model = self._task, self._task.plain_model
        self._handed.forget()
        names = [name for name, _ in model.named_parameters()]
        if isinstance(self._step, Driver):
            self._step(task, *batch)
            self._handed.forget()  # a replay does not call the optimizer in Python
        else:
            known_phases(list(self._step(task, *batch)))
        if names != (now := [name for name, _ in model.named_parameters()]):
            other = sorted({*names} ^ {*now})
            raise BadStep(f"the step adds or removes parameters of the model: {', '.join(other[:3])}")
        told = task.last_loss is not None
        loss = torch.as_tensor(task.last_loss if told else math.nan, device=task.device).detach().clone()
        if loss.numel() != 1:
            raise BadStep(f"the step leaves a loss of shape {tuple(loss.shape)} in task.last_loss; leave a scalar")
        updated = Updated(parameters_of(model), slots_of(model, *task.optimizers.values()))
        handed = self._handed
        return Own(
            loss, handed.gradients(), buffers_of(model), updated=updated, settings=handed.settings.copy(), told=told
        )

    def _watch_predictions(self) -> None:
        loss_fn = self._task.loss_fn

        def note(predictions: Any = None) -> None:
            for tensor in tensors_in(predictions):
                self.bits = min(self.bits, least_bits(self._task, tensor))

        def watched(predictions: Any, targets: Any) -> Any:
            note(predictions)
            return loss_fn(predictions, targets)

        if isinstance(loss_fn, nn.Module):  # it stays a module, since a step may use its other attributes
            loss_fn.register_forward_pre_hook(lambda _, given: note(*given[:1]))
        else:
            self._task.loss_fn = watched
