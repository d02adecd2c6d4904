"""The canonical training step. Every other loop is compared with these five lines."""

from collections.abc import Iterator
from typing import Any

from loopmark.loops.task import Task


def step(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
    """One update: clear the gradients, predict, compute the loss, differentiate, update the parameters."""
    task.optimizer.zero_grad(set_to_none=True)
    yield "zero_grad"
    predictions = task.model(inputs)
    yield "forward"
    loss = task.loss_fn(predictions, targets)  # ()
    yield "loss"
    loss.backward()
    yield "backward"
    task.optimizer.step()
    yield "optimizer"
    task.last_loss = loss.detach()
