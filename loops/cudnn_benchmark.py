"""cuDNN tries its convolution algorithms on each new shape and keeps the fastest.

See https://docs.pytorch.org/docs/stable/backends.html#torch.backends.cudnn.torch.backends.cudnn.benchmark.
"""

import torch

from loopmark.loops.errors import Skip
from loopmark.loops.task import Task
from loopmark.loops.technique import Technique, needs_cuda


def _prepare(task: Task) -> None:
    if not any(isinstance(module, torch.nn.modules.conv._ConvNd) for module in task.model.modules()):
        raise Skip("cudnn_benchmark needs a model with convolutions; this one has none")
    torch.backends.cudnn.benchmark = True


cudnn_benchmark = Technique(
    "cudnn_benchmark",
    "the fastest of cuDNN's convolution algorithms for each shape, found by trying",
    rank=10,
    prepare=_prepare,
    lacks=lambda device: needs_cuda("cudnn_benchmark", device),
    excludes=frozenset({"deterministic"}),  # which forbids the choice: it may differ from launch to launch
)
