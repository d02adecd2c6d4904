"""The cases of a plan, and what this machine lacks for any of them."""

from dataclasses import replace

import torch

from loopmark.bench.records.run import Case, Plan
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.loop import EAGER

Lacks = dict[str, str | None]
"""Names, each with what this machine lacks for it, as a sentence; None where it can run."""


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
