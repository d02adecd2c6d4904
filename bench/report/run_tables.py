"""A run as tables: the one in the terminal, which fits its width, and section by section for the pages."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.bounds import kinds_of
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.records.ceilings import Ceilings
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import cells, show
from loopmark.bench.report.cards import card_lines, cards, matrix, title
from loopmark.bench.report.ceilings import remarks
from loopmark.bench.report.disturbance import advice, disturbance_table, seen_by_case, slow_together
from loopmark.bench.report.figures import columns
from loopmark.bench.report.machine_tables import gpu_table, machine_table
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.table import (
    GAP,
    NAME_WIDTH,
    Cell,
    Column,
    Table,
    as_wide_as,
    figure,
    measured,
    print_lines,
)
from loopmark.bench.report.takeaway import warnings_of
from loopmark.bench.report.text import elide, plain, short
from loopmark.bench.report.training_table import section, starts_of, training_lines

MOST_WARNINGS = 6  # in the terminal; the pages have all


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Print the run's table, warnings and cards, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(console)
    print_lines(_lines(summary, console), console)
    console.print()
    if summary.trained is not None and any(one.target is not None for one in summary.trained.workloads):
        print_lines(training_lines(summary.trained, starts_of(summary), console), console)
        console.print()
    if warnings := warnings_of(summary.run):
        print_lines((Text(f"warning: {warning}", "yellow") for warning in warnings[:MOST_WARNINGS]), console)
        if len(warnings) > MOST_WARNINGS:
            console.print(Text(f"warnings only in report.html: {len(warnings) - MOST_WARNINGS}", "yellow"))
        console.print()
    print_lines(card_lines(summary, console), console)


def _lines(summary: Summary, console: Console) -> Iterator[Text]:
    """The lines of the table; none of the text is markup."""
    rows = tuple(row for row in summary.rows if row.step_seconds is not None)
    names = [row.case.label for row in summary.rows]
    table = Table(columns("terminal", rows), rows, silent=show.ABSENT).in_terminal(names, console.width)
    for number, workload in enumerate(summary.workloads):
        if number:
            yield Text()
        yield Text.assemble((elide(workload.workload, NAME_WIDTH), "bold"), (f"{GAP}{cells.noise(workload)}", "dim"))
        yield from (Text(said, "dim") for said in (cells.lap_cost(workload), cells.attention(workload)) if said)
        why = ("" if row.step_seconds is not None else cells.why(row) for row in workload.rows)
        labels = [row.case.label for row in workload.rows]
        yield from table.cases(zip(labels, workload.rows, why, strict=True), console)
        yield from table.notes(zip(labels, map(cells.notes, workload.rows), strict=True))
    yield from table.rest("report.md")


NAME = Column[Row]("loop", lambda row: Cell(row.case.label, strong=row.is_baseline))


def main_table(workload: WorkloadSummary) -> Table[Row]:
    """Every case, its speedup and verdict first; a case without figures has its status."""
    return Table([NAME, *columns("main", workload.rows)], workload.rows)


def start_table(workload: WorkloadSummary) -> Table[Row]:
    """The cost of starting, and the number of steps that make up for it."""
    started = tuple(row for row in workload.rows if row.first_step_seconds is not None)
    return Table([NAME, *columns("start", started)], started)


def phase_table(workload: WorkloadSummary, *, device: bool) -> Table[Row]:
    """Seconds a step in each phase, and its share of the step; empty where that clock timed no case."""

    def phases(row: Row) -> dict[str, float]:
        return (row.device_phases if device else row.host_phases) or {}

    def column(name: str) -> Column[Row]:
        return Column(name, lambda row: figure(cells.phase(name, phases(row)), phases(row).get(name)))

    timed = [row for row in workload.rows if phases(row)]
    step: Column[Row] = measured("step with laps", lambda row: sum(phases(row).values()), show.seconds)
    return Table([NAME, *map(column, cells.phase_names(timed)), step], timed)


def bound_table(workload: WorkloadSummary) -> Table[Row]:
    """The bound of each phase, with the figures of both clocks; empty unless both clocks saw the phases."""
    bounded = [row for row in workload.rows if row.bounds]
    return Table([NAME, *(Column(name, partial(_bound, name)) for name in cells.phase_names(bounded))], bounded)


def _bound(phase: str, row: Row) -> Cell:
    bound = row.bounds.get(phase)
    if bound is None:
        return figure(show.ABSENT)
    text = f"{bound.by}: host {show.seconds(bound.host_seconds)}, device {show.seconds(bound.device_seconds)}"
    return Cell(text, bound.device_seconds)


def roofline_table(workload: WorkloadSummary) -> Table[Row]:
    """The loops with known limits: the step's limit, the share reached, and each phase; else empty."""
    rows = [row for row in workload.rows if row.roofline is not None]
    columns: list[Column[Row]] = [
        NAME,
        Column("multiplies in", lambda row: ", ".join(kinds_of(row.case.work))),
        measured("MFU", lambda row: row.roofline and row.roofline.utilisation, show.percent_range),
        measured("a step's limit", lambda row: row.roofline and row.roofline.step_limit_seconds.value, show.seconds),
        measured("reaches", lambda row: row.roofline and row.roofline.share, show.percent_range),
        measured("possible speedup taken", lambda row: row.roofline and row.roofline.taken, show.percent),
        *(Column(name, partial(_phase_cell, name)) for name in cells.phase_names(rows)),
    ]
    return Table(columns, rows)


