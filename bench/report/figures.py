"""Every figure of a case, declared once: tables, ``summary.csv``, JSON and exports read it here."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loopmark.bench.judge.statistics import Estimate, finite
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.report import cells, show
from loopmark.bench.report import training_words as words
from loopmark.bench.report.table import Cell, Column, csv_of, ends, figure
from loopmark.bench.report.text import elide, plain

UNIT_LENGTH = 12  # characters of a unit's name in a heading
Value = Estimate | float | int | str | None
Place = Literal["terminal", "main", "start"]
"""The tables of figures: in the terminal, of all loops on a page, and of starting costs on a page."""
HEADING_LENGTH = 20  # of a loop's name in a heading


@dataclass(frozen=True)
class Shown:
    """The display of a figure in one table."""

    rank: int  # the order of the columns
    heading: str  # with the baseline's name in place of ``{}``
    form: Callable[[Any], str] = str  # the figure as text
    cell: Callable[[Row], Cell | str] | None = None  # replaces ``form`` where the text needs more than the value
    where: Callable[[Row], bool] = lambda _: True  # the table has the column if any row meets this
    left: bool = False
    style: Callable[[Row], str] = lambda _: ""
    lost: int = 0  # see ``Column``

    def column(self, of: Callable[[Row], Value], baseline: str) -> Column[Row]:
        """The column of a figure."""

        def cell(row: Row) -> Cell:
            value = of(row)
            return figure(self.form(value), None if isinstance(value, str) else value)

        heading = self.heading.format(elide(baseline, HEADING_LENGTH))
        return Column(heading, self.cell or cell, self.left, self.style, self.lost)


@dataclass(frozen=True)
class Gauge:
    """A figure as an OpenMetrics family."""

    rank: int
    name: str  # without the prefix and the unit
    unit: str | None
    help: str
    ends: bool = False  # True if both ends of its interval are families too


@dataclass(frozen=True)
class Chart:
    """A figure as a line of github-action-benchmark's charts."""

    rank: int
    name: str  # with the baseline's name in place of ``{}``
    unit: str
    size: float = 1.0  # the size of the unit, in base units
    bigger_is_better: bool = False


@dataclass(frozen=True)
class Measure:
    """A figure as one of Bencher's measures."""

    name: str
    size: float = 1.0  # the size of the unit, in base units


@dataclass(frozen=True)
class Figure:
    """One figure of a case, in base units, and where it is shown."""

    key: str  # its name, with its unit, in ``summary.csv``, in the JSON and in pytest-benchmark's files
    of: Callable[[Row], Value] = lambda _: None
    of_workload: Callable[[WorkloadSummary], Value] | None = None  # replaces ``of`` where all cases share the value
    kept: Literal["value", "interval", "no"] = "value"  # stored under its key; an interval adds ``_low`` and ``_high``
    terminal: Shown | None = None
    main: Shown | None = None
    start: Shown | None = None
    gauge: Gauge | None = None
    chart: Chart | None = None
    measure: Measure | None = None


def columns(place: Place, rows: tuple[Row, ...]) -> list[Column[Row]]:
    """The columns of one table of ``rows``, in their order."""
    every: list[tuple[Shown | None, Figure]] = [(getattr(one, place), one) for one in figures_of(rows)]
    found = [(shown, one.of) for shown, one in every if shown and any(map(shown.where, rows))]
    return [shown.column(of, rows[0].baseline) for shown, of in sorted(found, key=lambda pair: pair[0].rank)]


def figures_of(rows: Sequence[Row]) -> tuple[Figure, ...]:
    """All figures: ``FIGURES``, and a rate of each unit besides samples that the tasks of ``rows`` count."""
    units = dict.fromkeys(unit for row in rows for unit in row.case.other_units)
    return (*FIGURES, *map(_rate_of, units))


def _rate_of(unit: str) -> Figure:
    name = elide(unit, UNIT_LENGTH).replace("{", "{{").replace("}", "}}")  # a heading is a format
    return Figure(
        f"{plain(unit)}_per_second", lambda row: row.units_per_second(unit),
        terminal=Shown(4, f"{name}\n/s", of_value(show.rate), lost=7), main=Shown(5, f"{name}/s", show.rate_range),
        chart=Chart(2, f"{name} a second", "1/s", bigger_is_better=True),
    )  # fmt: skip


