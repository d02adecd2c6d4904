"""Workloads, loops and cases to measure, and the requirements that this machine lacks."""

from dataclasses import dataclass
from typing import Any

import torch

from loopmark.bench.records.run import Case, Plan
from loopmark.loops.catalog import TECHNIQUES, WORKLOADS, find_loop, find_workload
from loopmark.loops.loop import EAGER
from loopmark.loops.workloads.extras import EXTRAS, lacks


@dataclass(frozen=True)
class Item:
    """A workload or a technique."""

    name: str
    summary: str
    lacks: str | None = None  # the reason why it cannot run here; None if it can


def workloads() -> tuple[Item, ...]:
    """The included workloads, and one line for the models of each extra."""
    included = (Item(workload.name, workload.summary, workload.lacks()) for workload in WORKLOADS.values())
    return *included, *(Item(f"{key}:MODEL", summary, lacks(key)) for key, (_, summary) in EXTRAS.items())


def loops(device: torch.device) -> tuple[Item, ...]:
    """The canonical loop and every technique, in the order in which they are applied."""
    techniques = sorted(TECHNIQUES.values(), key=lambda t: (t.rank, t.name))
    rows = [Item(t.name, t.summary, t.lacks(device)) for t in techniques]
    accumulation = Item("accumulate_K", "the batch in K parts, one update; K from 2 on, as in accumulate_4")
    rows.insert(next(i for i, t in enumerate(techniques) if t.rank > 70), accumulation)
    return Item(EAGER.name, "the canonical step: the baseline, unless another is named"), *rows


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


Lacks = dict[str, str | None]  # by name: a sentence with the requirement this machine lacks; None if it can run


def lacking(plan: Plan) -> tuple[Lacks, Lacks]:
    """Requirements that this machine lacks for the plan's workloads and for its loops, the baseline first."""
    device = torch.device(plan.device)
    workloads = {workload.name: workload.lacks() for workload in map(find_workload, plan.workloads)}
    return workloads, {loop.name: loop.lacks(device) for loop in map(find_loop, plan.loops)}


def lacks_by_case(workloads: Lacks, loops: Lacks) -> dict[tuple[str, str], str | None]:
    """The requirement that each pair of workload and loop lacks."""
    return {(w, loop): no_data or lack for w, no_data in workloads.items() for loop, lack in loops.items()}


def cases_of(workloads: Lacks, loops: Lacks, baseline: str) -> list[Case]:
    """The baseline, the baseline again, and every other loop, for each workload."""
    unknown: dict[str, Any] = dict.fromkeys(("batch_size", "parameters", "data_sha256", "memory_kind"))
    return [
        Case(workload, loop, repeat, "skipped" if reason else "ok", reason, phases=(), launches=(), **unknown)
        for (workload, loop), reason in lacks_by_case(workloads, loops).items()
        for repeat in ((False, True) if loop == baseline else (False,))
    ]
