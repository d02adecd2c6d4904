"""How many significant bits a loop's arithmetic keeps, as far as it can be told from how it is set up."""

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from loopmark.bench.measure.proof.switches import Switches
from loopmark.loops.task import Task

TF32_BITS, BFLOAT16_BITS = 11, 8
"""Significant bits; TensorFloat-32 has as many as float16."""


def bits_of(kind: torch.dtype) -> int:
    """Significant bits of a floating-point type, the hidden one included: 24 of float32."""
    return round(1 - torch.log2(torch.tensor(torch.finfo(kind).eps, dtype=torch.float64)).item())


def least_bits(task: Task, predictions: Tensor) -> int:
    """The fewest bits among what ``task`` is set up to compute in, and what a step computed its predictions in.

    Counted are its parameters' type, autocast, a person's own casts, and what torch may do with float32 on a CUDA
    device: TensorFloat-32 is its default for convolutions.
    """
    kinds = {p.dtype for p in task.plain_model.parameters()} | {predictions.dtype} | _types_on_the_way_to(predictions)
    if isinstance(task.autocast, torch.autocast):
        kinds.add(task.autocast.fast_dtype)
    return min(*(bits_of(kind) for kind in kinds if kind.is_floating_point), *_float32_bits(task))


def _types_on_the_way_to(predictions: Tensor) -> set[torch.dtype]:
    """The types of what autograd has seen: predictions are often cast back to float32 once an autocast is over."""
    kinds: set[torch.dtype] = set()
    seen: set[Node] = set()
    ahead = [predictions.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            kinds |= {written.dtype for written in node._input_metadata}
            ahead += [before for before, _ in node.next_functions]
    return kinds


def _float32_bits(task: Task) -> list[int]:
    now = Switches.now()
    # What cannot be told has been set by torch's newer names, which are for TensorFloat-32 above all.
    bits = [{"highest": 24, "medium": BFLOAT16_BITS}.get(now.matmul_precision or "high", TF32_BITS), 24]
    convolves = any(isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) for m in task.plain_model.modules())
    if task.device.type == "cuda" and convolves and now.cudnn_tf32 is not False:
        bits.append(TF32_BITS)
    return bits
