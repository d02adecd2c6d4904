"""The table a run ends with, laid out for the width of the terminal at hand."""

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.report import cells, rooflines
from loopmark.bench.report import format as show
from loopmark.bench.report.table import FILE_WIDTH, GAP, NAME_WIDTH, Column, Table, TextTable, as_wide_as, cut
from loopmark.bench.report.takeaway import takeaway
from loopmark.bench.report.text import elide
from loopmark.bench.report.training import words
from loopmark.bench.report.training.table import TrainingTable, starts_of
from loopmark.bench.report.warnings import warnings_of

MOST_WARNINGS = 6
"""That the terminal has room for; the pages have all."""
STYLES = {"faster": "green", "slower": "red"}

COLUMNS: tuple[Column[Row], ...] = (
    Column("a step", lambda row: show.seconds_plus_minus(row.step_seconds)),
    Column("speedup", cells.speedup, left=True, style=lambda row: STYLES.get(row.verdict or "", "")),
    Column("trains\nas eager", lambda row: words.verdict(row.trained), left=True, style=lambda row: _alarm(row)),
    Column("samples\n/s", lambda row: show.rate(cells.throughput(row))),
    Column("fwd/bwd/\nopt %", cells.short_shares),
    Column("peak\nmemory", lambda row: show.data(row.peak_memory_bytes)),
    Column("first\nstep", lambda row: show.seconds(row.first_step_seconds)),
    Column("pays\nafter", lambda row: _pays_after(row)),
    Column("compile", cells.compile_time),
    Column("MFU", rooflines.utilisation),
    Column("energy\na step", lambda row: show.joules(row.joules_per_step)),
)
"""In the order in which they are shown; a terminal too narrow for all loses them from the end."""


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Print the run's table, warnings and takeaway, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(FILE_WIDTH, console)
    console.print(RunTable(summary))
    console.print()
    if summary.trained is not None and any(one.target is not None for one in summary.trained.workloads):
        console.print(TrainingTable(summary.trained, starts_of(summary)))
        console.print()
    if warnings := warnings_of(summary.run):
        for warning in warnings[:MOST_WARNINGS]:
            console.print(Text(f"warning: {warning}", "yellow"), soft_wrap=not console.is_terminal)
        if len(warnings) > MOST_WARNINGS:
            console.print(Text(f"more of them, in report.html: {len(warnings) - MOST_WARNINGS}", "yellow"))
        console.print()
    # In a file a sentence is one line; a terminal breaks it at its own width.
    console.print(Text(takeaway(summary), "bold"), soft_wrap=not console.is_terminal)


class RunTable:
    """The one table of a run: print it on a ``rich`` console of any width."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One ``Text`` a line, none wider than the console; nothing in it is read as markup."""
        width = options.max_width
        rows = [row for row in self._summary.rows if row.step_seconds is not None]
        names = [row.case.label for row in self._summary.rows]
        grid = TextTable(Table(COLUMNS, rows, silent=show.ABSENT), names, width)
        for number, workload in enumerate(self._summary.workloads):
            if number:
                yield Text()
            yield from (cut(line, width) for line in _heading(workload))
            if any(row.step_seconds is not None for row in workload.rows):
                yield from grid.headings()
            for row in workload.rows:
                measured = row.step_seconds is not None
                yield grid.line(row.case.label, row) if measured else grid.named(row.case.label, _ending(row))
            for row in workload.rows:
                if text := cells.notes(row):
                    yield from grid.note(row.case.label, text, console)
        if grid.left_out:
            yield cut(Text(f"report.md also has: {', '.join(grid.left_out)}", "dim"), width)


def _ending(row: Row) -> Text:
    return Text(cells.why(row), "yellow" if row.case.status == "skipped" else "red")


def _heading(workload: WorkloadSummary) -> list[Text]:
    first = Text(elide(workload.workload, NAME_WIDTH), "bold") + Text(f"{GAP}{cells.noise(workload)}", "dim")
    said = cells.lap_cost(workload), cells.attention(workload)
    return [first, *(Text(sentence, "dim") for sentence in said if sentence)]


def _alarm(row: Row) -> str:
    return "red" if row.departs else ""


def _pays_after(row: Row) -> str:
    return show.count(row.break_even_steps.value) if row.break_even_steps else show.ABSENT
