"""Bencher Metric Format: for each benchmark its measures, each a value with the ends of its interval.

https://bencher.dev/docs/reference/bencher-metric-format: ``latency`` is in nanoseconds and ``throughput`` in operations
a second, by Bencher's own definition; an operation here is a training step. Other measures come to be when they are
first reported. It holds numbers only, so that the verdict stays behind; the noise floor is a measure of the workload.
"""

import json
import math

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Summary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report.formats.entry import Entry, bounds, entries
from loopmark.bench.report.table import finite

NANOSECOND = 1e-9

Metric = dict[str, float]


def export(summary: Summary, samples: Samples) -> str:  # noqa: ARG001 - every format is asked alike
    """The run's cases as ``workload/loop``, and each workload's noise floor in per cent under the workload's name."""
    measured = entries(summary)
    results = {entry.name: _measures(entry) for entry in measured}
    for entry in measured:
        if entry.of.noise_floor is not None and entry.workload not in results:
            results[entry.workload] = {"noise-floor": {"value": 100 * math.expm1(entry.of.noise_floor)}}
    return json.dumps(results, indent=2, allow_nan=False) + "\n"


def _measures(entry: Entry) -> dict[str, Metric]:
    row = entry.row
    step = row.step_seconds
    found = {
        "latency": _metric(step.map(lambda seconds: seconds / NANOSECOND) if step else None),
        "throughput": _metric(entry.steps_per_second),
        "speedup": _metric(row.speedup),
        "joules-per-step": _metric(row.joules_per_step),
        "peak-memory": None if row.peak_memory_bytes is None else {"value": float(row.peak_memory_bytes)},
    }
    return {measure: metric for measure, metric in found.items() if metric is not None}


def _metric(estimate: Estimate | None) -> Metric | None:
    value = finite(estimate.value) if estimate else None
    if estimate is None or value is None:
        return None
    interval = bounds(estimate)
    return {"value": value} | ({"lower_value": interval[0], "upper_value": interval[1]} if interval else {})
