"""How many significant bits a loop's arithmetic keeps, as far as it can be told from how it is set up."""

import torch
from torch import Tensor, nn

from loops.task import Task

FORMATS = {24: "float32", 11: "float16", 8: "bfloat16"}
"""By their significant bits; TensorFloat-32 has as many as float16."""
TF32_BITS, BFLOAT16_BITS = 11, 8


def bits_of(kind: torch.dtype) -> int:
    """Significant bits of a floating-point type, the hidden one included: 24 of float32."""
    return round(1 - torch.log2(torch.tensor(torch.finfo(kind).eps, dtype=torch.float64)).item())


def least_bits(task: Task, predictions: Tensor) -> int:
    """The fewest bits among what ``task`` is set up to compute in, and what a step predicted.

    Counted are its parameters' type, autocast, and what torch may do with float32 on a CUDA device: TensorFloat-32 is
    its default for convolutions.
    """
    kinds = [p.dtype for p in task.plain_model.parameters() if p.is_floating_point()]
    if predictions.is_floating_point():
        kinds.append(predictions.dtype)
    if isinstance(task.autocast, torch.autocast):
        kinds.append(task.autocast.fast_dtype)
    return min(*map(bits_of, kinds), *_float32_bits(task))


def _float32_bits(task: Task) -> list[int]:
    bits = [{"highest": 24, "high": TF32_BITS, "medium": BFLOAT16_BITS}[torch.get_float32_matmul_precision()], 24]
    convolves = any(isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) for m in task.plain_model.modules())
    if task.device.type == "cuda" and convolves and torch.backends.cudnn.allow_tf32:
        bits.append(TF32_BITS)
    return bits
