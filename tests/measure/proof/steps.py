"""A user's own steps, for several tests."""

from collections.abc import Iterator

import torch
from torch import Tensor

from loopmark.loops.task import Task
from tests.measure.proof.proofs import StepFunction


def cast_by_hand(task: Task, inputs: Tensor, targets: Tensor, *, back: bool) -> Iterator[str]:
    task.optimizer.zero_grad(set_to_none=True)
    yield "zero_grad"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = task.model(inputs)
    yield "forward"
    loss = task.loss_fn(predictions.float() if back else predictions, targets)
    yield "loss"
    loss.backward()
    yield "backward"
    task.optimizer.step()
    yield "optimizer"
    task.last_loss = loss.detach()


def scaled_loss(factor: float, told: bool = True) -> StepFunction:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        task.optimizer.zero_grad(set_to_none=True)
        yield "zero_grad"
        predictions = task.model(inputs)
        yield "forward"
        loss = task.loss_fn(predictions, targets)
        yield "loss"
        (loss * factor).backward()
        yield "backward"
        task.optimizer.step()
        yield "optimizer"
        task.last_loss = loss.detach() * (factor if told else 1)

    return step
