"""OpenMetrics text, for a Prometheus or anything that reads its format: gauges in base units, one sample a case.

https://github.com/prometheus/OpenMetrics, version 1.0: metadata in the order TYPE, UNIT, HELP, a unit that ends the
family's name, families that are not interleaved, and ``# EOF`` at the end. Timestamps are left out, since a collector
of text files refuses them; when the run began is a gauge of its own.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from loopmark.bench.judge.summary import Row, Summary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import cells
from loopmark.bench.report.figures import FIGURES, record
from loopmark.bench.report.formats.entry import LOOP_LENGTH, Entry, distinct, entries
from loopmark.bench.report.table import finite
from loopmark.bench.report.text import elide

PREFIX = "loopmark"
LONGEST_VALUE = 400

Labels = dict[str, str]


class Family(NamedTuple):
    """A metric's name without ``loopmark_``, and what it is."""

    name: str
    unit: str | None
    help: str


ENDS = {"": "", "_low": ", 95 % interval, low end", "_high": ", 95 % interval, high end"}


def _families() -> dict[str, Family]:
    """The families of the figures, by the key of the record that each shows."""
    gauges = [(one.key, one.gauge) for one in FIGURES if one.gauge]
    families = {}
    for key, gauge in sorted(gauges, key=lambda pair: pair[1].rank):
        unit = f"_{gauge.unit}" if gauge.unit else ""
        for end, of in (ENDS if gauge.ends else {"": ""}).items():
            families[f"{key}{end}"] = Family(f"{gauge.name}{end}{unit}", gauge.unit, f"{gauge.help}{of}.")
    return families


def export(summary: Summary, samples: Samples) -> str:  # noqa: ARG001 - every format is asked alike
    """The run, its cases and their phases."""
    measured = entries(summary)
    run, start = summary.run, _start(summary)
    about = {
        "run": run.name,
        "machine": run.machine.name,
        "device": run.plan.device,
        "started": run.started,
        "torch": run.environment.torch or "",
        "loopmark": run.environment.loopmark,
    }
    lines = [*_head("run", "info", None, "The run that all figures are of."), _sample("run_info", about, 1)]
    if start is not None:
        name = "run_start_timestamp_seconds"
        lines += [*_head(name, "gauge", "seconds", "When the run began, since 1970."), _sample(name, {}, start)]
    lines += _head(
        "case", "info", None, "What may be said of a loop: its verdict, and whether it trains as eager does."
    )
    lines += [_sample("case_info", _labels(entry) | _said(entry.row), 1) for entry in measured]
    records = [(_labels(entry), record(entry.row, entry.of)) for entry in measured]
    for key, family in _families().items():
        figures = [(labels, values[key]) for labels, values in records]
        lines += _family(family, ((labels, v) for labels, v in figures if isinstance(v, int | float)))
    lines += _family(
        Family("phase_seconds", "seconds", "Seconds of a step in each phase; the phases of a step add up to it."),
        ((_labels(entry) | {"phase": phase}, seconds) for entry in measured for phase, seconds in _phases(entry)),
    )
    return "\n".join([*lines, "# EOF", ""])


def _phases(entry: Entry) -> Iterable[tuple[str, float]]:
    phases = entry.row.phases
    names = distinct(((name, name) for name in phases), LOOP_LENGTH)
    return ((names[name], seconds) for name, seconds in phases.items())


def _labels(entry: Entry) -> Labels:
    return {"workload": entry.workload, "loop": entry.loop}


def _said(row: Row) -> Labels:
    equivalence = row.trained.equivalence.verdict if row.trained else None
    return {"verdict": cells.verdict(row), "trains_as_eager": equivalence or ""}


def _family(family: Family, figures: Iterable[tuple[Labels, float]]) -> list[str]:
    lines = [_sample(family.name, labels, value) for labels, value in figures if finite(value) is not None]
    return [*_head(family.name, "gauge", family.unit, family.help), *lines] if lines else []


def _head(name: str, kind: str, unit: str | None, text: str) -> list[str]:
    unit_line = [f"# UNIT {PREFIX}_{name} {unit}"] if unit else []
    return [f"# TYPE {PREFIX}_{name} {kind}", *unit_line, f"# HELP {PREFIX}_{name} {text}"]


def _sample(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items() if text)
    return f"{PREFIX}_{name}{'{' + shown + '}' if shown else ''} {value}"


def _escaped(text: str) -> str:
    return elide(text, LONGEST_VALUE).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _start(summary: Summary) -> float | None:
    try:
        started = datetime.fromisoformat(summary.run.started)
        return (started if started.tzinfo else started.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
