"""A history on a terminal: a line a loop, and below it what changed, when, and with what."""

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.history import Series, SeriesSubject, by_subject, suspicions
from loopmark.bench.report import format as show
from loopmark.bench.report.history import words as words
from loopmark.bench.report.table import as_wide_as
from loopmark.bench.report.text import elide

FILE_WIDTH = 110
NAME_WIDTH = 30
GAP = "  "
INDENT = "    "


def print_history(series: tuple[Series, ...], console: Console | None = None) -> None:
    """Print every subject's loops, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(FILE_WIDTH, console)
    if not series:
        console.print(f"no run measured a loop beside {BASELINE}: there is no ratio to follow", markup=False)
    for number, (subject, alike) in enumerate(by_subject(series).items()):
        if number:
            console.print()
        for line in _subject(subject, alike):
            # What changed is not cut off, in a file or on a narrow terminal: it is what the table is for.
            console.print(line, soft_wrap=not console.is_terminal)


def _subject(subject: SeriesSubject, alike: tuple[Series, ...]) -> list[Text]:
    head = Text(elide(subject.workload, NAME_WIDTH), "bold")
    head.append(f"{GAP}{words.where(subject)}; {words.span(alike)}", "not bold dim")
    names = [elide(one.loop, NAME_WIDTH) for one in alike]
    rows = [
        [str(len(one.points)), *(show.ratio_range(one.points[i].speedup) for i in (0, -1)), words.changes(one)]
        for one in alike
    ]
    headings = ["runs", "first", "latest", "changes"]
    widths = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    name_width = max(map(cell_len, [*names, "loop"]))
    lines = [head, Text(_row("loop", headings, name_width, widths), "dim")]
    for name, row, one in zip(names, rows, alike, strict=True):
        lines.append(Text(_row(name, row, name_width, widths)))
        for change in one.changes:
            lines.append(Text(INDENT + words.happened(change), "green" if change.is_improvement else "red"))
            lines.append(Text(f"{INDENT}{INDENT}{words.came_with(change)}", "dim"))
    lines += [Text(words.suspected(found), "yellow") for found in suspicions(alike)]
    return lines


def _row(name: str, cells: list[str], name_width: int, widths: list[int]) -> str:
    count, *ranges = cells
    count_width, *range_widths = widths
    parts = [set_cell_size(name, name_width), count.rjust(count_width)]
    parts += [set_cell_size(cell, width) for cell, width in zip(ranges, range_widths, strict=True)]
    return GAP.join(parts).rstrip()
