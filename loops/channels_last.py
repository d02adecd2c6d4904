"""Images stored with their channels innermost, the layout that most convolution kernels use.

See https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html.
"""

import torch

from loopmark.loops.task import Task
from loopmark.loops.technique import Skip, Technique


def _prepare(task: Task) -> None:
    if not any(parameter.dim() == 4 for parameter in task.model.parameters()):
        raise Skip("channels_last needs a model of images, (N, C, H, W); this one has no 2-d convolution")
    task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    task.input_format = torch.channels_last


channels_last = Technique(
    "channels_last", "weights and images in channels-last memory format", rank=30, prepare=_prepare
)
