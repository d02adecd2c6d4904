"""The tables of a run's pages: the same rows as the terminal's, in full."""

from collections.abc import Iterable
from typing import Any

from loopmark.bench.judge.bounds import Bound
from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, WorkloadSummary, is_baseline
from loopmark.bench.report import cells
from loopmark.bench.report import format as show
from loopmark.bench.report.table import Cell, Table, figure, table_of
from loopmark.bench.report.training import words


def main_table(workload: WorkloadSummary) -> Table[Any]:
    """Every case with its speedup and its verdict, what a reader came for, first; without figures, with its status."""
    checked = any(row.trained is not None for row in workload.rows)
    trains = [f"trains as {BASELINE}"] if checked else []
    counts = any(row.joules_per_step is not None for row in workload.rows)
    energy = ["energy a step", "a sample"] if counts else []
    headings = ["loop", "speedup", "verdict", "step", *trains, "samples/s", "peak memory", *energy]
    return table_of(
        headings,
        (
            [
                _name(row),
                figure(cells.speedup(row), 1.0 if is_baseline(row.case) else row.speedup),
                cells.verdict(row) if row.step_seconds is not None else cells.status(row),
                figure(show.seconds_range(row.step_seconds), row.step_seconds),
                *([Cell(words.verdict(row.trained), whole=True)] if checked else []),
                figure(show.rate_range(row.samples_per_second), row.samples_per_second),
                figure(show.data(row.peak_memory_bytes), row.peak_memory_bytes),
                *([_joules(row.joules_per_step), _joules(row.joules_per_sample)] if counts else []),
            ]
            for row in workload.rows
        ),
    )


def phase_table(workload: WorkloadSummary, *, device: bool) -> Table[Any]:
    """Seconds a step in each phase, and its share of the step; empty where that clock timed no case."""
    measured = [(row, (row.device_phases if device else row.host_phases) or {}) for row in workload.rows]
    measured = [(row, phases) for row, phases in measured if phases]
    names = phase_names([row for row, _ in measured])
    rows = (
        [_name(row), *(_phase(name, phases) for name in names), _seconds(sum(phases.values()))]
        for row, phases in measured
    )
    return table_of(["loop", *names, "step with laps"], rows)


def bound_table(workload: WorkloadSummary) -> Table[Any]:
    """What bounds each phase, with the two clocks' figures; empty where not both saw the phases."""
    told = [row for row in workload.rows if row.bounds]
    names = phase_names(told)
    rows = ([_name(row), *(_bound(row.bounds.get(name)) for name in names)] for row in told)
    return table_of(["loop", *names], rows)


def start_table(workload: WorkloadSummary) -> Table[Any]:
    """What starting costs, and after how many steps a faster loop has made up for it."""
    started = [row for row in workload.rows if row.first_step_seconds is not None]
    headings = ["loop", "first step after", "compile", "compile cache", "pays after steps", "steady launches"]
    return table_of(
        headings,
        (
            [
                _name(row),
                _seconds(row.first_step_seconds),
                figure(cells.compile_time(row), row.compile_seconds),
                row.compile_cache if row.compile_cache and cells.compiled(row) else show.ABSENT,
                figure(show.count_range(row.break_even_steps), row.break_even_steps),
                figure(_steady(row)),
            ]
            for row in started
        ),
    )


def phase_names(rows: Iterable[Row]) -> list[str]:
    """The phases that any of ``rows`` has, in the order in which the cases name them."""
    rows = list(rows)
    present = {name for row in rows for name in (*(row.host_phases or {}), *(row.device_phases or {}))}
    return [name for name in dict.fromkeys(n for row in rows for n in row.case.phases) if name in present]


def _steady(row: Row) -> str:
    known = [launch.steady for launch in row.case.launches if launch.steady is not None]
    return f"{sum(known)} of {len(known)}" if known else show.ABSENT


def _name(row: Row) -> Cell:
    return Cell(row.case.label, strong=is_baseline(row.case))


def _phase(name: str, phases: dict[str, float]) -> Cell:
    return figure(cells.phase(name, phases), phases.get(name))


def _bound(bound: Bound | None) -> Cell:
    if bound is None:
        return figure(show.ABSENT)
    text = f"{bound.by}: host {show.seconds(bound.host_seconds)}, device {show.seconds(bound.device_seconds)}"
    return Cell(text, bound.device_seconds)


def _seconds(value: float | None) -> Cell:
    return figure(show.seconds(value), value)


def _joules(estimate: Estimate | None) -> Cell:
    return figure(show.joules(estimate), estimate)
