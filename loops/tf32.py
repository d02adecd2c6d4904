"""TensorFloat-32: float32 matrix products with ten bits of mantissa on tensor cores.

cuDNN's convolutions use it by default already; this adds the matrix products. See
https://docs.pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices.
"""

import torch

from loopmark.loops.task import Task
from loopmark.loops.technique import Technique, needs_cuda


def _prepare(_: Task) -> None:
    torch.set_float32_matmul_precision("high")


def _lacks(device: torch.device) -> str | None:
    if reason := needs_cuda("tf32", device):
        return reason
    major, minor = torch.cuda.get_device_capability(device)
    return None if major >= 8 else f"tf32 needs compute capability 8.0; this device has {major}.{minor}"


tf32 = Technique("tf32", "float32 matrix products in TensorFloat-32", rank=10, prepare=_prepare, lacks=_lacks)
