"""The export formats of a run, by name."""

import difflib
from collections.abc import Callable

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.summary import Summary
from loopmark.bench.records.samples import Samples
from loopmark.bench.report.formats import dashboards, openmetrics, pytest_benchmark
from loopmark.bench.report.formats.entry import entries

Writer = Callable[[Summary, Samples], str]  # returns the text of a file for a judged run and its samples
FORMATS: dict[str, Writer] = {
    "pytest-benchmark": pytest_benchmark.export,
    "github-action-benchmark": lambda summary, _: dashboards.charts(summary, bigger=False),
    "github-action-benchmark-bigger": lambda summary, _: dashboards.charts(summary, bigger=True),
    "bencher": lambda summary, _: dashboards.bencher(summary),
    "openmetrics": lambda summary, _: openmetrics.export(summary),
}


def writer(name: str) -> Writer:
    """The writer of the format ``name``. Raises BadInput with a suggestion for an unknown name."""
    if name in FORMATS:
        return FORMATS[name]
    close = difflib.get_close_matches(name, FORMATS, n=1, cutoff=0.5)
    hint = f" did you mean '{close[0]}'?" if close else ""
    raise BadInput(f"no format named '{name}';{hint} use one of {', '.join(FORMATS)}")


def export(name: str, summary: Summary, samples: Samples) -> str:
    """A run as the text of a file in the format ``name``.

    Raises:
        BadInput: the format is unknown, or no case of the run has a step time.
    """
    write = writer(name)
    if not entries(summary):
        raise BadInput(f"no case of {summary.run.name} was measured, so there is nothing to export; repeat the run")
    return write(summary, samples)
