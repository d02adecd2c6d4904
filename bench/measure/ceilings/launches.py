"""What it costs to have the device do next to nothing: one operator on one element."""

import torch

from loopmark.bench.measure.ceilings.stopwatch import HostStopwatch, Operation, QueueStopwatch, Stopwatch
from loopmark.bench.measure.ceilings.target import Target
from loopmark.bench.records.ceilings import Kind, LeftOut, Variant

KIND: Kind = "launch"


def launches(device: torch.device) -> list[Target | LeftOut]:
    """Seconds an operator's call from Python takes the host, and those that the device takes from one to the next."""

    def target(variant: Variant, stopwatch: Stopwatch) -> Target:
        return Target(
            kind=KIND,
            dtype=None,
            unit="seconds",
            sizes=(1,),
            work=lambda _: 1.0,
            prepare=lambda elements: _smallest(device, elements),
            stopwatch=stopwatch,
            variant=variant,
        )

    if device.type == "cpu":
        why = "the host is the device, and does each operation while it is called"
        return [target("host", HostStopwatch()), LeftOut(KIND, None, why, "device")]
    return [target(v, QueueStopwatch(device, by_host=v == "host")) for v in VARIANTS]


VARIANTS: tuple[Variant, Variant] = ("host", "device")


def _smallest(device: torch.device, elements: int) -> Operation:
    # In place: nothing is allocated. Of all operators with a kernel, changing a sign is among the least work.
    return torch.ones(elements, device=device).neg_
