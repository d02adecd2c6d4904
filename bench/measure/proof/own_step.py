"""A loop's own step, watched: what it computed, what it handed to its optimizer, and how precisely."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from loopmark.bench.measure.clock import BadStep, refuse_unknown_phases
from loopmark.bench.measure.proof.errors import dense
from loopmark.bench.measure.proof.precision import least_bits
from loopmark.bench.measure.proof.rounding import FLOAT32_BITS
from loopmark.bench.measure.proof.twin import (
    Layers,
    State,
    Taken,
    Updated,
    buffers_of,
    gradients_of,
    parameters_of,
    slots_of,
)
from loopmark.loops.task import Batch, Task
from loopmark.loops.technique import Driver, Step


@dataclass(frozen=True)
class Own(Taken):
    """What the loop's own step computed, and what its optimizer left."""

    updated: Updated
    told: bool
    """Whether the step left its loss in ``Task.last_loss``."""


class Handed:
    """Notes the gradients that the optimizer is handed: after unscaling, clipping, or whatever a step makes of them."""

    def __init__(self, task: Task) -> None:
        self.gradients: Layers | None = None
        self._task, optimizer, step = task, task.optimizer, task.optimizer.step

        @functools.wraps(step)
        def noting(*arguments: Any, **options: Any) -> Any:
            # A fused optimizer unscales by itself, by what the scaler has left on it.
            scale = getattr(optimizer, "grad_scale", None)
            found = gradients_of(task.plain_model)
            self.gradients = found if scale is None else {name: gradient / scale for name, gradient in found.items()}
            return step(*arguments, **options)

        optimizer.step = noting  # type: ignore[method-assign]


def take(task: Task, step: Step | Driver, batch: Batch, handed: Handed) -> Own:
    """One step of the loop's.

    Raises:
        BadStep: it names phases that there are none of, leaves a loss that is no scalar, or gives the model other
            parameters than it had.
    """
    handed.gradients, names = None, [name for name, _ in task.plain_model.named_parameters()]
    if isinstance(step, Driver):
        step(task, *batch)
        handed.gradients = None  # a replay hands over what its capture did, out of anyone's sight
    else:
        refuse_unknown_phases(list(step(task, *batch)))
    if names != (now := [name for name, _ in task.plain_model.named_parameters()]):
        other = sorted({*names} ^ {*now})
        raise BadStep(f"the step gives the model other parameters than it had: {', '.join(other[:3])}")
    gradients = gradients_of(task.plain_model) if handed.gradients is None else handed.gradients
    told = task.last_loss is not None
    loss = torch.as_tensor(task.last_loss if told else math.nan, device=task.device).detach().clone()
    if loss.numel() != 1:
        raise BadStep(f"the step leaves a loss of shape {tuple(loss.shape)} in task.last_loss, no scalar")
    updated = Updated(parameters_of(task.plain_model), slots_of(task.plain_model, task.optimizer))
    return Own(loss, gradients, buffers_of(task.plain_model), updated, told)


def was_skipped(before: State, own: Own) -> bool:
    """Whether a scaler, the task's or the step's own, left out the update because a gradient was not finite."""
    if all(bool(dense(gradient).isfinite().all()) for gradient in own.gradients.values()):
        return False
    return all(torch.equal(before.layers[name], after) for name, after in own.updated.parameters.items())


class Watched:
    """Notes what a step predicts, and how: that tells of an autocast within a person's own step."""

    def __init__(self, task: Task) -> None:
        self._task, self._bits = task, FLOAT32_BITS
        loss_fn = task.loss_fn

        def watched(predictions: Any, targets: Any) -> Tensor:
            self._note(predictions)
            return loss_fn(predictions, targets)

        if isinstance(loss_fn, nn.Module):  # it stays what it is, since a step may ask it for more than its loss
            loss_fn.register_forward_pre_hook(lambda _, given: self._note(*given[:1]))
        else:
            task.loss_fn = watched

    def _note(self, predictions: Any = None) -> None:
        if isinstance(predictions, Tensor):
            self._bits = min(self._bits, least_bits(self._task, predictions))

    def bits(self) -> int:
        """The fewest significant bits so far."""
        return self._bits
