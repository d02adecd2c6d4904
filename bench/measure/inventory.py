"""Workloads, loops and cases to measure: the requirements that this machine lacks, and the failures that they share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from loopmark.bench.records.batch_sizes import BatchCase
from loopmark.bench.records.footprint import FootprintCase
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


Ended = Case | BatchCase | FootprintCase


def foretold(case: Ended, cases: Iterable[Ended]) -> str | None:
    """The reason why ``case`` would fail, known from others of ``cases``; None if it has to be tried.

    It would once its step has failed by itself, and with a technique at the same place.
    """
    failed = [one for one in cases if one.workload == case.workload and one.status == "failed"]
    step = _step(case)
    plain = next((one.reason or "" for one in failed if one.loop == step), None)
    others = (one for one in failed if one.loop != step and _step(one) == step)
    return plain if plain is not None and any(_place(one.reason or "") == _place(plain) for one in others) else None


def nothing_measured(cases: Iterable[Ended]) -> str:
    """The sentence for a command that measured none of ``cases``, with each reason once."""
    every = list(cases)
    ended = [case for case in every if case.status != "skipped"] or every
    reasons: dict[tuple[str, str], list[str]] = {}
    for case in ended:
        reasons.setdefault((case.workload, case.reason or case.status), []).append(case.loop)
    told = []
    for (workload, reason), loops in reasons.items():
        is_all = len(loops) == sum(case.workload == workload for case in ended)
        told.append(f"{workload}, {'every loop' if is_all else ', '.join(dict.fromkeys(loops))}: {reason}")
    return f"nothing was measured: {'; '.join(told)}"


def _place(reason: str) -> str:
    return reason.partition(": ")[0]


def _step(case: Ended) -> str:
    """The step that the loop's techniques change: the user's own or the canonical one."""
    own, *_ = case.loop.split("+")
    return own if ":" in own else EAGER.name
