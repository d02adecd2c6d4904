"""How near a loop comes to its device's limits, in words and tables."""

import math
from dataclasses import asdict
from typing import Any

from bench.judge.comparison import BASELINE
from bench.judge.roofline import Roof, kinds_of
from bench.judge.summary import Row, WorkloadSummary, is_baseline
from bench.report import format as show
from bench.report.markdown_table import phase_names, pipe_table
from bench.report.text import markdown


def utilisation(row: Row) -> str:
    """Model FLOPs utilisation, without its interval."""
    return show.ABSENT if row.roofline is None else show.percent(row.roofline.utilisation.value)


def table(workload: WorkloadSummary) -> str:
    """Every loop whose limits are known: the step's, what it reaches of them, and each phase; else empty."""
    rows = [row for row in workload.rows if row.roofline is not None]
    if not rows:
        return ""
    names = phase_names(rows)
    possible = f"of the speedup over {BASELINE} that allows"
    headings = ["loop", "multiplies in", "MFU", "a step's limit", "reaches", possible, *map(markdown, names)]
    return pipe_table(headings, (_cells(row, names) for row in rows))


def _cells(row: Row, names: list[str]) -> list[str]:
    found = row.roofline
    assert found is not None
    name = markdown(row.case.label)
    return [
        f"**{name}**" if is_baseline(row.case) else name,
        markdown(", ".join(kinds_of(row.case.work))),
        _share(found.utilisation.value, found.utilisation.low, found.utilisation.high),
        show.seconds(found.step_limit_seconds.value),
        _share(found.share.value, found.share.low, found.share.high),
        show.ABSENT if found.taken is None else show.percent(found.taken),
        *(_phase(found.phases.get(name)) for name in names),
    ]


def _share(value: float, low: float, high: float) -> str:
    """A share with its interval, where that has two ends."""
    if not math.isfinite(high - low):
        return show.percent(value)
    return f"{show.percent(value)} [{low * 100:.3g}, {high * 100:.3g}]"


def _phase(roof: Roof | None) -> str:
    if roof is None or not roof.limit_seconds.value or not math.isfinite(roof.share):
        return show.ABSENT
    return f"{show.percent(roof.share)} ({roof.limited_by})"


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