def record(row: Row, workload: WorkloadSummary) -> dict[str, float | int | str | None]:
    """One case as strict JSON values in base units, without phases; None for a value not measured or unbounded."""
    case = row.case
    kept: dict[str, float | int | str | None] = {
        "workload": case.workload,
        "loop": case.loop,
        "repeat": "yes" if case.repeat else "no",
        "status": case.status,
        "reason": case.reason,
    }
    for one in figures_of([row]):
        value = one.of_workload(workload) if one.of_workload else one.of(row)
        if one.kept == "interval":
            kept |= ends(one.key, value if isinstance(value, Estimate) else None)
        elif one.kept == "value":
            alone = value.value if isinstance(value, Estimate) else value
            kept[one.key] = finite(alone) if isinstance(alone, float) else alone
    return kept


def as_csv(summary: Summary) -> str:
    """``summary.csv``: one row for each case. The first columns are the same in every run; units and phases follow."""
    names = cells.phase_names(summary.rows)
    both_clocks = any(row.device_phases for row in summary.rows)
    records = []
    for workload in summary.workloads:
        for row in workload.rows:
            clocks = {"": row.phases, **({"host_": row.host_phases or {}} if both_clocks else {})}
            phases = {f"{name}_{clock}seconds": table.get(name) for clock, table in clocks.items() for name in names}
            records.append({**record(row, workload), **phases})
    return csv_of(records)


def _steps_per_second(row: Row) -> Estimate | None:
    """Steps a second; infinite where an end of the step's interval is zero, as with a single launch."""
    step = row.step_seconds
    return step.map(lambda seconds: 1 / seconds if seconds > 1 / sys.float_info.max else math.inf) if step else None


def speedup_cell(row: Row) -> Cell:
    return figure(cells.speedup(row), 1.0 if row.is_baseline else row.speedup)


def verdict_style(row: Row) -> str:
    return {"faster": "green", "slower": "red"}.get(row.verdict or "", "")


def _steady_cell(row: Row) -> Cell:
    known = [launch.steady for launch in row.case.launches if launch.steady is not None]
    return figure(f"{sum(known)} of {len(known)}" if known else show.ABSENT)


def _compiled(fact: str) -> Callable[[Row], Any]:
    """A fact of ``Compilation``; None where torch.compile was not used."""
    return lambda row: getattr(row.case.compilation, fact, None)


def of_value(form: Callable[[float | None], str]) -> Callable[[Estimate | None], str]:
    """``form`` applied to an estimate's value alone."""
    return lambda estimate: form(estimate.value if estimate else None)


