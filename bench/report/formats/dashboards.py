"""Runs as numbers for a dashboard: Bencher Metric Format, and the charts of github-action-benchmark.

Bencher (https://bencher.dev/docs/reference/bencher-metric-format) has several measures for a benchmark, each a value
with the ends of its interval. By its definition ``latency`` is in nanoseconds and ``throughput`` in operations a
second; an operation here is a training step. It holds numbers only, so the verdict is left out.

github-action-benchmark (https://github.com/benchmark-action/github-action-benchmark, src/extract.ts) takes an array of
``BenchmarkResult``: name, value and unit, and the texts range and extra. A chart is one name over many runs, so the
unit is the same for figures of any size.
"""

import json
import math
from typing import Any

from loopmark.bench.judge.summary import Summary
from loopmark.bench.report.figures import FIGURES, Chart, Value, figures_of
from loopmark.bench.report.formats.entry import Entry, entries, scaled
from loopmark.bench.report.text import short


def bencher(summary: Summary) -> str:
    """The run's cases as ``workload/loop``, and each workload's noise floor in per cent under the workload's name."""
    measured = entries(summary)
    results = {entry.name: _measures(entry) for entry in measured}
    for entry in measured:
        if entry.of.noise_floor is not None and entry.workload not in results:
            results[entry.workload] = {"noise-floor": {"value": 100 * math.expm1(entry.of.noise_floor)}}
    return json.dumps(results, indent=2, allow_nan=False) + "\n"


def _measures(entry: Entry) -> dict[str, dict[str, float]]:
    found = {}
    for figure in FIGURES:
        if figure.measure and (known := scaled(figure.of(entry.row), figure.measure.size)):
            value, interval = known
            ends = {"lower_value": interval[0], "upper_value": interval[1]} if interval else {}
            found[figure.measure.name] = {"value": value, **ends}
    return found


def charts(summary: Summary, *, bigger: bool) -> str:
    """Milliseconds a step, peak memory, and joules a step if counted.

    Where ``bigger`` is better: steps, samples and other units a second, and the speedup over the baseline, valid on
    machines that vary.
    """
    figures = figures_of(summary.rows)
    chosen = [(one.chart, one.of) for one in figures if one.chart and one.chart.bigger_is_better == bigger]
    chosen.sort(key=lambda pair: pair[0].rank)
    results = (_result(entry, chart, of(entry.row)) for entry in entries(summary) for chart, of in chosen)
    return json.dumps([result for result in results if result], indent=2, allow_nan=False) + "\n"


def _result(entry: Entry, chart: Chart, figure: Value) -> dict[str, Any] | None:
    known = scaled(figure, chart.size)
    if known is None:
        return None
    value, interval = known
    said = "\n".join(entry.words)
    name = f"{entry.name}: {chart.name.format(short(entry.row.baseline))}"
    result = {"name": name, "value": value, "unit": chart.unit, "extra": said}
    return result | ({"range": f"95 % [{interval[0]:.6g}, {interval[1]:.6g}]"} if interval else {})
