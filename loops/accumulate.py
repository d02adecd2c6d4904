"""Gradient accumulation: the batch in K parts, their gradients summed, one update.

It saves memory and costs time. Batch normalisation sees the parts, not the batch, so such a model trains differently.
"""

from collections.abc import Iterator
from typing import Any

from loopmark.loops.batch import cut, rows_of
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip, Technique


def accumulate(parts: int) -> Technique:
    """The technique ``accumulate_K`` for K = ``parts``, at least 2."""
    name = f"accumulate_{parts}"

    def prepare(task: Task) -> None:
        size = getattr(task.batches, "batch_size", None)
        if isinstance(size, int) and size % parts:
            raise Skip(f"{name} needs a batch size divisible by {parts}; this task's is {size}")

    def step(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
        task.optimizer.zero_grad(set_to_none=True)
        yield "zero_grad"
        losses = []
        rows = rows_of(inputs, targets) or 1
        several = min(parts, rows)
        try:
            pieces = zip(cut(inputs, rows, several), cut(targets, rows, several), strict=True)
        except ValueError as error:
            raise Skip(f"{name} cannot cut a batch in parts: {error}") from None
        for some, their_targets in pieces:
            task.bind(their_targets)
            share = (rows_of(some, their_targets) or 1) / rows
            with task.autocast:
                predictions = task.model(some)
            yield "forward"
            with task.autocast:
                loss = task.loss_fn(predictions, their_targets) * share  # (): its share of the mean
            yield "loss"
            task.scaler.scale(loss).backward()
            yield "backward"
            losses.append(loss.detach())
        task.scaler.step(task.optimizer)
        task.scaler.update()
        yield "optimizer"
        task.last_loss = sum(losses[1:], losses[0])

    return Technique(
        name,
        f"the batch in {parts} parts, one update",
        rank=70,
        prepare=prepare,
        step=step,
        code=f"(loss / {parts}).backward()  # each of {parts} parts of the batch, then one optimizer.step()",
        # Their graphs own the gradients, and the next part's replay overwrites them before they are summed.
        excludes=frozenset({"compile_reduce_overhead", "compile_max_autotune", "graph_model"}),
    )
