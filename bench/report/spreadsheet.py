"""``summary.csv``: one row a case, every figure in its base unit, for a spreadsheet or another program."""

from collections.abc import Callable

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.report import cells
from loopmark.bench.report.table import csv_text, ends, finite
from loopmark.bench.report.tables import phase_names

Cell = str | int | float | None

_FIGURES: dict[str, Callable[[Row], Estimate | None]] = {
    "step_seconds": lambda row: row.step_seconds,
    "speedup": lambda row: row.speedup,
    "instrumentation": lambda row: row.instrumentation,
    "break_even_steps": lambda row: row.break_even_steps,
    "joules_per_step": lambda row: row.joules_per_step,
    "joules_per_sample": lambda row: row.joules_per_sample,
    "model_flops_utilisation": lambda row: row.roofline.utilisation if row.roofline else None,
    "step_limit_seconds": lambda row: row.roofline.step_limit_seconds if row.roofline else None,
    "share_of_limit": lambda row: row.roofline.share if row.roofline else None,
}
"""What has an interval: three columns each."""

_FACTS: dict[str, Callable[[Row], Cell]] = {
    "samples_per_second": cells.throughput,
    "peak_memory_bytes": lambda row: row.peak_memory_bytes,
    "memory_kind": lambda row: row.case.memory_kind,
    "first_step_seconds": lambda row: row.first_step_seconds,
    "compile_seconds": lambda row: row.compile_seconds,
    "compile_cache": lambda row: row.compile_cache,
    "possible_speedup_taken": lambda row: row.roofline.taken if row.roofline else None,
    "skipped_steps": lambda row: row.skipped_steps,
    "final_scale": lambda row: row.final_scale,
    "attention": lambda row: ", ".join(row.case.attention) or None,
    "batch_size": lambda row: row.case.batch_size,
    "parameters": lambda row: row.case.parameters,
    "launches": lambda row: len(row.case.launches),
    "steps": lambda row: sum(launch.steps for launch in row.case.launches),
    "data_sha256": lambda row: row.case.data_sha256,
}


def record(row: Row, workload: WorkloadSummary) -> dict[str, Cell]:
    """One case in base units, phases left out; None for what was not measured or has no bound."""
    case = row.case
    cells_: dict[str, Cell] = {
        "workload": case.workload,
        "loop": case.loop,
        "repeat": "yes" if case.repeat else "no",
        "status": case.status,
        "reason": case.reason,
        "verdict": row.verdict,
        "trains_as_baseline": row.trained.equivalence.verdict if row.trained else None,
        "noise_floor": workload.noise_floor,
    }
    for name, figure in _FIGURES.items():
        cells_.update(ends(name, figure(row)))
    for name, fact in _FACTS.items():
        value = fact(row)
        cells_[name] = finite(value) if isinstance(value, float) else value
    return cells_


def as_csv(summary: Summary) -> str:
    """The whole table. Its first columns are the same in every run; a column for each phase follows."""
    names = phase_names(summary.rows)
    records = [record(row, workload) for workload in summary.workloads for row in workload.rows]
    on_device = any(row.device_phases for row in summary.rows)
    clocks = ("", "host_") if on_device else ("",)
    headings = [*(records[0] if records else ()), *(f"{n}_{clock}seconds" for clock in clocks for n in names)]
    rows = []
    for row, values in zip(summary.rows, records, strict=True):
        tables = (row.phases, row.host_phases or {}) if on_device else (row.phases,)
        rows.append([*values.values(), *(table.get(name) for table in tables for name in names)])
    return csv_text(headings, rows)
