"""A trace for another program: strict JSON values, and its kernels as CSV."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from loopmark.bench.records.trace import KERNELS_FILE, TRACE_FILE, Profile, Trace
from loopmark.bench.report.table import csv_text
from loopmark.bench.report.trace.table import conclusion, notes


def as_json(trace: Trace, folder: Path | None) -> dict[str, Any]:
    """The trace as strict JSON values, its kernels and where its files are; None for what there is not."""
    return {
        "workload": trace.workload,
        "loop": trace.loop,
        "device": trace.device,
        "status": trace.status,
        "reason": trace.reason,
        "trace": str(folder / TRACE_FILE) if folder else None,
        "kernels": str(folder / KERNELS_FILE) if folder else None,
        "profile": _profile_as_json(trace.profile) if trace.profile else None,
        "conclusion": conclusion(trace),
    }


def _profile_as_json(profile: Profile) -> dict[str, Any]:
    phases = [
        {
            "phase": phase.phase,
            "host_seconds_per_step": phase.host_seconds_per_step,
            "seconds_per_step": phase.seconds_per_step,
            "costs": [{**asdict(cost), "share": phase.share(cost)} for cost in phase.costs],
        }
        for phase in profile.phases
    ]
    return {**asdict(profile), "phases": phases, "notes": list(notes(profile))}


HEADINGS = ("phase", "name", "calls_per_step", "seconds_per_step", "share_of_phase")


def as_csv(profile: Profile) -> str:
    """One row a kernel of a phase, the phases in their order, the dearest first; no phase where none launched it."""
    rows: list[list[object]] = [
        [phase.phase, cost.name, cost.calls_per_step, cost.seconds_per_step, phase.share(cost)]
        for phase in profile.phases
        for cost in phase.costs
    ]
    rows += [[None, cost.name, cost.calls_per_step, cost.seconds_per_step, None] for cost in profile.unattributed]
    return csv_text(HEADINGS, rows)
