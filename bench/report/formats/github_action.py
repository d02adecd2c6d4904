"""What github-action-benchmark takes as ``customSmallerIsBetter`` and ``customBiggerIsBetter``: an array of figures.

Its ``BenchmarkResult`` has name, value and unit, and may have range and extra, both of them text
(https://github.com/benchmark-action/github-action-benchmark, src/extract.ts). A chart is one name over many runs, so
that units are fixed, whatever the size of a figure.
"""

import json
from collections.abc import Iterator

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Summary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report.formats.entry import Entry, bounds, entries
from loopmark.bench.report.table import finite

Result = dict[str, str | float]

MILLISECOND, MEBIBYTE = 1e-3, 2.0**20


def smaller_is_better(summary: Summary, samples: Samples) -> str:  # noqa: ARG001 - every format is asked alike
    """Milliseconds a step, peak memory, and joules a step where they were counted."""
    return _array(result for entry in entries(summary) for result in _smaller(entry))


def bigger_is_better(summary: Summary, samples: Samples) -> str:  # noqa: ARG001 - every format is asked alike
    """Steps and training samples a second, and the speedup over eager, which holds on machines that vary."""
    return _array(result for entry in entries(summary) for result in _bigger(entry))


def _smaller(entry: Entry) -> Iterator[Result | None]:
    row = entry.row
    step = row.step_seconds.map(lambda seconds: seconds / MILLISECOND) if row.step_seconds else None
    yield _result(entry, "step", step, "ms")
    if row.peak_memory_bytes is not None:
        yield _plain(entry, "peak memory", row.peak_memory_bytes / MEBIBYTE, "MiB")
    yield _result(entry, "energy a step", row.joules_per_step, "J")


def _bigger(entry: Entry) -> Iterator[Result | None]:
    row = entry.row
    yield _result(entry, "steps a second", entry.steps_per_second, "1/s")
    yield _result(entry, "samples a second", row.samples_per_second, "1/s")
    yield _result(entry, "speedup over eager", row.speedup, "x")


def _result(entry: Entry, what: str, estimate: Estimate | None, unit: str) -> Result | None:
    value = finite(estimate.value) if estimate else None
    if estimate is None or value is None:
        return None
    made = _plain(entry, what, value, unit)
    if interval := bounds(estimate):
        made["range"] = f"95 % [{interval[0]:.6g}, {interval[1]:.6g}]"
    return made


def _plain(entry: Entry, what: str, value: float, unit: str) -> Result:
    return {"name": f"{entry.name}: {what}", "value": value, "unit": unit, "extra": "\n".join(entry.words)}


def _array(results: Iterator[Result | None]) -> str:
    return json.dumps([result for result in results if result is not None], indent=2, allow_nan=False) + "\n"