def _phase_cell(phase: str, row: Row) -> Cell:
    roof = row.roofline.phases.get(phase) if row.roofline else None
    if roof is None or not roof.limit_seconds.value or not math.isfinite(roof.share):
        return figure(show.ABSENT)
    return figure(f"{show.percent(roof.share)} ({roof.limited_by})", roof.share)


def page_context(
    summary: Summary, samples: Samples, plots: Sequence[Plot], ceilings: Ceilings | None = None
) -> dict[str, Any]:
    """The context of the templates of a run's pages: plain text, tables and plots; a part without content is empty."""
    run, torch = summary.run, summary.run.environment.torch
    head = run.plan.device, torch and f"torch {torch}", run.machine.name, f"run {short(run.name)}"
    # One entry for each workload and hash of its data: loops with different data are not comparable.
    hashes = dict.fromkeys((case.workload, case.data_sha256) for case in run.cases if case.data_sha256)
    return {
        "run": run,
        "warnings": warnings_of(run),
        "title": title(summary),
        "cards": cards(summary),
        "matrix": matrix(summary),
        "baseline": short(run.plan.baseline),
        "workloads": [_section(workload, summary, samples, plots) for workload in summary.workloads],
        "machine": machine_table(run.machine, run.environment),
        "gpu": gpu_table(run),
        "came_to": _came_to(run),
        "measured": ", ".join(filter(None, (*head, show.seconds(run.seconds)))),
        "data": [f"{name}: {sha256}" for name, sha256 in hashes],
        "doubts": [_sentence(remark) for remark in remarks(ceilings)] if ceilings else [],
    }


def _section(workload: WorkloadSummary, summary: Summary, samples: Samples, plots: Sequence[Plot]) -> dict[str, Any]:
    device, host = phase_table(workload, device=True), phase_table(workload, device=False)
    cases = summary.places(workload)
    blocks = samples.blocks[samples.blocks["case"].isin(cases.values())]
    seen = seen_by_case(cases, blocks)
    spells = slow_together(blocks) if summary.run.imported_from is None else ""
    trained = {one.workload: one for one in (summary.trained.workloads if summary.trained else ())}
    titled = [("Phases, on the device's clock", device), ("Phases, as the host enqueues them", host)]
    said = cells.noise(workload), cells.lap_cost(workload), cells.attention(workload)
    noise, lap_cost, attention = map(_sentence, said)
    return {
        "name": workload.workload,
        "table": main_table(workload),
        "figures": " ".join(filter(None, [noise, _batch(workload), lap_cost, attention])),
        "notes": [f"{row.case.label} {text}" for row in workload.rows if (text := _note(row))],
        "plots": [plot for plot in plots if plot.workload == workload.workload],
        "training": section(trained.get(workload.workload), summary.trained, starts_of(summary)),
        "phases": [(title if device else "Phases", table) for title, table in titled if table],
        "bounds": bound_table(workload),
        "roofline": roofline_table(workload),
        "caveat": bool(host or device) and any(cells.compiled(row) for row in workload.rows),
        "start": start_table(workload),
        "disturbances": disturbance_table(seen),
        "advice": list(filter(None, [*advice(seen.values()), spells])),
    }


def _came_to(run: Run) -> str:
    """The values that came from this machine and from defaults, and that may differ in a later run."""
    if run.imported_from is not None or run.watched is not None:
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
