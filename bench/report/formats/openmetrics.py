"""OpenMetrics text, for Prometheus and other readers of the format: gauges in base units, one sample a case.

https://github.com/prometheus/OpenMetrics, version 1.0: metadata in the order TYPE, UNIT, HELP, a unit at the end of the
family's name, families that are not interleaved, and ``# EOF`` at the end. Timestamps are left out, since a collector
of text files refuses them; the start of the run is a separate gauge.
"""

import math
from collections.abc import Iterable, Iterator

from loopmark.bench.judge.summary import Summary
from loopmark.bench.records.files import in_utc
from loopmark.bench.report import cells
from loopmark.bench.report.figures import FIGURES, record
from loopmark.bench.report.formats.entry import LOOP_LENGTH, Entry, distinct, entries
from loopmark.bench.report.text import elide
from loopmark.bench.report.training_words import verdict

PREFIX = "loopmark"
LONGEST_VALUE = 400

Labels = dict[str, str]
ENDS = {"": "", "_low": ", 95 % interval, low end", "_high": ", 95 % interval, high end"}


def export(summary: Summary) -> str:
    """The run, its cases and their phases."""
    measured = entries(summary)
    run = summary.run
    about = {
        "run": run.name,
        "machine": run.machine.name,
        "device": run.plan.device,
        "baseline": run.plan.baseline,
        "started": run.started,
        "torch": run.environment.torch or "",
        "loopmark": run.environment.loopmark,
    }
    lines = [*_head("run", "info", None, "The run that all figures come from."), _sample("run_info", about, 1)]
    if start := in_utc(run.started):
        name, since = "run_start_timestamp_seconds", start.timestamp()
        lines += [*_head(name, "gauge", "seconds", "Start of the run, seconds since 1970."), _sample(name, {}, since)]
    what = "The verdict on a loop, and whether it trains as the baseline does."
    lines += [*_head("case", "info", None, what), *(_sample("case_info", _verdicts(entry), 1) for entry in measured)]
    records = [(_labels(entry), record(entry.row, entry.of)) for entry in measured]
    gauges = [(one.key, one.gauge) for one in FIGURES if one.gauge]
    for key, gauge in sorted(gauges, key=lambda pair: pair[1].rank):
        for end, of in (ENDS if gauge.ends else {"": ""}).items():
            name = f"{gauge.name}{end}_{gauge.unit}" if gauge.unit else gauge.name + end
            figures = [(labels, values[f"{key}{end}"]) for labels, values in records]
            lines += _gauges(name, gauge.unit, f"{gauge.help}{of}.", figures)
    what = "Units besides samples that the task counts, such as tokens, a second."
    lines += _gauges("units_per_second", None, what, (rate for entry in measured for rate in _units(entry)))
    what = "Seconds of a step in each phase; the phases of a step add up to it."
    lines += _gauges("phase_seconds", "seconds", what, (phase for entry in measured for phase in _phases(entry)))
    return "\n".join([*lines, "# EOF", ""])


def _labels(entry: Entry) -> Labels:
    return {"workload": entry.workload, "loop": entry.loop}


def _verdicts(entry: Entry) -> Labels:
    trained = verdict(entry.row.trained) if entry.row.trained else ""
    return {**_labels(entry), "verdict": cells.verdict(entry.row), "trains_as_baseline": trained}


def _phases(entry: Entry) -> Iterator[tuple[Labels, float]]:
    phases = entry.row.phases
    names = distinct(zip(phases, phases, strict=True), LOOP_LENGTH)
    return ((_labels(entry) | {"phase": names[name]}, seconds) for name, seconds in phases.items())


def _units(entry: Entry) -> Iterator[tuple[Labels, object]]:
    rates = ((unit, entry.row.units_per_second(unit)) for unit in entry.row.case.other_units)
    return ((_labels(entry) | {"unit": unit}, rate.value) for unit, rate in rates if rate is not None)


def _gauges(name: str, unit: str | None, text: str, figures: Iterable[tuple[Labels, object]]) -> list[str]:
    """A family of gauges: a sample for each finite figure; empty without one."""
    known = [(labels, value) for labels, value in figures if isinstance(value, int | float) and math.isfinite(value)]
    lines = [_sample(name, labels, value) for labels, value in known]
    return [*_head(name, "gauge", unit, text), *lines] if lines else []


def _head(name: str, kind: str, unit: str | None, text: str) -> list[str]:
    unit_line = [f"# UNIT {PREFIX}_{name} {unit}"] if unit else []
    return [f"# TYPE {PREFIX}_{name} {kind}", *unit_line, f"# HELP {PREFIX}_{name} {text}"]


def _sample(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items() if text)
    return f"{PREFIX}_{name}{'{' + shown + '}' if shown else ''} {value}"


def _escaped(text: str) -> str:
    return elide(text, LONGEST_VALUE).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
