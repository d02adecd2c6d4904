"""Transfers between the host's memory and the device's."""

from functools import partial
from itertools import product

import torch

from loopmark.bench.measure.ceilings.copies import filled
from loopmark.bench.measure.ceilings.stopwatch import Operation, Stopwatch
from loopmark.bench.measure.ceilings.target import Target
from loopmark.bench.records.ceilings import Kind, LeftOut, Variant

SIZES = (2**24, 2**26, 2**28)
"""16 to 256 MiB: from a large batch on."""
KINDS: tuple[Kind, ...] = ("host to device", "device to host")
VARIANTS: tuple[Variant, ...] = ("pinned", "pageable")


def transfers(device: torch.device, seed: int, stopwatch: Stopwatch) -> list[Target | LeftOut]:
    """Bytes a second in either direction, of host memory that is pinned in place and of such as is not."""
    if device.type == "cpu":
        why = "not applicable: a CPU's tensors lie in the host's memory already"
        return [LeftOut(kind, None, why) for kind in KINDS]
    return [
        Target(
            kind=kind,
            dtype=None,
            unit="bytes per second",
            sizes=SIZES,
            work=float,
            prepare=partial(_transfer, device, kind, variant, seed),
            stopwatch=stopwatch,
            variant=variant,
        )
        for kind, variant in product(KINDS, VARIANTS)
    ]


def _transfer(device: torch.device, kind: Kind, variant: Variant, seed: int, size: int) -> Operation:
    at_host = filled(torch.empty(size // 4, pin_memory=variant == "pinned"), seed)
    at_device = filled(torch.empty(size // 4, device=device), seed)
    source, target = (at_host, at_device) if kind == "host to device" else (at_device, at_host)
    # Without waiting each time: of pinned memory the copies then run back to back.
    return partial(target.copy_, source, non_blocking=True)
