"""Runs side by side as tables: on a terminal, and section by section for the pages."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.side_by_side import Line, Shift, SideBySide, WorkloadComparison
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.report import cells, show
from loopmark.bench.report import compare_words as words
from loopmark.bench.report import training_words as training
from loopmark.bench.report.figures import HEADING_LENGTH, of_value, speedup_cell, verdict_style
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.table import (
    BULLET,
    NAME_WIDTH,
    Cell,
    Column,
    Table,
    as_wide_as,
    figure,
    linked,
    measured,
    print_lines,
    table_of,
)
from loopmark.bench.report.text import elide, plain

FILE_WIDTH = 150  # a comparison has more columns than a run
LONGEST_FACT, LONGEST_REASON = 32, 300
MOST_FACTS = 24


def print_comparison(found: SideBySide, console: Console | None = None) -> None:
    """Print the comparison, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(console, FILE_WIDTH)
    print_lines(_lines(found, console), console)


def _lines(found: SideBySide, console: Console) -> Iterator[Text]:
    yield Text(plain(words.headline(found)), "bold")
    yield from (Text(plain(note), "dim") for note in found.notes)
    yield from _differences(found, console.width)
    for comparison in found.workloads:
        yield Text()
        yield from _workload(comparison, console, alone=len(found.runs) == 1)
    if found.shifts or found.not_compared:
        table = _shifts(found).in_terminal(width=console.width)
        yield Text()
        yield from table.headings() if found.shifts else ()
        yield from (table.line(None, shift) for shift in found.shifts)
        yield from table.rest("compare.md")
        yield from (Text(f"no ratio: {elide(reason, LONGEST_REASON)}") for reason in found.not_compared)
    if found.is_over_time and found.have_something_in_common:
        yield Text(words.ASK_FOR_A_VERDICT, "dim")
    sentences = [] if found.is_over_time else list(words.conclusions(found))
    if sentences:
        yield Text()
        yield from map(Text, sentences)
    if answers := list(words.answers(found)):
        yield Text(f"\n{words.COUNTS}", "dim")
        yield from (Text(answer.text, "bold") for answer in answers)
    if len(found.runs) > 1 and not found.have_something_in_common:
        yield Text()
        yield Text(words.NOTHING_IN_COMMON, "bold")


def _differences(found: SideBySide, width: int) -> Iterator[Text]:
    if len(found.runs) < 2:
        return
    facts = words.facts(found)
    shown = dict(list(facts.items())[:MOST_FACTS])
    yield Text("differences between them" if {*facts} - {words.RUN} else "their environments are the same", "dim")

    def column(at: int, name: str) -> Column[str]:
        return Column(name, lambda fact: elide(shown[fact][at], LONGEST_FACT), left=True, lost=1)

    columns = [column(at, compared.name) for at, compared in enumerate(found.runs)]
    table = Table(columns, list(shown), silent=show.ABSENT).in_terminal(shown, width, head="")
    if not table.left_out:
        yield from table.headings()
        yield from (table.line(name, name) for name in shown)
    else:  # too wide for a table
        yield from (Text(f"{elide(name, NAME_WIDTH)}: {words.shared(found.runs, shown[name])}") for name in shown)
    if len(shown) < len(facts):
        yield Text(f"and {len(facts) - len(shown)} more facts: compare.md has all", "dim")


def _workload(comparison: WorkloadComparison, console: Console, *, alone: bool) -> Iterator[Text]:
    title = Text(elide(comparison.workload, NAME_WIDTH), "bold")
    work = words.works(comparison)
    if comparison.is_same_work:
        title.append(f"  {work}", "not bold dim")
    yield title
    if not comparison.is_same_work:
        yield Text(work, "yellow")
    with_figures = [line for line in comparison.lines if line.row.step_seconds is not None]
    names = [] if alone else [f"{BULLET}{compared.name}" for compared in comparison.runs]
    table = Table(TERMINAL, with_figures, silent=show.ABSENT).in_terminal([*names, *comparison.loops], console.width)
    if with_figures:
        yield from table.headings()
    for loop in comparison.loops:
        if why := words.nowhere(comparison, loop):
            yield from table.ending(loop, why, "dim", console)
            continue
        if not alone:
            yield Text(table.short(loop), "bold")
        for line in comparison.rows(loop):
            name = loop if alone else f"{BULLET}{line.compared.name}"
            if line.row.step_seconds is None:
                yield from table.ending(name, cells.why(line.row), "dim", console)
            else:
                yield table.line(name, line)
    if noise := words.noise(comparison):
        yield Text(noise, "dim")
    yield from (Text(f"{name}: {text}", "dim") for name, text in words.remarks(comparison))
    yield from table.rest("compare.md")


SPEEDUP = Column[Line](
    "speedup", lambda line: speedup_cell(line.row), left=True, style=lambda line: verdict_style(line.row), lost=1
)
RATE: Column[Line] = measured("samples/s", lambda line: line.row.samples_per_second, show.rate_range, lost=4)


def _other_rates(line: Line) -> str:
    rates = {unit: line.row.units_per_second(unit) for unit in line.row.case.other_units}
    return ", ".join(f"{show.rate_range(rate)} {plain(unit)}" for unit, rate in rates.items()) or show.ABSENT


