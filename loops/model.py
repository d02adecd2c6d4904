"""Techniques that change the model before it is compiled.

Channels last: images with their channels innermost, the layout that most convolution kernels use. See
https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html.

Checkpoint: drop each block's activations, and compute them again in backward. It saves memory and costs time. Batch
normalisation inside a block updates its running statistics twice a step. See
https://docs.pytorch.org/docs/stable/checkpoint.html.
"""

from functools import partial

import torch
from torch.utils.checkpoint import checkpoint as recompute

from loopmark.loops.task import Task
from loopmark.loops.technique import Skip, Technique


def _use_channels_last(task: Task) -> None:
    if not any(parameter.dim() == 4 for parameter in task.model.parameters()):
        raise Skip("channels_last needs a model of images, (N, C, H, W); this one has no 2-d convolution")
    task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    task.input_format = torch.channels_last


def _recompute_blocks(task: Task) -> None:
    if not task.blocks:
        raise Skip("checkpoint needs a task that names its model's blocks; set Task.blocks")
    for block in task.blocks:
        # The instance's own forward is replaced, so that the module, its name and its parameters stay the same.
        block.forward = partial(recompute, block.forward, use_reentrant=False)


channels_last = Technique(
    "channels_last",
    "weights and images in channels-last memory format",
    rank=30,
    prepare=_use_channels_last,
    code="model.to(memory_format=torch.channels_last)  # and the inputs",
)
checkpoint = Technique(
    "checkpoint",
    "activations of each block computed again in backward",
    rank=40,
    prepare=_recompute_blocks,
    code="torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)  # each block",
)
