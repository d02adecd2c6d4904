"""A step's memory as files: ``memory.csv`` and a plot of each loop; and its JSON."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.footprint import FootprintCase
from loopmark.bench.report.footprint import words
from loopmark.bench.report.plot_files import Figures, draw_plots
from loopmark.bench.report.table import csv_of
from loopmark.bench.report.text import plain

HEADINGS = ("workload", "loop", "batch_size", "kind", "phase", "peak_bytes", "end_bytes", "peak_reserved_bytes")


def write_files(folder: Path, cases: Sequence[FootprintCase]) -> None:
    """Write the spreadsheet and the plots, as PNG and SVG, into ``folder``."""
    try:
        # A lone surrogate is how Python holds a name that is not UTF-8; it is kept as its escape.
        replace_file(folder / "memory.csv", as_csv(cases).encode(errors="backslashreplace"))
        draw_plots(folder / "plots", map(_name, cases), _figures(cases))
    except OSError as error:
        raise BadInput(f"cannot write {error.filename or folder}: {error.strerror}; choose another --out") from None


def as_csv(cases: Sequence[FootprintCase]) -> str:
    """One row a phase of a loop, in bytes."""
    rows = [
        {
            "workload": plain(case.workload),
            "loop": plain(case.loop),
            "batch_size": case.footprint.batch_size,
            "kind": case.footprint.kind,
            **vars(phase),
        }
        for case in cases
        if case.footprint
        for phase in case.footprint.phases
    ]
    return csv_of(rows, HEADINGS)


def as_json(cases: Sequence[FootprintCase]) -> dict[str, Any]:
    """All of it but the moments, as strict JSON values."""
    return {"loops": [_loop(case) for case in cases]}


def _loop(case: FootprintCase) -> dict[str, Any]:
    told = {"workload": case.workload, "loop": case.loop, "status": case.status, "reason": case.reason}
    step = case.footprint
    if step is None:
        return {**told, "conclusion": words.conclusion(case)}
    return {
        **told,
        "conclusion": words.conclusion(case),
        "kind": step.kind,
        "batch_size": step.batch_size,
        "ran_eagerly": step.ran_eagerly,
        "before_bytes": step.before_bytes,
        "peak_bytes": step.peak.peak_bytes,
        "peak_phase": step.peak.phase,
        "peak_operator": step.peak_operator,
        "peak_reserved_bytes": step.peak.peak_reserved_bytes,
        "fragmentation_bytes": step.fragmentation_bytes,
        "peak_inactive_split_bytes": step.peak.peak_inactive_split_bytes,
        "phases": [vars(phase) for phase in step.phases],
    }


def _name(case: FootprintCase) -> str:
    return f"{case.workload}-{case.loop}"


def _figures(cases: Sequence[FootprintCase]) -> Figures:
    from loopmark.bench.report.footprint.plot import timeline

    for case in cases:
        yield _name(case), "memory", partial(timeline, case)
