"""What there is to measure, and whether this machine can run it."""

from dataclasses import dataclass

import torch

from loopmark.loops.catalog import TECHNIQUES, WORKLOADS
from loopmark.loops.loop import EAGER


@dataclass(frozen=True)
class Item:
    """A workload or a technique."""

    name: str
    summary: str
    lacks: str | None = None
    """Why it cannot run here; None where it can."""


def workloads() -> tuple[Item, ...]:
    """Every workload that comes with Loopmark."""
    return tuple(Item(workload.name, workload.summary, workload.lacks()) for workload in WORKLOADS.values())


def loops(device: torch.device) -> tuple[Item, ...]:
    """The canonical loop and every technique, in the order in which they apply."""
    techniques = sorted(TECHNIQUES.values(), key=lambda t: (t.rank, t.name))
    rows = [Item(t.name, t.summary, t.lacks(device)) for t in techniques]
    accumulation = Item("accumulate_K", "the batch in K parts, one update; K from 2 on, as in accumulate_4")
    place = next(i for i, t in enumerate(techniques) if t.rank > 70)
    return (
        Item(EAGER.name, "the canonical step: every other loop is read against it"),
        *rows[:place],
        accumulation,
        *rows[place:],
    )


def default_device() -> torch.device:
    """CUDA where there is a device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
