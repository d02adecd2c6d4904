"""A step's memory on the terminal: a line a phase, and where the peak is."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from loopmark.bench.records.footprint import Footprint, FootprintCase, PhaseMemory
from loopmark.bench.report import format as show
from loopmark.bench.report.footprint import words
from loopmark.bench.report.table import FILE_WIDTH, GAP, as_wide_as
from loopmark.bench.report.text import elide

HEADINGS = ("phase", "peak", "at its end", "peak reserved")


def print_footprints(cases: Sequence[FootprintCase], console: Console | None = None) -> None:
    """Print every loop's phases, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(FILE_WIDTH, console)
    for case in cases:
        if case.footprint:
            for line in _table(case, case.footprint):
                console.print(line, soft_wrap=not console.is_terminal)
            console.print()
    for case in cases:
        style = {"ok": "bold", "skipped": "yellow"}.get(case.status, "red")
        console.print(Text(words.conclusion(case), style), soft_wrap=not console.is_terminal)


def _table(case: FootprintCase, step: Footprint) -> list[Text]:
    rows = [_cells(phase) for phase in step.phases]
    shown = [i for i in range(len(HEADINGS)) if i == 0 or any(row[i] != show.ABSENT for row in rows)]
    widths = {i: max(cell_len(row[i]) for row in (HEADINGS, *rows)) for i in shown}
    title = f"{elide(case.workload, words.NAME_WIDTH)}  {elide(case.loop, words.NAME_WIDTH)}"
    head = Text(title, "bold").append(f"{GAP}batch {step.batch_size:,}; {words.counted(step)}", "not bold dim")
    lines = [head, Text(_line(HEADINGS, widths), "dim")]
    for row in rows:
        highest = row[0] == elide(step.peak.phase, words.NAME_WIDTH)
        lines.append(Text(_line(row, widths), "bold" if highest else ""))
    return lines


def _cells(phase: PhaseMemory) -> tuple[str, ...]:
    return (
        elide(phase.phase, words.NAME_WIDTH),
        show.data(phase.peak_bytes),
        show.data(phase.end_bytes),
        show.data(phase.peak_reserved_bytes),
    )


def _line(cells: Sequence[str], widths: dict[int, int]) -> str:
    name, *figures = (
        cells[i] + " " * (width - cell_len(cells[i])) if i == 0 else " " * (width - cell_len(cells[i])) + cells[i]
        for i, width in widths.items()
    )
    return GAP.join([name, *figures])
