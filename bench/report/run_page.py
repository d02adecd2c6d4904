"""The content of a run's pages, section by section, before layout."""

from collections.abc import Sequence
from typing import Any

from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.records.ceilings import Ceilings
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import cells, show
from loopmark.bench.report.ceilings import remarks, roofline_table
from loopmark.bench.report.disturbance import advice, disturbance_table, seen_by_case, slow_together
from loopmark.bench.report.machine_tables import gpu_table, machine_table
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.run_tables import bound_table, main_table, phase_table, start_table
from loopmark.bench.report.takeaway import takeaway, warnings_of
from loopmark.bench.report.text import plain, short
from loopmark.bench.report.training_table import section, starts_of

TRAINING = ("quality", "training")  # the plots that belong to a section's training


def page_context(
    summary: Summary, samples: Samples, plots: Sequence[Plot], ceilings: Ceilings | None = None
) -> dict[str, Any]:
    """The context of the templates of a run's pages: plain text, tables and plots; a part without content is empty."""
    # One entry for each workload and hash of its data: loops with different data are not comparable.
    hashes = dict.fromkeys((case.workload, case.data_sha256) for case in summary.run.cases if case.data_sha256)
    return {
        "run": summary.run,
        "warnings": warnings_of(summary.run),
        "takeaway": takeaway(summary),
        "baseline": short(summary.run.plan.baseline),
        "workloads": [_section(workload, summary, samples, plots) for workload in summary.workloads],
        "machine": machine_table(summary.run.machine, summary.run.environment),
        "gpu": gpu_table(summary.run),
        "command": summary.run.plan.command,
        "came_to": _came_to(summary.run),
        "duration": show.seconds(summary.run.seconds),
        "data": [{"name": name, "sha256": sha256} for name, sha256 in hashes],
        "doubts": [_sentence(remark) for remark in remarks(ceilings)] if ceilings else [],
    }


def _section(workload: WorkloadSummary, summary: Summary, samples: Samples, plots: Sequence[Plot]) -> dict[str, Any]:
    device, host = phase_table(workload, device=True), phase_table(workload, device=False)
    cases = summary.places(workload)
    blocks = samples.blocks[samples.blocks["case"].isin(cases.values())]
    seen = seen_by_case(cases, blocks)
    spells = slow_together(blocks) if summary.run.imported_from is None else ""
    trained = {one.workload: one for one in (summary.trained.workloads if summary.trained else ())}
    own_plots = [plot for plot in plots if plot.workload == workload.workload]
    titled = [("Phases, on the device's clock", device), ("Phases, as the host enqueues them", host)]
    return {
        "name": workload.workload,
        "table": main_table(workload),
        "noise": _sentence(cells.noise(workload)),
        "lap_cost": " ".join(map(_sentence, filter(None, (cells.lap_cost(workload), cells.attention(workload))))),
        "batch": _batch(workload),
        "notes": [{"name": row.case.label, "text": text} for row in workload.rows if (text := _note(row))],
        "plots": [plot for plot in own_plots if plot.stem not in TRAINING],
        "training_plots": [plot for plot in own_plots if plot.stem in TRAINING],
        "training": section(trained.get(workload.workload), summary.trained, starts_of(summary)),
        "phases": [{"title": t if device else "Phases", "table": table} for t, table in titled if table],
        "bounds": bound_table(workload),
        "roofline": roofline_table(workload),
        "caveat": bool(host or device) and any(cells.compiled(row) for row in workload.rows),
        "start": start_table(workload),
        "disturbances": disturbance_table(seen),
        "advice": list(filter(None, [*advice(seen.values()), spells])),
    }


def _came_to(run: Run) -> str:
    """The values that came from this machine and from defaults, and that may differ in a later run."""
    if run.imported_from is not None:
        return ""
    plan, revision = run.plan, run.environment.revision
    facts = [
        f"device {plan.device}", f"size {plan.size}", f"threads {plan.threads}", f"launches {plan.launches}",
        f"{show.seconds(plan.budget_seconds)} of sampling a case", f"seed {plan.seed}",
        f"Loopmark {run.environment.loopmark}" + (f" at revision {revision}" if revision else ""),
    ]  # fmt: skip
    return plain(f"This run used {', '.join(facts)}.")


def _note(row: Row) -> str:
    """A row's remarks beyond its figures, or the reason why it has none."""
    if row.step_seconds is None:
        return cells.why(row)
    return f"– {notes}" if (notes := cells.notes(row)) else ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _batch(workload: WorkloadSummary) -> str:
    """The batch size and the kind of memory, where all loops agree; then a lack of energy counters."""
    measured = [row.case for row in workload.rows if row.step_seconds is not None]
    batches = {case.batch_size for case in measured if case.batch_size is not None}
    kinds = {case.memory_kind for case in measured if case.memory_kind is not None}
    parts = []
    if len(batches) == 1:
        parts.append(f"Batches of {show.count(batches.pop())} samples.")
    if len(kinds) == 1:
        parts.append(f"Peak memory is {kinds.pop()}.")
    if measured and all(row.joules_per_step is None for row in workload.rows):
        parts.append("Neither GPU nor processor counted energy.")
    return " ".join(parts)
