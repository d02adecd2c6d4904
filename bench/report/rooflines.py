"""How near a loop comes to its device's limits, in words and a table."""

import math
from dataclasses import asdict
from typing import Any

from loopmark.bench.judge.bounds import Roof, kinds_of
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, WorkloadSummary, is_baseline
from loopmark.bench.report import format as show
from loopmark.bench.report.cells import phase_names
from loopmark.bench.report.table import Cell, Table, figure, table_of


def utilisation(row: Row) -> str:
    """Model FLOPs utilisation, without its interval."""
    return show.ABSENT if row.roofline is None else show.percent(row.roofline.utilisation.value)


def reached(row: Row) -> str:
    """The share of its device's limit that a step reaches, with its interval."""
    return show.ABSENT if row.roofline is None else _share(row.roofline.share).text


def table(workload: WorkloadSummary) -> Table[Any]:
    """Every loop whose limits are known: the step's, what it reaches of them, and each phase; else empty."""
    rows = [row for row in workload.rows if row.roofline is not None]
    names = phase_names(rows)
    possible = "of the possible speedup"
    headings = ["loop", "multiplies in", "MFU", "a step's limit", "reaches", possible, *names]
    return table_of(headings, (_cells(row, names) for row in rows))


def _cells(row: Row, names: list[str]) -> list[Cell]:
    found = row.roofline
    assert found is not None
    limit = found.step_limit_seconds
    return [
        Cell(row.case.label, strong=is_baseline(row.case)),
        Cell(", ".join(kinds_of(row.case.work))),
        _share(found.utilisation),
        figure(show.seconds(limit.value), limit),
        _share(found.share),
        figure(show.ABSENT if found.taken is None else show.percent(found.taken), found.taken),
        *(_phase(found.phases.get(name)) for name in names),
    ]


def _share(estimate: Estimate) -> Cell:
    """A share with its interval, where that has two ends."""
    return figure(show.percent_range(estimate), estimate)


def _phase(roof: Roof | None) -> Cell:
    if roof is None or not roof.limit_seconds.value or not math.isfinite(roof.share):
        return figure(show.ABSENT)
    return figure(f"{show.percent(roof.share)} ({roof.limited_by})", roof.share)


def record(row: Row) -> dict[str, Any] | None:
    """The phases in base units, as strict JSON values; the step's figures are columns of the table."""
    if row.roofline is None:
        return None
    return {
        name: {
            "seconds": roof.seconds,
            "flops": roof.flops,
            "least_bytes": roof.least_bytes,
            "arithmetic_seconds": asdict(roof.arithmetic_seconds),
            "memory_seconds": asdict(roof.memory_seconds),
            "limited_by": roof.limited_by,
            "share": roof.share if math.isfinite(roof.share) else None,
        }
        for name, roof in row.roofline.phases.items()
    }
