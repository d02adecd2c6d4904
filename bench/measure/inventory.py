"""Workloads, loops and cases to measure, and what this machine lacks for them."""

from dataclasses import dataclass, replace

import torch

from loopmark.bench.records.run import Case, Plan
from loopmark.loops.catalog import TECHNIQUES, WORKLOADS, find_loop, find_workload
from loopmark.loops.loop import EAGER


@dataclass(frozen=True)
class Item:
    """A workload or a technique."""

    name: str
    summary: str
    lacks: str | None = None  # why it cannot run here; None where it can


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


Lacks = dict[str, str | None]  # names, each with what this machine lacks for it, as a sentence; None where it can run


def lacking(plan: Plan) -> tuple[Lacks, Lacks]:
    """The plan's workloads and its loops, the baseline first."""
    device = torch.device(plan.device)
    workloads = {workload.name: workload.lacks() for workload in map(find_workload, plan.workloads)}
    return workloads, {loop.name: loop.lacks(device) for loop in (EAGER, *map(find_loop, plan.loops))}


def cases_of(workloads: Lacks, loops: Lacks) -> list[Case]:
    """The baseline, the baseline again, and every other loop, for each workload."""
    cases = []
    for workload, no_data in workloads.items():
        for loop, no_support in loops.items():
            reason = no_data or no_support
            case = Case(
                workload=workload,
                loop=loop,
                repeat=False,
                status="skipped" if reason else "ok",
                reason=reason,
                batch_size=None,
                parameters=None,
                data_sha256=None,
                phases=(),
                memory_kind=None,
                launches=(),
            )
            cases.append(case)
            if loop == EAGER.name:
                cases.append(replace(case, repeat=True))
    return cases
