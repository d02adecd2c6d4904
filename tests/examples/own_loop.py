"""A loop of one's own: the canonical step with its gradients clipped."""

import torch


def step(task, inputs, targets):
    task.optimizer.zero_grad(set_to_none=True)
    yield "zero_grad"
    predictions = task.model(inputs)
    yield "forward"
    loss = task.loss_fn(predictions, targets)
    yield "loss"
    loss.backward()
    yield "backward"
    torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)  # the difference
    task.optimizer.step()
    yield "optimizer"
    task.last_loss = loss.detach()
