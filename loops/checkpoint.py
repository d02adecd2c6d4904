"""Activation checkpointing: drop each block's activations, and compute them again in backward.

It saves memory and costs time. Batch normalisation inside a block updates its running statistics twice a step. See
https://docs.pytorch.org/docs/stable/checkpoint.html.
"""

from functools import partial

from torch.utils.checkpoint import checkpoint as recompute

from loopmark.loops.task import Task
from loopmark.loops.technique import Skip, Technique


def _prepare(task: Task) -> None:
    if not task.blocks:
        raise Skip("checkpoint needs a task that names its model's blocks; set Task.blocks")
    for block in task.blocks:
        # The instance's own forward is replaced, so that the module, its name and its parameters stay the same.
        block.forward = partial(recompute, block.forward, use_reentrant=False)


checkpoint = Technique("checkpoint", "activations of each block computed again in backward", rank=40, prepare=_prepare)
