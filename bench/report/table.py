"""The table a run ends with, laid out for the width of the terminal at hand."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bench.judge.summary import Row, Summary, WorkloadSummary
from bench.report import cells
from bench.report import format as show
from bench.report.takeaway import takeaway
from bench.report.text import elide

FILE_WIDTH = 110
NAME_WIDTH = 30
GAP = "  "
STYLES = {"faster": "green", "slower": "red"}


@dataclass(frozen=True)
class Column:
    """One column: what heads it, in two lines, and what a row says in it."""

    heading: tuple[str, str]
    cell: Callable[[Row], str]
    left: bool = False


COLUMNS: tuple[Column, ...] = (
    Column(("", "a step"), lambda row: _step(row)),
    Column(("", "speedup"), cells.speedup, left=True),
    Column(("samples", "/s"), lambda row: show.rate(cells.throughput(row))),
    Column(("fwd/bwd/", "opt %"), cells.short_shares),
    Column(("peak", "memory"), lambda row: show.data(row.peak_memory_bytes)),
    Column(("first", "step"), lambda row: show.seconds(row.first_step_seconds)),
    Column(("pays", "after"), lambda row: _pays_after(row)),
    Column(("", "compile"), cells.compile_time),
)
"""In the order in which they are shown; a terminal too narrow for all loses them from the end."""


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Print the run's table and its takeaway, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    console.print(RunTable(summary))
    console.print()
    # In a file a sentence is one line; a terminal breaks it at its own width.
    console.print(Text(takeaway(summary), "bold"), soft_wrap=not console.is_terminal)


class RunTable:
    """The one table of a run: print it on a ``rich`` console of any width."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One ``Text`` a line, none wider than the console; nothing in it is read as markup."""
        rows = [row for row in self._summary.rows if row.step_seconds is not None]
        names = [elide(row.case.label, NAME_WIDTH) for row in self._summary.rows]
        name_width = max((cell_len(name) for name in [*names, "loop"]), default=0)
        columns = {column: _width(column, rows) for column in COLUMNS if _says_anything(column, rows)}
        shown, left_out = _fitting(columns, options.max_width - name_width)
        for number, workload in enumerate(self._summary.workloads):
            if number:
                yield Text()
            yield from (_cut(line, options.max_width) for line in _heading(workload))
            if any(row.step_seconds is not None for row in workload.rows):
                yield from _headings(shown, name_width, options.max_width)
            for row in workload.rows:
                line = _line(row, shown) if row.step_seconds is not None else _ending(row)
                name = Text(set_cell_size(elide(row.case.label, NAME_WIDTH), name_width) + GAP)
                yield _cut(name + line, options.max_width)
            for row in workload.rows:
                if note := cells.notes(row):
                    yield _cut(Text(f"{elide(row.case.label, NAME_WIDTH)}: {note}", "dim"), options.max_width)
        if left_out:
            names_left = ", ".join(" ".join(column.heading).strip() for column in left_out)
            yield _cut(Text(f"columns without room here: {names_left}; see report.md", "dim"), options.max_width)


def _ending(row: Row) -> Text:
    return Text(cells.why(row), "yellow" if row.case.status == "skipped" else "red")


def _heading(workload: WorkloadSummary) -> list[Text]:
    first = Text(elide(workload.workload, NAME_WIDTH), "bold") + Text(f"{GAP}{cells.noise(workload)}", "dim")
    cost = cells.lap_cost(workload)
    return [first, Text(cost, "dim")] if cost else [first]


def _headings(shown: dict[Column, int], name_width: int, width: int) -> list[Text]:
    lines = []
    for part, name in ((0, ""), (1, "loop")):
        line = Text(name.ljust(name_width) + GAP, "dim")
        line.append(GAP.join(_fit(column.heading[part], size, column.left) for column, size in shown.items()))
        lines.append(_cut(line, width))
    return lines


def _line(row: Row, shown: dict[Column, int]) -> Text:
    style = STYLES.get(row.verdict or "", "")
    parts = [
        Text(_fit(column.cell(row), size, column.left), style if column.cell is cells.speedup else "")
        for column, size in shown.items()
    ]
    return Text(GAP).join(parts)


def _fit(text: str, width: int, left: bool) -> str:
    padding = " " * (width - cell_len(text))
    return text + padding if left else padding + text


def _cut(line: Text, width: int) -> Text:
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line


def _width(column: Column, rows: list[Row]) -> int:
    return max(cell_len(text) for text in (*column.heading, *(column.cell(row) for row in rows)))


def _says_anything(column: Column, rows: list[Row]) -> bool:
    return any(column.cell(row) != show.ABSENT for row in rows)


def _fitting(columns: dict[Column, int], room: int) -> tuple[dict[Column, int], list[Column]]:
    shown: dict[Column, int] = {}
    for column, width in columns.items():
        room -= width + len(GAP)
        if room < 0:
            break
        shown[column] = width
    return shown, [column for column in columns if column not in shown]


def _step(row: Row) -> str:
    if row.step_seconds is None:
        return show.ABSENT
    return f"{show.seconds(row.step_seconds.value)} {show.plus_minus(row.step_seconds)}"


def _pays_after(row: Row) -> str:
    return show.count(row.break_even_steps.value) if row.break_even_steps else show.ABSENT
