"""The figures that a plot comes to, for who cannot see it: the baseline's and the best, or the best and the worst."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.summary import Row, WorkloadSummary
from loopmark.bench.judge.training import TrainedRow, TrainingSummary
from loopmark.bench.report import cells, rooflines
from loopmark.bench.report import format as show
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.text import elide
from loopmark.bench.report.training import words

NAME_LENGTH = 48


def with_key_figures(
    plots: Sequence[Plot], workloads: Sequence[WorkloadSummary], trained: TrainingSummary | None
) -> list[Plot]:
    """The plots, each with its key figures at the end of its text; all figures are in the tables beside it."""
    timed = {(plot, one.workload): say(one) for plot, say in _OF_TIMING.items() for one in workloads}
    learnt = {("quality", one.workload): _quality(one.rows) for one in (trained.workloads if trained else ())}
    said = {**timed, **learnt}
    return [
        replace(plot, text=f"{plot.text}: {figures}") if (figures := said.get((plot.stem, plot.workload))) else plot
        for plot in plots
    ]


def _phases(workload: WorkloadSummary) -> str:
    def seconds(row: Row) -> float:
        return sum(row.phases.values())

    def say(row: Row) -> str:
        share = cells.shares(row.phases)
        longest = max(share, key=lambda name: share[name])
        return f"{show.seconds(seconds(row))}, {show.percent(share[longest])} of it in {elide(longest, NAME_LENGTH)}"

    return _baseline_and_least([row for row in workload.rows if seconds(row) > 0], seconds, say)


def _steps(workload: WorkloadSummary) -> str:
    measured = [row for row in workload.rows if row.step_seconds is not None]
    return _baseline_and_least(
        measured,
        lambda row: row.step_seconds.value if row.step_seconds else 0.0,
        lambda row: f"{show.seconds_of(row.step_seconds)} a step",
    )


def _speedup(workload: WorkloadSummary) -> str:
    known = [(row.speedup.value, row) for row in workload.rows if row.speedup and not row.case.repeat]
    if not known:
        return ""
    known.sort(key=lambda one: -one[0])
    ends = [row for _, row in ((known[0], known[-1]) if len(known) > 1 else known)]
    return "; ".join(f"{_name(row.case.label)} {cells.speedup(row)}, {cells.verdict(row)}" for row in ends)


def _break_even(workload: WorkloadSummary) -> str:
    known = [
        (row.break_even_steps, row)
        for row in workload.rows
        if row.break_even_steps and show.known(row.break_even_steps.value) and row.break_even_steps.value >= 1
    ]
    known.sort(key=lambda one: one[0].value)
    return "; ".join(f"{_name(row.case.label)} after {show.count_range(steps)} steps" for steps, row in known[:2])


def _roofline(workload: WorkloadSummary) -> str:
    known = [row for row in workload.rows if row.roofline is not None]
    return _baseline_and_least(
        known,
        lambda row: -row.roofline.utilisation.value if row.roofline else 0.0,
        lambda row: f"MFU {rooflines.utilisation(row)}",
    )


def _baseline_and_least(rows: Sequence[Row], value: Callable[[Row], float], say: Callable[[Row], str]) -> str:
    """What there is to say of the baseline, and of the loop with the least value."""
    others = [row for row in rows if not row.case.repeat]
    least = min(others, key=value, default=None)
    told = [row for row in others if row.case.loop == BASELINE or row is least]
    return "; ".join(f"{_name(row.case.label)} {say(row)}" for row in told)


def _quality(rows: Sequence[TrainedRow]) -> str:
    """When the baseline and the soonest loop reached the target; empty where none did."""
    known = [(row.learning.seconds, row) for row in rows if row.learning and row.learning.seconds and not row.repeat]
    if not known:
        return ""
    soonest = min(known, key=lambda one: one[0].value)[1]
    told = [row for _, row in known if row.loop == BASELINE or row is soonest]
    said = (f"{_name(row.label)} at the target in {words.seconds(row.learning)}" for row in told if row.learning)
    return "; ".join(said)


def _name(text: str) -> str:
    return elide(text, NAME_LENGTH)


_OF_TIMING: dict[str, Callable[[WorkloadSummary], str]] = {
    "phases": _phases,
    "speedup": _speedup,
    "breakeven": _break_even,
    "distribution": _steps,
    "steps": _steps,
    "roofline": _roofline,
}
