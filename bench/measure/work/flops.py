"""Floating-point operations of one operation, by the formulas of torch's FlopCounterMode."""

import re
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from loopmark.bench.measure.proof.switches import Switches
from loopmark.loops.tf32 import tf32

aten = torch.ops.aten


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape))


FORMULAS: dict[Any, Any] = {
    **flop_registry,
    # A CPU's fused attention, which torch's own table leaves out (2.13 and before).
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
_ATTENTION = re.compile(r"_scaled_dot_product_(\w+?)_attention(_for_cpu|_overrideable)?(_backward)?|_safe_softmax")


def attention_of(func: Any) -> str | None:
    """The kernel that ``func`` is of torch's scaled_dot_product_attention (``flash``…); None where it is none of these.

    ``math`` is no kernel but products and a softmax that nothing else uses.
    """
    found = _ATTENTION.fullmatch(func._overloadpacket.__name__)
    return (found[1] or "math") if found else None


CONVOLUTIONS = {
    aten.convolution,
    aten._convolution,
    aten.cudnn_convolution,
    aten.convolution_overrideable,
    aten.convolution_backward,
}


def flops_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> tuple[str, float]:
    """The type that ``func`` multiplies in, and its floating-point operations; none for what is no matrix product.

    The type is that of its first tensor, as torch prints it without ``torch.``; ``tf32`` where the device may round
    float32 to TensorFloat-32 first.
    """
    packet = func._overloadpacket
    formula = FORMULAS.get(packet)
    if formula is None:
        return "", 0.0
    first = next(value for value in args if isinstance(value, Tensor))
    return _kind(first, packet in CONVOLUTIONS), float(formula(*args, **kwargs, out_val=out))


def _kind(tensor: Tensor, convolves: bool) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind != "float32" or tensor.device.type != "cuda" or tf32.lacks(tensor.device):
        return kind  # before Ampere the switches below change nothing
    now = Switches.now()
    rounds = now.cudnn_tf32 is not False if convolves else now.matmul_precision != "highest"
    return "tf32" if rounds else kind
