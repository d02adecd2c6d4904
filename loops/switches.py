"""Process-wide switches: the kernels that torch and its libraries may choose.

TensorFloat-32 computes float32 matrix products on tensor cores with ten bits of mantissa; cuDNN's convolutions use it
by default. See https://docs.pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices,
https://docs.pytorch.org/docs/stable/backends.html#torch.backends.cudnn.torch.backends.cudnn.benchmark and
https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html.
"""

import os

import torch

from loopmark.loops.task import Task
from loopmark.loops.technique import Skip, Technique, needs_cuda


def _use_deterministic(_: Task) -> None:
    # cuBLAS reads it at its first use, which comes later; see torch's notes on reproducibility.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # the fastest kernel may change from launch to launch


def _use_tf32(_: Task) -> None:
    torch.set_float32_matmul_precision("high")


def _lacks_tf32(device: torch.device) -> str | None:
    if reason := needs_cuda("tf32", device):
        return reason
    major, minor = torch.cuda.get_device_capability(device)
    return None if major >= 8 else f"tf32 needs compute capability 8.0; this device has {major}.{minor}"


def _use_cudnn_benchmark(task: Task) -> None:
    if not any(isinstance(module, torch.nn.modules.conv._ConvNd) for module in task.model.modules()):
        raise Skip("cudnn_benchmark needs a model with convolutions; this one has none")
    torch.backends.cudnn.benchmark = True


# An operation without such a kernel fails by name. The cost shows as a speedup below one.
deterministic = Technique(
    "deterministic",
    "torch's deterministic algorithms only",
    rank=5,
    prepare=_use_deterministic,
    code="torch.use_deterministic_algorithms(True)",
)
tf32 = Technique(
    "tf32",
    "float32 matrix products in TensorFloat-32",
    rank=10,
    prepare=_use_tf32,
    lacks=_lacks_tf32,
    code='torch.set_float32_matmul_precision("high")',
)
cudnn_benchmark = Technique(
    "cudnn_benchmark",
    "the fastest of cuDNN's convolution algorithms for each shape, found by trying",
    rank=10,
    prepare=_use_cudnn_benchmark,
    lacks=lambda device: needs_cuda("cudnn_benchmark", device),
    code="torch.backends.cudnn.benchmark = True",
    excludes=frozenset({"deterministic"}),  # deterministic forbids the choice, which may differ from launch to launch
)
