"""OpenMetrics text, for a Prometheus or anything that reads its format: gauges in base units, one sample a case.

https://github.com/prometheus/OpenMetrics, version 1.0: metadata in the order TYPE, UNIT, HELP, a unit that ends the
family's name, families that are not interleaved, and ``# EOF`` at the end. Timestamps are left out, since a collector
of text files refuses them; when the run began is a gauge of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from loopmark.bench.judge.summary import Row, Summary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import cells
from loopmark.bench.report.formats.entry import LOOP_LENGTH, Entry, distinct, entries
from loopmark.bench.report.spreadsheet import record
from loopmark.bench.report.table import finite
from loopmark.bench.report.text import elide

PREFIX = "loopmark"
LONGEST_VALUE = 400

Labels = dict[str, str]


@dataclass(frozen=True)
class Family:
    """A metric's name without ``loopmark_``, and what it is."""

    name: str
    unit: str | None
    column: str
    """Of the spreadsheet's record."""
    help: str


FAMILIES = (
    *(
        Family(f"step{end}_seconds", "seconds", f"step_seconds{end}", f"Seconds a training step takes{of}.")
        for end, of in (("", ""), ("_low", ", 95 % interval, low end"), ("_high", ", 95 % interval, high end"))
    ),
    *(
        Family(f"speedup{end}_ratio", "ratio", f"speedup{end}", f"Eager's step over this loop's{of}.")
        for end, of in (("", ""), ("_low", ", 95 % interval, low end"), ("_high", ", 95 % interval, high end"))
    ),
    Family("noise_floor_ratio", "ratio", "noise_floor", "Log ratio below which nothing is called a difference."),
    Family("samples_per_second", None, "samples_per_second", "Training samples a second."),
    Family("peak_memory_bytes", "bytes", "peak_memory_bytes", "Peak memory of a launch."),
    Family("first_step_seconds", "seconds", "first_step_seconds", "Seconds from the start to the first step's end."),
    Family("step_joules", "joules", "joules_per_step", "Energy a training step takes."),
    Family("launches", None, "launches", "Fresh processes that the figures are of."),
)


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
    for family in FAMILIES:
        figures = [(labels, values[family.column]) for labels, values in records]
        lines += _family(family, ((labels, v) for labels, v in figures if isinstance(v, int | float)))
    lines += _family(
        Family("phase_seconds", "seconds", "", "Seconds of a step in each phase; the phases of a step add up to it."),
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
