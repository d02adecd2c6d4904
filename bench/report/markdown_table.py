"""The tables of the page, in Markdown: the same rows as the terminal's, in full."""

from collections.abc import Iterable, Sequence

from bench.judge.bound import Bound
from bench.judge.comparison import BASELINE
from bench.judge.summary import Row, WorkloadSummary, is_baseline
from bench.report import cells
from bench.report import format as show
from bench.report.text import markdown
from bench.report.training import words


def pipe_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are escaped already; the first column is left-aligned, figures right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(cells_)} |" for cells_ in [headings, rule, *rows])


def main_table(workload: WorkloadSummary) -> str:
    """Every case with its step, its speedup and its verdict; a case without figures with its status."""
    checked = any(row.trained is not None for row in workload.rows)
    trains = [f"trains as {BASELINE}"] if checked else []
    counts = any(row.joules_per_step is not None for row in workload.rows)
    energy = ["energy a step", "a sample"] if counts else []
    headings = ["loop", "status", "step", "speedup", "verdict", *trains, "samples/s", "peak memory", *energy]
    return pipe_table(
        headings,
        (
            [
                _name(row),
                cells.status(row),
                show.seconds_range(row.step_seconds),
                cells.speedup(row),
                cells.verdict(row),
                *([words.verdict(row.trained)] if checked else []),
                show.rate(cells.throughput(row)),
                show.data(row.peak_memory_bytes),
                *([show.joules(row.joules_per_step), show.joules(row.joules_per_sample)] if counts else []),
            ]
            for row in workload.rows
        ),
    )


def phase_table(workload: WorkloadSummary, *, device: bool) -> str:
    """Seconds a step in each phase, and its share of the step; empty where that clock timed no case."""
    measured = [(row, (row.device_phases if device else row.host_phases) or {}) for row in workload.rows]
    measured = [(row, phases) for row, phases in measured if phases]
    if not measured:
        return ""
    names = phase_names([row for row, _ in measured])
    rows = []
    for row, phases in measured:
        share = cells.shares(phases)
        rows.append(
            [
                _name(row),
                *(
                    f"{show.seconds(phases[name])} ({show.percent(share.get(name))})" if name in phases else show.ABSENT
                    for name in names
                ),
                show.seconds(sum(phases.values())),
            ]
        )
    return pipe_table(["loop", *map(markdown, names), "step with laps"], rows)


def bound_table(workload: WorkloadSummary) -> str:
    """What bounds each phase, with the two clocks' figures; empty where not both saw the phases."""
    told = [row for row in workload.rows if row.bounds]
    if not told:
        return ""
    names = phase_names(told)
    rows = ([_name(row), *(_bound(row.bounds.get(name)) for name in names)] for row in told)
    return pipe_table(["loop", *map(markdown, names)], rows)


def _bound(bound: Bound | None) -> str:
    if bound is None:
        return show.ABSENT
    return f"{bound.by}: host {show.seconds(bound.host_seconds)}, device {show.seconds(bound.device_seconds)}"


def start_table(workload: WorkloadSummary) -> str:
    """What starting costs, and after how many steps a faster loop has made up for it."""
    started = [row for row in workload.rows if row.first_step_seconds is not None]
    if not started:
        return ""
    headings = ["loop", "first step after", "compile", "compile cache", "pays after steps", "steady launches"]
    return pipe_table(
        headings,
        (
            [
                _name(row),
                show.seconds(row.first_step_seconds),
                cells.compile_time(row),
                row.compile_cache if row.compile_cache and cells.compiled(row) else show.ABSENT,
                show.count_range(row.break_even_steps),
                f"{sum(bool(launch.steady) for launch in row.case.launches)} of {len(row.case.launches)}",
            ]
            for row in started
        ),
    )


def phase_names(rows: Iterable[Row]) -> list[str]:
    """The phases that any of ``rows`` has, in the order in which the cases name them."""
    rows = list(rows)
    present = {name for row in rows for name in (*(row.host_phases or {}), *(row.device_phases or {}))}
    return [name for name in dict.fromkeys(n for row in rows for n in row.case.phases) if name in present]


def _name(row: Row) -> str:
    name = markdown(row.case.label)
    return f"**{name}**" if is_baseline(row.case) else name
