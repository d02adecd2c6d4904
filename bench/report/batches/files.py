"""A search for a batch size as files: ``batches.csv`` and a plot of each workload; and its JSON."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.batches import BatchFinding, BatchRow
from loopmark.bench.records.files import replace_file
from loopmark.bench.report.batches import words
from loopmark.bench.report.plot_files import Figures, draw_plots
from loopmark.bench.report.table import csv_of, ends
from loopmark.bench.report.text import plain

Cell = str | int | float | None


def write_files(folder: Path, findings: Sequence[BatchFinding]) -> None:
    """Write the spreadsheet and the plots, as PNG and SVG, into ``folder``."""
    try:
        # A lone surrogate is how Python holds a name that is not UTF-8; it is kept as its escape.
        replace_file(folder / "batches.csv", as_csv(findings).encode(errors="backslashreplace"))
        draw_plots(folder / "plots", dict.fromkeys(f.case.workload for f in findings), _figures(findings))
    except OSError as error:
        raise BadInput(
            f"cannot write {error.filename or folder}: {error.strerror}; copy the folder elsewhere"
        ) from None


def as_csv(findings: Sequence[BatchFinding]) -> str:
    """One row a batch size of a case, in base units; empty for what was not measured or has no bound."""
    rows = [_record(finding, row) for finding in findings for row in finding.rows]
    return csv_of(rows, ("workload", "loop", "batch_size"))


def as_json(findings: Sequence[BatchFinding]) -> dict[str, Any]:
    """All of it as strict JSON values."""
    return {
        "cases": [
            {
                "workload": finding.case.workload,
                "loop": finding.case.loop,
                "status": finding.case.status,
                "reason": finding.case.reason,
                "data_rows": finding.case.data_rows,
                "memory_kind": finding.case.memory_kind,
                "largest_batch_size": _size(finding.largest),
                "stopped_by": finding.case.stop,
                "best_batch_size": _size(finding.best),
                "equally_good_batch_sizes": [_size(row) for row in finding.equals],
                "recommended_batch_size": _size(finding.recommended),
                "noise": finding.noise,
                "conclusion": words.conclusion(finding),
                "batches": [_record(finding, row) for row in finding.rows],
            }
            for finding in findings
        ]
    }


def _record(finding: BatchFinding, row: BatchRow) -> dict[str, Cell]:
    attempt = row.attempt
    return {
        "workload": plain(finding.case.workload),
        "loop": plain(finding.case.loop),
        "batch_size": attempt.batch_size,
        "fits": "yes" if attempt.fits else "no",
        "limit": attempt.limit,
        "reason": words.why_not(attempt) or None,
        **ends("step_seconds", row.step_seconds),
        **ends("samples_per_second", row.samples_per_second),
        "peak_memory_bytes": attempt.peak_memory_bytes,
        "forecast_bytes": attempt.forecast_bytes,
        "allowed_bytes": attempt.allowed_bytes,
        "attempt_seconds": attempt.seconds,
    }


def _size(row: BatchRow | None) -> int | None:
    return row.attempt.batch_size if row else None


def _figures(findings: Sequence[BatchFinding]) -> Figures:
    from loopmark.bench.report import style
    from loopmark.bench.report.batches.plot import throughput

    styles = style.line_styles((finding.case.loop, False) for finding in findings)
    for workload in dict.fromkeys(finding.case.workload for finding in findings):
        theirs = [finding for finding in findings if finding.case.workload == workload]
        yield workload, "batches", partial(throughput, theirs, styles)
