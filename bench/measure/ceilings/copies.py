"""Copies within the device's own memory, of tensors that no cache holds."""

from functools import partial

import torch
from torch import Tensor

from loopmark.bench.measure.ceilings.stopwatch import Operation, Stopwatch
from loopmark.bench.measure.ceilings.target import Target
from loopmark.bench.records.ceilings import Kind, LeftOut

CACHES = (4, 8, 16)
"""How many times the last-level cache each tensor is."""
LARGEST_KNOWN_CACHE_BYTES = 2**26
"""Stands in where nobody tells how large the cache is: 64 MiB."""
MEMORY_SHARE = 1 / 4
"""Of what is free: the most that both tensors of a copy take."""
BLOCK = 2**20
KIND: Kind = "copy"


def copies(
    device: torch.device, free_bytes: int, cache_bytes: int | None, seed: int, stopwatch: Stopwatch
) -> Target | LeftOut:
    """Bytes read and bytes written are counted together; what a cache reads before it writes is not counted."""
    cache = cache_bytes or LARGEST_KNOWN_CACHE_BYTES
    sizes = tuple(times * cache for times in CACHES if 2 * times * cache <= MEMORY_SHARE * free_bytes)
    if not sizes:
        return LeftOut(
            KIND,
            None,
            f"two tensors of {CACHES[0]} times the last-level cache of {cache / 2**20:.0f} MiB are more than a quarter "
            f"of the {free_bytes / 2**20:.0f} MiB that are free",
        )
    return Target(
        kind=KIND,
        dtype=None,
        unit="bytes per second",
        sizes=sizes,
        work=lambda size: 2.0 * size,
        prepare=partial(_copy, device, seed),
        stopwatch=stopwatch,
    )


def _copy(device: torch.device, seed: int, size: int) -> Operation:
    source = filled(torch.empty(size // 4, device=device), seed)
    return partial(torch.empty_like(source).copy_, source)


def filled(tensor: Tensor, seed: int) -> Tensor:
    """``tensor``, of one dimension, with random normal data that repeats.

    It is written as a copy is, so that its pages lie where the threads that copy it are.
    """
    draws = torch.Generator(tensor.device).manual_seed(seed)
    block = torch.randn(min(BLOCK, len(tensor)), generator=draws, device=tensor.device)
    whole = len(tensor) // len(block) * len(block)
    tensor[:whole].view(-1, len(block)).copy_(block)
    tensor[whole:].copy_(block[: len(tensor) - whole])
    return tensor
