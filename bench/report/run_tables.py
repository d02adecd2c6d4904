"""The tables of a run: the last one in the terminal, which fits its width, and the full ones of its pages."""

from collections.abc import Iterator
from functools import partial

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.report import cells
from loopmark.bench.report import format as show
from loopmark.bench.report.figures import columns
from loopmark.bench.report.table import GAP, NAME_WIDTH, Cell, Column, Table, as_wide_as, cut, figure, print_lines
from loopmark.bench.report.takeaway import takeaway, warnings_of
from loopmark.bench.report.text import elide, said_once
from loopmark.bench.report.training_table import starts_of, training_lines

MOST_WARNINGS = 6  # in the terminal; the pages have all


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Print the run's table, warnings and takeaway, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(console)
    for line in _lines(summary, console):
        console.print(line)
    console.print()
    if summary.trained is not None and any(one.target is not None for one in summary.trained.workloads):
        print_lines(training_lines(summary.trained, starts_of(summary), console), console)
        console.print()
    if warnings := warnings_of(summary.run):
        print_lines((Text(f"warning: {warning}", "yellow") for warning in warnings[:MOST_WARNINGS]), console)
        if len(warnings) > MOST_WARNINGS:
            console.print(Text(f"warnings only in report.html: {len(warnings) - MOST_WARNINGS}", "yellow"))
        console.print()
    print_lines([Text(takeaway(summary), "bold")], console)


def _lines(summary: Summary, console: Console) -> Iterator[Text]:
    """The lines of the table, none wider than the console; none of the text is markup."""
    width = console.width
    rows = tuple(row for row in summary.rows if row.step_seconds is not None)
    names = [row.case.label for row in summary.rows]
    table = Table(columns("terminal", rows), rows, silent=show.ABSENT).in_terminal(names, width)
    for number, workload in enumerate(summary.workloads):
        if number:
            yield Text()
        heading = Text(elide(workload.workload, NAME_WIDTH), "bold")
        yield cut(heading + Text(f"{GAP}{cells.noise(workload)}", "dim"), width)
        said = cells.lap_cost(workload), cells.attention(workload)
        yield from (cut(Text(sentence, "dim"), width) for sentence in said if sentence)
        if any(row.step_seconds is not None for row in workload.rows):
            yield from table.headings()
        why = dict(said_once((row.case.label, cells.why(row)) for row in workload.rows if row.step_seconds is None))
        for row in workload.rows:
            if row.step_seconds is not None:
                yield table.line(row.case.label, row)
            else:
                style = "yellow" if row.case.status == "skipped" else "red"
                yield from table.ending(row.case.label, why[row.case.label], style, console)
        for row in workload.rows:
            if text := cells.notes(row):
                yield from table.note(row.case.label, text, console)
    if table.left_out:
        yield cut(Text(f"report.md also has: {', '.join(table.left_out)}", "dim"), width)


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

    def total(row: Row) -> Cell:
        seconds = sum(phases(row).values())
        return figure(show.seconds(seconds), seconds)

    measured = [row for row in workload.rows if phases(row)]
    return Table([NAME, *map(column, cells.phase_names(measured)), Column("step with laps", total)], measured)


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
