"""Tensors compared bit for bit, so that NaN equals itself and 0.0 is not -0.0."""

from collections.abc import Iterable

import torch
from torch import Tensor

_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether the two have the same shape, type and bits."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_floating_point() and a.element_size() in _WHOLE:
        a, b = a.view(_WHOLE[a.element_size()]), b.view(_WHOLE[b.element_size()])
    return torch.equal(a, b)


def same(some: Iterable[Tensor], others: Iterable[Tensor]) -> bool:
    """Whether all of them have, pair by pair."""
    return all(same_bits(a, b) for a, b in zip(some, others, strict=True))


def largest_difference(some: Iterable[Tensor], others: Iterable[Tensor]) -> float:
    """The largest difference between any two numbers of a pair; NaN where there is one among them."""
    differences = [(a.double() - b.double()).abs().max() for a, b in zip(some, others, strict=True) if a.numel()]
    return float(torch.stack(differences).max()) if differences else 0.0
