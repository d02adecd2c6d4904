"""A search for a batch size on the terminal: a line a size, and what it comes to."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.batches import BatchFinding, BatchRow
from loopmark.bench.report import format as show
from loopmark.bench.report.batches import words
from loopmark.bench.report.table import FILE_WIDTH, GAP, as_wide_as
from loopmark.bench.report.text import elide

HEADINGS = ("batch", "a step", "samples/s", "peak memory")


def print_batches(findings: Sequence[BatchFinding], console: Console | None = None) -> None:
    """Print every case's sizes, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(FILE_WIDTH, console)
    for finding in findings:
        if finding.rows:
            for line in _table(finding):
                console.print(line, soft_wrap=not console.is_terminal)
            console.print()
    for finding in findings:
        style = {"ok": "bold", "skipped": "yellow"}.get(finding.case.status, "red")
        console.print(Text(words.conclusion(finding), style), soft_wrap=not console.is_terminal)


def _table(finding: BatchFinding) -> list[Text]:
    case = finding.case
    cells = [_cells(row) for row in finding.rows]
    widths = [max(map(cell_len, column)) for column in zip(HEADINGS, *cells, strict=True)]
    title = Text(f"{elide(case.workload, words.NAME_WIDTH)}  {elide(case.loop, words.NAME_WIDTH)}", "bold")
    kind = f"{GAP}peak memory: {elide(case.memory_kind, words.NAME_WIDTH)}" if case.memory_kind else ""
    lines = [title + Text(kind, "not bold dim"), Text(_line(HEADINGS, widths), "dim")]
    for row, texts in zip(finding.rows, cells, strict=True):
        note = _note(row, finding)
        lines.append(Text(f"{_line(texts, widths)}{GAP}{note}" if note else _line(texts, widths)))
        lines[-1].stylize("green" if row in finding.equals else "dim" if not row.attempt.fits else "")
    if noise := words.noise(finding):
        lines.append(Text(noise, "dim"))
    return lines


def _cells(row: BatchRow) -> tuple[str, str, str, str]:
    return (
        words.size(row),
        show.seconds_plus_minus(row.step_seconds),
        show.rate_range(row.samples_per_second),
        words.memory(row),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(" " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths, strict=True))


def _note(row: BatchRow, finding: BatchFinding) -> str:
    if not row.attempt.fits:
        return words.why_not(row.attempt)
    marks = ["best throughput" if row is finding.best else "as good" if row in finding.equals else ""]
    largest = "largest that fits" if words.is_known(finding) else "largest tried"
    marks.append(largest if row is finding.largest else "")
    marks.append("use this" if row is finding.recommended else "")
    return ", ".join(filter(None, marks))
