"""A search for a batch size: in words, on the terminal, and as CSV, JSON and plots."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.batches import BatchFinding, BatchRow
from loopmark.bench.records.batch_sizes import Attempt
from loopmark.bench.records.files import replace_file, writing_to
from loopmark.bench.report import show
from loopmark.bench.report.plot_files import Figures, draw_plots
from loopmark.bench.report.table import GAP, Column, Table, as_wide_as, csv_of, ends, picked, print_lines
from loopmark.bench.report.text import elide, grouped, plain

NAME_WIDTH, LONGEST = 60, 1200
WIDE = 0.05  # a difference between processes of one size that hides the differences between sizes


def conclusion(finding: BatchFinding) -> str:
    """The result of a search, in a few sentences on one line."""
    case, best, largest, use = finding.case, finding.best, finding.largest, finding.recommended
    who = f"{elide(case.workload, NAME_WIDTH)}, {elide(case.loop, NAME_WIDTH)}"
    if best is None or largest is None:
        return f"{who}: {case.status.replace('_', ' ')}: {elide(case.reason or 'interrupted', LONGEST)}."
    known = "that fits" if is_known(finding) else "that was tried and fits"
    text = (
        f"{who}: the largest batch {known} is {size(largest)} ({stop(finding)}); the most samples a second came at "
        f"{size(best)}, {show.rate_range(best.samples_per_second)}"
    )
    if use is None:
        differ = f"processes of one size differ by {show.percent(finding.noise)}"
        return f"{text}. No size can be recommended: {differ}; measure again on an idle machine."
    if len(finding.equals) == 1:
        return f"{text}: use {size(best)}."
    others = ", ".join(size(row) for row in finding.equals if row is not best)
    less = "" if use is best else f", which needs {memory(use)} of memory instead of {memory(best)}"
    return f"{text}, and not shown to be slower: {others}. Use {size(use)}{less}."


def is_known(finding: BatchFinding) -> bool:
    """True if the largest size that was tried and fits is the largest that fits at all."""
    return finding.case.stop not in (None, "time")


def stop(finding: BatchFinding) -> str:
    """The reason why the largest batch that fits is not larger."""
    if finding.case.stop is None:
        return "the search was interrupted"
    if finding.case.stop == "time":
        return "the search ran out of time; --budget allows more"
    fits = finding.largest.attempt.batch_size if finding.largest else math.inf
    above = next((row for row in finding.rows if row.attempt.batch_size > fits), None)
    if above is None:
        return "the data has no more rows"
    return f"{size(above)} does not: {why_not(above.attempt)}"


def why_not(attempt: Attempt) -> str:
    """The reason why a batch does not fit; empty if it does."""
    if attempt.fits:
        return ""
    if attempt.tried:
        held = "" if attempt.limit != "host memory" else f"held to {show.data(attempt.allowed_bytes)}, it "
        return elide(f"{held}{attempt.reason or attempt.limit}", LONGEST)
    if attempt.limit == "time":
        return "not tried: it would take longer than what is left of --budget"
    forecast, allowed = show.data(attempt.forecast_bytes), show.data(attempt.allowed_bytes)
    return f"not tried: it is expected to need {forecast}, and a process may safely use {allowed} here now"


def noise(finding: BatchFinding) -> str:
    """The difference between processes of one size, on one line; empty where nothing fits."""
    best = finding.best
    if best is None:
        return ""
    if finding.noise is None:
        return "each size was timed in one process: there was no time to compare processes"
    wide = " (wide: an idle machine separates more sizes)" if finding.noise > WIDE else ""
    return (
        f"{size(best)} was timed in {len(best.processes)} processes, which differ by {show.percent(finding.noise)}"
        f"{wide}: sizes no further apart, or with overlapping intervals, count as equally good"
    )


def size(row: BatchRow) -> str:
    return f"{row.attempt.batch_size:,}"


def memory(row: BatchRow) -> str:
    return show.data(row.attempt.peak_memory_bytes)


COLUMNS: tuple[Column[BatchRow], ...] = (
    Column("batch", size),
    Column("a step", lambda row: show.seconds_plus_minus(row.step_seconds), lost=2),
    Column("samples/s", lambda row: show.rate_range(row.samples_per_second)),
    Column("peak memory", memory, lost=1),
)


def print_batches(findings: Sequence[BatchFinding], console: Console | None = None) -> None:
    """Print every case's sizes, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(console)
    print_lines((line for finding in findings if finding.rows for line in _table(finding, console.width)), console)
    styles = {"ok": "bold", "skipped": "yellow"}
    print_lines((Text(conclusion(one), styles.get(one.case.status, "red")) for one in findings), console)


