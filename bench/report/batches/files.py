"""A search for a batch size as files: ``batches.csv`` and a plot of each workload; and its JSON."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.judge.batches import BatchFinding, BatchRow
from bench.judge.statistics import Estimate
from bench.records.files import replace_file
from bench.report.batches import words
from bench.report.text import plain, slugs

Cell = str | int | float | None


def write_files(folder: Path, findings: Sequence[BatchFinding]) -> None:
    """Write the spreadsheet and the plots, as PNG and SVG, into ``folder``."""
    try:
        # A lone surrogate is how Python holds a name that is not UTF-8; it is kept as its escape.
        replace_file(folder / "batches.csv", as_csv(findings).encode(errors="backslashreplace"))
        _draw_plots(folder / "plots", findings)
    except OSError as error:
        raise BadInput(
            f"cannot write {error.filename or folder}: {error.strerror}; copy the folder elsewhere"
        ) from None


def as_csv(findings: Sequence[BatchFinding]) -> str:
    """One row a batch size of a case, in base units; empty for what was not measured or has no bound."""
    rows = [_record(finding, row) for finding in findings for row in finding.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["workload", "loop", "batch_size"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


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
        **_figures("step_seconds", row.step_seconds),
        **_figures("samples_per_second", row.samples_per_second),
        "peak_memory_bytes": attempt.peak_memory_bytes,
        "forecast_bytes": attempt.forecast_bytes,
        "allowed_bytes": attempt.allowed_bytes,
        "attempt_seconds": attempt.seconds,
    }


def _figures(name: str, estimate: Estimate | None) -> dict[str, Cell]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    # Too few blocks bound nothing, which maps to [0, infinity]; the 0 says no more than the infinity.
    bounded = math.isfinite(estimate.high) and math.isfinite(estimate.low)
    return {
        name: estimate.value,
        f"{name}_low": estimate.low if bounded else None,
        f"{name}_high": estimate.high if bounded else None,
    }


def _size(row: BatchRow | None) -> int | None:
    return row.attempt.batch_size if row else None


def _draw_plots(folder: Path, findings: Sequence[BatchFinding]) -> None:
    # Drawing alone needs matplotlib, which takes longer to import than all the rest.
    from bench.report import style
    from bench.report.batches.plot import throughput

    workloads = list(dict.fromkeys(finding.case.workload for finding in findings))
    slug = slugs(workloads)
    if folder.is_symlink():
        raise BadInput(f"{folder} is a link; remove it, since plots are written to the search's own folder")
    styles = style.line_styles((finding.case.loop, False) for finding in findings)
    with style.styled():
        for workload in workloads:
            figure = throughput([f for f in findings if f.case.workload == workload], styles)
            if figure is not None:
                folder.mkdir(exist_ok=True)
                for kind in ("png", "svg"):
                    replace_file(folder / f"batches-{slug[workload]}.{kind}", style.save(figure, kind))