OTHER_RATES = Column[Line]("other units/s", _other_rates, lost=5)
COSTS: tuple[Column[Line], ...] = (
    Column("peak\nmemory", lambda line: figure(words.memory(line.row), line.row.peak_memory_bytes), lost=3),
    measured("energy\na step", lambda line: line.row.joules_per_step, show.joules, lost=6),
    measured("of its\nceiling", lambda line: line.row.roofline and line.row.roofline.share, show.percent_range, lost=7),
    measured("MFU", lambda line: line.row.roofline and line.row.roofline.utilisation, of_value(show.percent), lost=8),
)
TERMINAL: tuple[Column[Line], ...] = (
    Column("a step", lambda line: show.seconds_plus_minus(line.row.step_seconds), lost=1),
    SPEEDUP,
    RATE,
    OTHER_RATES,
    Column("fwd/bwd/\nopt %", lambda line: cells.short_shares(line.row), lost=2),
    *COSTS,
)
WHERE: tuple[Column[Line], ...] = (
    Column("loop", lambda line: Cell(line.row.case.loop, strong=line.row.is_baseline)),
    Column("on", lambda line: Cell(line.compared.name, whole=True)),
)
PAGE: tuple[Column[Line], ...] = (
    *WHERE,
    SPEEDUP,
    Column("verdict", lambda line: cells.verdict_or_status(line.row)),
    measured("step", lambda line: line.row.step_seconds, show.seconds_range),
    RATE,
    OTHER_RATES,
    Column("trains as {}", lambda line: Cell(training.verdict(line.row.trained), whole=True)),
    *COSTS,
)


def contents(found: SideBySide, folder: Path, plots: Sequence[Plot], warnings: Sequence[str]) -> dict[str, Any]:
    """The context of the pages in ``folder``: plain text, tables and plots; a part without content is empty."""
    facts = words.facts(found) if len(found.runs) > 1 else {}
    facts.pop(words.RUN, None)  # the table of the runs has their names
    names = [compared.name for compared in found.runs]
    runs = (
        (one.name, linked(run.name, one.found.folder, folder), run.machine.name, run.plan.device, str(run.plan.threads))
        for one in found.runs
        if (run := one.run)
    )
    return {
        "title": words.title(found),
        "headline": words.headline(found),
        "notes": found.notes,
        "warnings": warnings,
        "facts": table_of(["", *names], ([name, *values] for name, values in facts.items()), figures=False),
        "answers": [answer.text for answer in words.answers(found)],
        "counts": words.COUNTS,
        "conclusions": [] if found.is_over_time else list(words.conclusions(found)),
        "is_over_time": found.is_over_time and found.have_something_in_common,
        "ask": words.ASK_FOR_A_VERDICT,
        "shifts": _shifts(found),
        "not_compared": found.not_compared,
        "workloads": [_section(comparison, plots) for comparison in found.workloads],
        "baseline": words.baseline(found),
        "runs": table_of(["name", "run", "machine", "device", "threads"], runs, figures=False),
    }


def _section(comparison: WorkloadComparison, plots: Sequence[Plot]) -> dict[str, Any]:
    lines, rate = comparison.lines, OTHER_RATES
    columns = [one for one in PAGE if one is not rate or any(line.row.case.other_units for line in lines)]
    said = [*words.endings(comparison), *words.remarks(comparison)]
    base = elide(words.baseline(comparison), HEADING_LENGTH)
    return {
        "name": comparison.workload,
        "work": words.works(comparison),
        "table": Table([replace(one, heading=one.heading.format(base)) for one in columns], lines),
        "noise": words.noise(comparison),
        "remarks": [f"{name}: {text}" for name, text in said],
        "plots": [plot for plot in plots if plot.workload == comparison.workload],
        "phases": _phases(comparison),
    }


def _phases(comparison: WorkloadComparison) -> Table[Line]:
    def column(name: str) -> Column[Line]:
        def cell(line: Line) -> Cell:
            estimates = line.compared.phases.get((comparison.workload, line.row.case.loop), {})
            return figure(cells.phase(name, line.row.phases, estimates), estimates.get(name))

        return Column(name, cell)

    lines = [line for line in comparison.lines if line.row.phases]
    return Table([*WHERE, *map(column, cells.phase_names(line.row for line in lines))], lines)


def _shifts(found: SideBySide) -> Table[Shift]:
    def cell(estimate: Estimate, shift: Shift) -> Cell:
        return figure((show.seconds_range if shift.is_of_seconds else show.ratio_range)(estimate), estimate)

    base, alone = elide(found.runs[-1].run.plan.baseline, HEADING_LENGTH), len(found.workloads) == 1
    columns: tuple[Column[Shift], ...] = (
        Column("loop", lambda shift: Cell(elide(shift.loop, NAME_WIDTH), strong=shift.is_of_seconds), left=True),
        Column("workload", lambda shift: elide(shift.workload, NAME_WIDTH), left=True, lost=3 if alone else 0),
        Column(f"speedup, or\n{base}'s step, before", lambda shift: cell(shift.before, shift), lost=2),
        Column("after", lambda shift: cell(shift.after, shift), lost=1),
        Column("times\nas fast", lambda shift: figure(show.ratio_range(shift.ratio), shift.ratio)),
    )
    return Table(columns, found.shifts)