FIGURES: tuple[Figure, ...] = (
    Figure("verdict", lambda row: row.verdict, main=Shown(2, "verdict", cell=cells.verdict_or_status)),
    Figure(
        "trains_as_baseline", lambda row: words.verdict(row.trained) if row.trained else None,
        terminal=Shown(
            3, "trains\nas {}", cell=lambda row: words.verdict(row.trained), left=True,
            style=lambda row: "red" if row.departs else "", lost=3, where=lambda row: row.trained is not None,
        ),
        main=Shown(
            4, "trains as {}", cell=lambda row: Cell(words.verdict(row.trained), whole=True),
            where=lambda row: row.trained is not None,
        ),
    ),
    Figure(
        "noise_floor", of_workload=lambda workload: workload.noise_floor,
        gauge=Gauge(3, "noise_floor", "ratio", "Log ratio below which nothing is called a difference"),
    ),
    Figure(
        "step_seconds", lambda row: row.step_seconds, kept="interval",
        terminal=Shown(1, "a step", show.seconds_plus_minus, lost=1), main=Shown(3, "step", show.seconds_range),
        gauge=Gauge(1, "step", "seconds", "Seconds a training step takes", ends=True),
        chart=Chart(1, "step", "ms", 1e-3), measure=Measure("latency", 1e-9),
    ),
    Figure(
        "steps_per_second", _steps_per_second, kept="no",
        chart=Chart(1, "steps a second", "1/s", bigger_is_better=True), measure=Measure("throughput"),
    ),
    Figure(
        "speedup", lambda row: row.speedup, kept="interval",
        terminal=Shown(2, "speedup", cell=cells.speedup, left=True, style=verdict_style, lost=1),
        main=Shown(1, "speedup", cell=speedup_cell),
        gauge=Gauge(2, "speedup", "ratio", "The baseline's step over this loop's", ends=True),
        chart=Chart(3, "speedup over {}", "x", bigger_is_better=True), measure=Measure("speedup"),
    ),
    Figure("instrumentation", lambda row: row.instrumentation, kept="interval"),
    Figure(
        "break_even_steps", lambda row: row.break_even_steps, kept="interval",
        terminal=Shown(8, "pays\nafter", of_value(show.count), lost=4),
        start=Shown(4, "pays after steps", show.count_range),
    ),
    Figure(
        "joules_per_step", lambda row: row.joules_per_step, kept="interval",
        terminal=Shown(11, "energy\na step", show.joules, lost=8),
        main=Shown(7, "energy a step", show.joules, where=lambda row: row.joules_per_step is not None),
        gauge=Gauge(7, "step", "joules", "Energy a training step takes"),
        chart=Chart(3, "energy a step", "J"), measure=Measure("joules-per-step"),
    ),
    Figure(
        "joules_per_sample", lambda row: row.joules_per_sample, kept="interval",
        main=Shown(8, "a sample", show.joules, where=lambda row: row.joules_per_step is not None),
    ),
    Figure(
        "model_flops_utilisation", lambda row: row.roofline.utilisation if row.roofline else None, kept="interval",
        terminal=Shown(10, "MFU", of_value(show.percent), lost=9),
    ),
    Figure(
        "step_limit_seconds", lambda row: row.roofline.step_limit_seconds if row.roofline else None, kept="interval"
    ),
    Figure("share_of_limit", lambda row: row.roofline.share if row.roofline else None, kept="interval"),
    Figure(
        "samples_per_second", lambda row: row.samples_per_second,
        terminal=Shown(4, "samples\n/s", of_value(show.rate), lost=7), main=Shown(5, "samples/s", show.rate_range),
        gauge=Gauge(4, "samples_per_second", None, "Training samples a second"),
        chart=Chart(2, "samples a second", "1/s", bigger_is_better=True),
    ),
    Figure("phase_shares", kept="no", terminal=Shown(5, "fwd/bwd/\nopt %", cell=cells.short_shares, lost=2)),
    Figure(
        "peak_memory_bytes", lambda row: row.peak_memory_bytes,
        terminal=Shown(6, "peak\nmemory", show.data, lost=6), main=Shown(6, "peak memory", show.data),
        gauge=Gauge(5, "peak_memory", "bytes", "Peak memory of a launch"),
        chart=Chart(2, "peak memory", "MiB", 2.0**20), measure=Measure("peak-memory"),
    ),
    Figure("memory_kind", lambda row: row.case.memory_kind),
    Figure(
        "first_step_seconds", lambda row: row.first_step_seconds,
        terminal=Shown(7, "first\nstep", show.seconds, lost=5), start=Shown(1, "first step after", show.seconds),
        gauge=Gauge(6, "first_step", "seconds", "Seconds from the start to the first step's end"),
    ),
    Figure(
        "compile_seconds", lambda row: row.compile_seconds,
        terminal=Shown(9, "compile", cell=cells.compile_time, lost=8),
        start=Shown(2, "compile", cell=lambda row: figure(cells.compile_time(row), row.compile_seconds)),
    ),
    Figure(
        "graphs_per_step", _compiled("graphs_per_step"),
        terminal=Shown(9, "graphs\na step", cells.graphs, lost=9), start=Shown(2, "graphs a step", cells.graphs),
    ),
    Figure("graphs_compiled", _compiled("compiled"), start=Shown(2, "graphs compiled", show.count)),
    Figure("graphs_compiled_late", _compiled("late")),
    Figure(
        "graphs_compiled_again", _compiled("again"),
        terminal=Shown(9, "compiled\nagain", show.count, lost=9), start=Shown(2, "compiled again", show.count),
    ),
    Figure("compile_again_seconds", _compiled("again_seconds"), start=Shown(2, "again in", show.seconds)),
    Figure("compile_share", _compiled("share"), start=Shown(2, "share of its time", show.percent)),
    Figure("compile_limit_reached", _compiled("limit_reached")),
    Figure("graph_breaks", _compiled("break_places")),
    Figure("compile_cache", lambda row: row.compile_cache, start=Shown(3, "compile cache", cell=cells.compile_cache)),
    Figure("steady_launches", kept="no", start=Shown(5, "steady launches", cell=_steady_cell)),
    Figure("possible_speedup_taken", lambda row: row.roofline.taken if row.roofline else None),
    Figure("skipped_steps", lambda row: row.skipped_steps),
    Figure("final_scale", lambda row: row.final_scale),
    Figure("attention", lambda row: ", ".join(row.case.attention) or None),
    Figure("batch_size", lambda row: row.case.batch_size),
    Figure("parameters", lambda row: row.case.parameters),
    Figure(
        "launches", lambda row: len(row.case.launches),
        gauge=Gauge(8, "launches", None, "Fresh processes that the figures come from"),
    ),
    Figure("steps", lambda row: sum(launch.steps for launch in row.case.launches)),
    Figure("data_sha256", lambda row: row.case.data_sha256),
    Figure("baseline", lambda row: row.baseline),
)  # fmt: skip
"""All figures, in the order of ``summary.csv``."""