def _table(finding: BatchFinding, width: int) -> Iterator[Text]:
    """The sizes that fit, then the reasons why others do not."""
    case, fitting = finding.case, [row for row in finding.rows if row.attempt.fits]
    marks = Column[BatchRow]("", lambda row: _marks(row, finding), left=True)
    table = Table([*COLUMNS, marks], fitting).in_terminal(width=width)
    title = Text(f"{elide(case.workload, NAME_WIDTH)}  {elide(case.loop, NAME_WIDTH)}", "bold")
    kind = f"{GAP}peak memory: {elide(case.memory_kind, NAME_WIDTH)}" if case.memory_kind else ""
    yield title.append(kind, "not bold dim")
    if fitting:
        yield from table.headings()
    for row in fitting:
        line = table.line(None, row)
        line.stylize("green" if row in finding.equals else "")
        yield line
    yield from (Text(f"{size(row)}: {why_not(row.attempt)}", "dim") for row in finding.rows if not row.attempt.fits)
    yield from table.rest("batches.csv")
    if said := noise(finding):
        yield Text(said, "dim")
    yield Text()


def _marks(row: BatchRow, finding: BatchFinding) -> str:
    largest = "largest that fits" if is_known(finding) else "largest tried"
    marks = [
        "best throughput" if row is finding.best else "as good" if row in finding.equals else "",
        largest if row is finding.largest else "",
        "use this" if row is finding.recommended else "",
    ]
    return ", ".join(filter(None, marks))


def write_batches(folder: Path, findings: Sequence[BatchFinding]) -> None:
    """Write the spreadsheet and the plots, as PNG and SVG, into ``folder``."""
    with writing_to(folder, "copy the folder elsewhere"):
        replace_file(folder / "batches.csv", as_csv(findings))
        draw_plots(folder / "plots", _figures(findings))


def as_csv(findings: Sequence[BatchFinding]) -> str:
    """One row for each batch size of a case, in base units; empty for a value not measured or unbounded."""
    rows = [_record(finding, row) for finding in findings for row in finding.rows]
    return csv_of(rows, ("workload", "loop", "batch_size"))


def batches_as_json(findings: Sequence[BatchFinding]) -> dict[str, Any]:
    """The searches as strict JSON values."""
    return {
        "cases": [
            {
                **picked(finding.case, "workload", "loop", "status", "reason", "data_rows", "memory_kind"),
                "largest_batch_size": _size(finding.largest),
                "stopped_by": finding.case.stop,
                "best_batch_size": _size(finding.best),
                "equally_good_batch_sizes": [_size(row) for row in finding.equals],
                "recommended_batch_size": _size(finding.recommended),
                "noise": finding.noise,
                "conclusion": conclusion(finding),
                "batches": [_record(finding, row) for row in finding.rows],
            }
            for finding in findings
        ]
    }


def _record(finding: BatchFinding, row: BatchRow) -> dict[str, str | int | float | None]:
    attempt = row.attempt
    return {
        "workload": plain(finding.case.workload),
        "loop": plain(finding.case.loop),
        "batch_size": attempt.batch_size,
        "fits": "yes" if attempt.fits else "no",
        "limit": attempt.limit,
        "reason": why_not(attempt) or None,
        **ends("step_seconds", row.step_seconds),
        **ends("samples_per_second", row.samples_per_second),
        **picked(attempt, "peak_memory_bytes", "forecast_bytes", "allowed_bytes"),
        "attempt_seconds": attempt.seconds,
    }


def _size(row: BatchRow | None) -> int | None:
    return row.attempt.batch_size if row else None


def _figures(findings: Sequence[BatchFinding]) -> Figures:
    from loopmark.bench.report import style
    from loopmark.bench.report.capacity_plots import throughput

    styles = style.line_styles(((finding.case.loop, False) for finding in findings), {"eager"})
    for workload, theirs in grouped((finding.case.workload, finding) for finding in findings).items():
        yield workload, "batches", partial(throughput, theirs, styles)
