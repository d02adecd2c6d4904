"""What is measured of a device, and what cannot be: the inside of a worker process of its own."""

from collections.abc import Sequence

import torch

from loopmark.bench.measure.ceilings.copies import copies
from loopmark.bench.measure.ceilings.launches import launches
from loopmark.bench.measure.ceilings.memory import free_bytes, last_level_cache_bytes
from loopmark.bench.measure.ceilings.products import products
from loopmark.bench.measure.ceilings.stopwatch import EventStopwatch, HostStopwatch
from loopmark.bench.measure.ceilings.survey import Found, survey
from loopmark.bench.measure.ceilings.target import Target
from loopmark.bench.measure.ceilings.transfers import transfers
from loopmark.bench.measure.disturbance import DisturbanceMeter
from loopmark.bench.measure.nvml import monitor_of
from loopmark.bench.records.ceilings import LeftOut
from loopmark.loops.technique import Skip


def ceilings_of(device: torch.device, cores: Sequence[int], budget_seconds: float, seed: int) -> Found:
    """The device's ceilings, with the threads that torch has in this process. Raises Skip where nobody knows how."""
    if device.type not in ("cpu", "cuda"):
        raise Skip(f"nothing measures yet what a device of type {device.type} can do")
    with torch.no_grad():
        wanted = targets_of(device, cores, seed)
        meter = DisturbanceMeter(cores, monitor_of(device))
        found = survey(
            [one for one in wanted if isinstance(one, Target)], budget_seconds, seed, meter, soak=device.type == "cuda"
        )
    absent = tuple(one for one in wanted if isinstance(one, LeftOut))
    return Found(found.ceilings, found.left_out + absent)


def targets_of(device: torch.device, cores: Sequence[int], seed: int) -> list[Target | LeftOut]:
    """What is measured of ``device``, in the order in which it is shown, and what cannot be, with the reason."""
    stopwatch = HostStopwatch() if device.type == "cpu" else EventStopwatch(device)
    free, cache = free_bytes(device), last_level_cache_bytes(device, cores)
    return [
        *products(device, free, seed, stopwatch),
        copies(device, free, cache, seed, stopwatch),
        *launches(device),
        *transfers(device, seed, stopwatch),
    ]
